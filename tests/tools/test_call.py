"""What happens to a program of ours that runs Pulumi when it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
CHILD = """
import signal, sys, time
def finish(*_):
    time.sleep(1)
    open(sys.argv[1], "w").write("finished")
    sys.exit(0)
signal.signal(signal.SIGINT, finish)
print("at work", flush=True)
time.sleep(600)
"""
PARENT = """
import signal, sys
from tools import bringup
signal.signal(signal.SIGINT, signal.default_int_handler)  # which Python leaves out where the tests run in the background
try:
    bringup.call([sys.executable, "-c", sys.argv[1], sys.argv[2]], {}, shown="pulumi up")
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished_first(tmp_path: Path, told: signal.Signals) -> None:
    trace = tmp_path / "trace"
    command = [sys.executable, "-c", PARENT, CHILD, str(trace)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as parent:  # fmt: skip
        assert parent.stdout
        assert parent.stdout.readline() == "at work\n"
        if told is signal.SIGINT:  # a terminal tells the whole group
            os.killpg(parent.pid, told)
        else:
            parent.send_signal(told)
        _, shown = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == 130
    assert trace.read_text() == "finished"
    assert "waiting until `pulumi up` has finished what is under way" in shown
