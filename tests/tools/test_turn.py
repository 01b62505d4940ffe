"""Two commands at once in one clone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE
from tools import turn
from tools.console import ToolError

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from tools import turn
with turn.of(Path({clone!r}), 'up'):
    print('in', flush=True)
    {work}
"""


def holder(clone: Path, work: str) -> subprocess.Popen[str]:
    program = HOLD.format(clone=str(clone), work=work)
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def inside(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline() == "in\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_second_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, mark = tmp_path / "waits", tmp_path / "mark"
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        waits.touch()  # until then the first one stays

    monkeypatch.setattr(turn, "say", say)
    work = f"""
    while not Path({str(waits)!r}).exists():
        time.sleep(0.05)
    Path({str(mark)!r}).touch()
"""
    with holder(tmp_path, work) as first:
        inside(first)
        with turn.of(tmp_path, "preview", PATIENCE):
            assert mark.exists()
    assert [text.partition(": ")[0].strip() for text in said] == [
        f"`make up` (process {first.pid}) works on this clone"
    ]


def test_a_killed_command_holds_nothing_and_a_long_one_is_named(tmp_path: Path) -> None:
    with holder(tmp_path, "time.sleep(600)") as first:
        inside(first)
        with pytest.raises(ToolError, match=f"process {first.pid}"), turn.of(tmp_path, "up", 0.5):
            pass
        with turn.of(tmp_path / "another", "up", 0.5):  # of another clone
            pass
        os.kill(first.pid, signal.SIGKILL)
        with turn.of(tmp_path, "up", PATIENCE):
            pass
