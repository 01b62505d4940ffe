"""The faults that were asked for, with their counts: in the database, because a fault may be that the daemon is killed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from localazure.faults.rules import Fault, Place
from localazure.store import Store, dump

_TABLE = """
CREATE TABLE IF NOT EXISTS faults (
  id INTEGER PRIMARY KEY AUTOINCREMENT, spec TEXT NOT NULL, hits INTEGER NOT NULL DEFAULT 0);
"""


class FaultBook:
    """Faults stay, with their counts, until they are cleared. Every request reads the book: there is nothing to restart."""

    def __init__(self, store: Store) -> None:
        store.script(_TABLE)
        self._store = store
        self._faults = {row["id"]: _fault(row) for row in store.all("SELECT * FROM faults ORDER BY id")}

    def all(self) -> list[Fault]:
        return list(self._faults.values())

    def has(self, fault: Fault) -> bool:
        """Whether it was not cleared; used up it may be."""
        return fault.id in self._faults

    def add(self, fault: Fault) -> Fault:
        spec = {key: value for key, value in asdict(fault).items() if key not in ("id", "hits")}
        cursor = self._store.execute("INSERT INTO faults (spec) VALUES (?)", dump(spec))
        kept = replace(fault, id=int(cursor.lastrowid or 0), hits=0)
        self._faults[kept.id] = kept
        return kept

    def clear(self, fault_id: int | None = None) -> int:
        """Forget one fault, or all. Returns how many."""
        ids = [found for found in self._faults if fault_id in (None, found)]
        for found in ids:
            self._store.execute("DELETE FROM faults WHERE id = ?", found)
            del self._faults[found]
        return len(ids)

    def find(self, method: str, path: str, place: Place, credentials: bool) -> Fault | None:
        """The oldest fault for this request that is not used up. One request meets one fault."""
        for fault in self._faults.values():
            if not fault.exhausted and fault.concerns(method, path, place, credentials):
                return fault
        return None

    def take(self, fault: Fault) -> Fault | None:
        """Count one more hit, on disk before it happens; None when the fault was used up or cleared meanwhile.

        The fault is returned as it was before the hit.
        """
        now = self._faults.get(fault.id)
        if now is None or now.exhausted:
            return None
        self._store.execute("UPDATE faults SET hits = hits + 1 WHERE id = ?", now.id)
        self._faults[now.id] = replace(now, hits=now.hits + 1)
        return now


def _fault(row: Any) -> Fault:
    return Fault(**json.loads(row["spec"]), id=row["id"], hits=row["hits"])
