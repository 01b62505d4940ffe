"""Where slow things are kept between clones: below the user's cache folder, a folder a version, whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def root() -> Path:
    """`$XDG_CACHE_HOME/aml-edge`, by default `~/.cache/aml-edge`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aml-edge"


def ensure(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` (its last part is the version); made by `build(folder)` once, also when two clones ask at the same time."""
    target = root() / name
    if target.exists():
        return target
    with lock(name.replace("/", "-")):
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=target.name + ".", dir=target.parent))
        try:
            build(draft)
            draft.chmod(0o755)
            draft.rename(target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return target


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """One clone at a time; the kernel frees it when its holder dies."""
    folder = root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
