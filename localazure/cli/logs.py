"""The end of a log file, and what is appended to it."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path


def show(path: Path, *, lines: int, follow: bool) -> int:
    """Print the last `lines`; with `follow` go on until interrupted, over rotations too. 1 when there is no such log."""
    if not path.exists() and not follow:
        sys.stderr.write(f"no {path}: the local Azure of this folder never ran\n")
        return 1
    position, identity = 0, 0
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            sys.stdout.writelines(deque(file, maxlen=max(lines, 0)))
            position, identity = file.tell(), path.stat().st_ino
        sys.stdout.flush()
    while follow:
        time.sleep(0.3)
        if not path.exists():
            continue
        found = path.stat()
        if found.st_ino != identity or found.st_size < position:
            position, identity = 0, found.st_ino
        if found.st_size > position:
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(position)
                sys.stdout.write(file.read())
                position = file.tell()
            sys.stdout.flush()
    return 0
