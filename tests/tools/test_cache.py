from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from tests.waiting import PATIENCE
from tools import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_built_once_and_found_again() -> None:
    def build(folder: Path) -> None:
        (folder / "made").write_text("1")

    first = cache.ensure("thing/1.0", build)
    assert (first / "made").read_text() == "1"

    def fail(folder: Path) -> None:
        raise AssertionError("built twice")

    assert cache.ensure("thing/1.0", fail) == first


def test_a_failed_build_leaves_nothing() -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        cache.ensure("thing/1.0", build)
    assert list((cache.root() / "thing").iterdir()) == []


def _slow(folder: Path) -> None:
    with (folder.parent / "builds").open("a") as log:
        log.write("x")
    time.sleep(0.5)


def test_two_clones_at_once_build_once() -> None:
    clones = [
        multiprocessing.get_context("fork").Process(target=cache.ensure, args=("thing/1.0", _slow)) for _ in range(3)
    ]
    for clone in clones:
        clone.start()
    for clone in clones:
        clone.join(PATIENCE)
    assert [clone.exitcode for clone in clones] == [0, 0, 0]
    assert (cache.root() / "thing" / "builds").read_text() == "x"
