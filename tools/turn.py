"""One command that changes the local stacks at a time in a clone: a second `make up` waits for the first and then finds its work done."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tools import cache
from tools.console import ToolError, say

SECONDS = 3600.0
"""How long to wait; a first bring-up takes a quarter of an hour."""


@contextlib.contextmanager
def of(clone: Path, command: str, seconds: float = SECONDS) -> Iterator[None]:
    """The kernel ends a turn with its process. Raises ToolError when it does not come in time."""
    folder = cache.root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(clone.resolve()).encode()).hexdigest()[:16]
    with (folder / f"clone-{name}").open("a+") as file:
        _wait(file, seconds)
        file.truncate(0)
        file.write(f"`make {command}` (process {os.getpid()})")
        file.flush()
        yield


def _wait(file: IO[str], seconds: float) -> None:
    deadline, said = time.monotonic() + seconds, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another command"
        if time.monotonic() > deadline:
            raise ToolError(
                f"{holder} works on this clone and did not end in {seconds / 60:.0f} minutes; end it, then run this again"
            )
        if not said:
            say(f"  {holder} works on this clone: waiting until it has ended")
            said = True
        time.sleep(0.2)
