from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localazure.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "azure.db")
    made.script("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v INTEGER)")
    return made


def count(store: Store) -> int:
    row = store.one("SELECT count(*) AS n FROM t")
    assert row is not None
    return int(row["n"])


def insert(store: Store, key: str, *, then_fail: bool = False) -> None:
    with store.transaction():
        with store.transaction():
            store.execute("INSERT INTO t VALUES (?, ?)", key, 1)
        if then_fail:
            raise RuntimeError("after a nested transaction was left in good order")


def test_a_nested_transaction_belongs_to_the_outer_one(store: Store) -> None:
    with pytest.raises(RuntimeError):
        insert(store, "lost", then_fail=True)
    assert count(store) == 0
    insert(store, "kept")
    assert count(store) == 1


def test_what_was_committed_outlives_a_kill(tmp_path: Path) -> None:
    """The writer says a number only after its commit, and is then killed without warning."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from localazure.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.script('CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v INTEGER)')\n"
        "for n in range(10**9):\n"
        "    with store.transaction():\n"
        "        store.execute('INSERT INTO t VALUES (?, ?)', str(n), n)\n"
        "    print(n, flush=True)\n"
    )
    path = tmp_path / "azure.db"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
    assert count(Store(path)) >= len(said)
