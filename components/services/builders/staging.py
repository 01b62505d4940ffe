"""What was hashed is what is staged: the bytes of `fingerprint.content`, the executable bit, links; no owner, no time, no other mode bit.

The same entries are written as a folder (for azureml-core) or as a tar (for Docker engines, which would keep a user's mode bits: a
script that only its owner may read is of no use to a module that runs as another user).
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from components.edge import fingerprint
from components.services.builders import BuildRequest

EARLIEST = 315_532_800
"""1980-01-01, of all entries: what a ZIP file, and so a wheel that is built in the image, can say."""
_IN_MEMORY = 8 << 20


@dataclass(frozen=True)
class Entry:
    """A file or a link; `name` is its POSIX path in the image's context."""

    name: str
    path: Path
    link: bool = False

    @property
    def mode(self) -> int:
        return 0o755 if fingerprint.is_executable(self.path) else 0o644

    @property
    def counts(self) -> list[str]:
        """What of it reaches the image, besides its name."""
        if self.link:
            return ["link", self.path.readlink().as_posix()]
        return ["file", fingerprint.file_part(self.path)]


def entries(source: Path, name: str) -> Iterator[Entry]:
    """A file as `name`, or all that counts of a folder below `name`."""
    if not source.is_dir():
        yield Entry(name, source)
        return
    for relative in fingerprint.tree_files(source):
        yield Entry(f"{name}/{relative}", source / relative, (source / relative).is_symlink())


@contextlib.contextmanager
def staged(request: BuildRequest) -> Iterator[Path]:
    """A temporary folder with script, runtime and dependencies, each under its own name."""
    with tempfile.TemporaryDirectory(prefix="aml-edge-") as scratch:
        for part in request.beside:
            write_folder(part, Path(scratch, part.name))
        yield Path(scratch)


def write_folder(source: Path, target: Path) -> None:
    """`source`, a file or folder, as `target`."""
    for entry in entries(source, target.name):
        path = target.parent / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.link:
            path.symlink_to(entry.path.readlink())
            continue
        with path.open("wb") as file:
            for block in fingerprint.content(entry.path):
                file.write(block)
        path.chmod(entry.mode)


def write_tar(tar: tarfile.TarFile, entry: Entry) -> None:
    """Add one entry; large files are streamed."""
    member = tarfile.TarInfo(entry.name)
    member.mtime, member.mode = EARLIEST, 0o777 if entry.link else entry.mode
    if entry.link:
        member.type, member.linkname = tarfile.SYMTYPE, entry.path.readlink().as_posix()
        tar.addfile(member)
        return
    with _content(entry.path) as file:
        member.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        tar.addfile(member, file)


def write_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member, content = tarfile.TarInfo(name), text.encode()
    member.mtime, member.mode, member.size = EARLIEST, 0o644, len(content)
    tar.addfile(member, io.BytesIO(content))


def write_directory(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.mtime, member.mode, member.type = EARLIEST, 0o755, tarfile.DIRTYPE
    tar.addfile(member)


@contextlib.contextmanager
def _content(path: Path) -> Iterator[IO[bytes]]:
    if not fingerprint.is_text(path):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        for block in fingerprint.content(path):
            spool.write(block)
        yield spool
