"""The one SQLite database. Each room keeps its own tables in it and makes them with `Store.script`.

All access is from the event loop's thread; a transaction never spans an `await`, so requests see each other whole or not at all.
WAL with `synchronous=NORMAL` loses no committed transaction when the process is killed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Store:
    """A connection in autocommit mode with explicit, re-entrant transactions. Rows are `sqlite3.Row`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._depth = 0

    def script(self, sql: str) -> None:
        """Create a room's tables: `CREATE TABLE IF NOT EXISTS ...`."""
        self._connection.executescript(sql)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Nested ones join the outermost. Never `await` inside."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk makes SQLite roll back by itself
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        return self._connection.execute(sql, values).fetchone()

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        self._connection.close()


def dump(value: Any) -> str:
    """JSON text for a column."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
