"""What `make` shows: one line a step, a program's output only when it fails."""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO


class ToolError(Exception):
    """A step of the bring-up cannot go on; the message says what to do. `__main__` prints it without a traceback."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def stdout_for_the_answer() -> Iterator[TextIO]:
    """The standard output for one text; what this process and its children print meanwhile goes to the standard error."""
    sys.stdout.flush()
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        yield answer
    finally:
        answer.flush()
        os.dup2(answer.fileno(), 1)
        answer.close()


def run(
    doing: str,
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    whole_env: Mapping[str, str] | None = None,
    expect: str = "",
) -> None:
    """Run a long program quietly. Every 15 seconds a line tells that it still runs; when it fails its last lines are in the error.

    `doing` is what the user reads ("compile the Pulumi CLI"), `expect` how long it usually takes ("5 minutes on two cores"). `env` is
    added to this process's environment, or to `whole_env` in its place.
    """
    say(f"  {doing}" + (f" (usually {expect})" if expect else ""))
    started, told = time.monotonic(), time.monotonic()
    tail: collections.deque[str] = collections.deque(maxlen=25)
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**(whole_env or os.environ), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    reader = threading.Thread(target=_read, args=(process, tail), daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(0.2)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            last = tail[-1].strip()[:100] if tail else ""
            say(f"    still at it after {told - started:.0f} s{': ' + last if last else ''}")
    if process.wait():
        raise ToolError(
            f"could not {doing}: `{' '.join(map(str, command))[:200]}` exited with {process.returncode}\n"
            + "\n".join(f"    {line}" for line in tail)
        )


def _read(process: subprocess.Popen[str], tail: collections.deque[str]) -> None:
    assert process.stdout
    tail.extend(line.rstrip() for line in process.stdout if line.strip())
