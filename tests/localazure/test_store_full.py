"""A full disk is an error that says so, and the database goes on working when there is room again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from localazure.store import Store


def test_a_full_disk_is_an_error_and_no_corruption(tmp_path: Path) -> None:
    store = Store(tmp_path / "azure.db")
    store.script("CREATE TABLE notes (text TEXT)")
    with store.transaction():
        store.execute("INSERT INTO notes VALUES ('kept')")
    pages = store.one("PRAGMA page_count")
    assert pages
    store.execute(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(sqlite3.OperationalError, match="full"), store.transaction():
        store.execute("INSERT INTO notes VALUES (?)", "x" * 100_000)
    store.execute("PRAGMA max_page_count = 100000")
    with store.transaction():
        store.execute("INSERT INTO notes VALUES ('after')")
    assert [row["text"] for row in store.all("SELECT text FROM notes")] == ["kept", "after"]
    check = store.one("PRAGMA integrity_check")
    assert check
    assert check[0] == "ok"
