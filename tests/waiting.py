"""Waiting for what must come to pass."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 180
"""Seconds. It ends a test of what never happens; it says nothing of how fast anything is, since the machine may be busy."""


def until(condition: Callable[[], Any], seconds: float = PATIENCE, pause: float = 0.05) -> Any:
    """The first true value of `condition`. Raises AssertionError with its last value after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds:.0f} s"
        time.sleep(pause)
    return value


def patiently(fail: Callable[[float], str], wanted: str, deadlines: tuple[float, ...] = (8, 40, 200)) -> str:
    """What `fail(deadline in seconds)` says: again with a longer deadline where the machine did not get as far as the pattern
    `wanted` within a short one."""
    said = ""
    for deadline in deadlines:
        said = fail(deadline)
        if re.search(wanted, said, re.IGNORECASE | re.DOTALL):
            return said
    raise AssertionError(f"{wanted!r} is not in what was said at last:\n{said}")
