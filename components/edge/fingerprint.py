"""Fingerprints: equal content gives the equal fingerprint on every machine, so that nothing is registered or built twice.

What counts: relative paths, contents (CRLF and LF line ends of text are the same), the executable bit, where a symbolic link
points. What does not: times, owners, other mode bits, the order of a folder, empty folders (Git does not keep them) and what
running Python leaves behind (`IGNORED`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import BinaryIO

IGNORED = ("__pycache__", "*.pyc", ".DS_Store", ".git")
"""Names that are neither hashed nor to be staged into an image."""

FINGERPRINT_CHARACTERS = 32
_TREE_RECIPE = "tree-1"
_BLOCK = 1 << 20
_SNIFFED = 8000  # what Git looks at to tell text from binary


class FingerprintError(ValueError):
    """A path cannot be part of a fingerprint; the message says which and why."""


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits. Read in blocks; a text's CRLF counts as LF, so that for a binary file or
    a text with LF this is what `sha256sum` prints.

    Raises:
        FingerprintError: not a regular file.
    """
    if not path.is_file():
        raise FingerprintError(f"cannot hash {path}: it is not a file")
    digest = hashlib.sha256()
    with path.open("rb") as source:
        binary = b"\0" in source.read(_SNIFFED)
        source.seek(0)
        for block in _blocks(source) if binary else _unix_lines(source):
            digest.update(block)
    return digest.hexdigest()


def hash_tree(path: Path) -> str:
    """SHA-256 of a folder (or of a single file, its name left out), 64 hexadecimal digits.

    Raises:
        FingerprintError: a symbolic link leaves the folder or points nowhere; something is neither file, folder nor link; the
            folder holds no file.
    """
    if path.is_file():
        return _digest([_TREE_RECIPE, _entry("", path)])
    entries = [_entry(relative, path / relative) for relative in tree_files(path)]
    return _digest([_TREE_RECIPE, *entries])


def tree_files(root: Path) -> list[str]:
    """The relative POSIX paths of what `hash_tree` reads, sorted by code point: exactly what is to be staged.

    Raises:
        FingerprintError: as `hash_tree`.
    """
    if not root.is_dir():
        raise FingerprintError(f"cannot hash {root}: it is not a folder")
    found = sorted(_walk(root, PurePosixPath()))
    if not found:
        raise FingerprintError(f"cannot hash {root}: it holds no file")
    return found


def file_part(path: Path) -> str:
    """A file as a part of `image_fingerprint`: its content and its executable bit."""
    return hash_file(path) + ("+x" if _is_executable(path) else "")


def image_fingerprint(parts: Mapping[str, str], recipe: str) -> str:
    """A short fingerprint of everything that reaches an image: 32 lower-case hexadecimal digits, fit for an image tag.

    `parts` maps a label (what the part is to the image, say `script` or `model:best_model`) to its hash; `recipe` names the
    builder and the version of how it puts the parts together. The order of the parts does not matter.
    """
    return _digest(["image-1", recipe, sorted(parts.items())])[:FINGERPRINT_CHARACTERS]


def _walk(root: Path, below: PurePosixPath) -> Iterator[str]:
    with os.scandir(root / below) as listing:
        entries = list(listing)
    for entry in entries:
        relative = below / entry.name
        if any(fnmatch(entry.name, pattern) for pattern in IGNORED):
            continue
        if entry.is_symlink():
            _check_link(root, relative)
            yield relative.as_posix()
        elif entry.is_dir():
            yield from _walk(root, relative)
        elif entry.is_file():
            yield relative.as_posix()
        else:
            raise FingerprintError(f"cannot hash {root / relative}: it is neither a file, a folder nor a link")


def _check_link(root: Path, relative: PurePosixPath) -> None:
    link = root / relative
    target = link.readlink()
    try:
        inside = not target.is_absolute() and link.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        raise FingerprintError(f"cannot hash {link}: it points to {target}, which leads back to it") from None
    if not inside:
        raise FingerprintError(
            f"cannot hash {link}: it points to {target}, outside {root}; copy the file into the folder instead"
        )
    if not link.exists():
        raise FingerprintError(f"cannot hash {link}: it points to {target}, which does not exist")


def _entry(relative: str, path: Path) -> list[str]:
    if relative and path.is_symlink():
        return [relative, "link", path.readlink().as_posix()]
    return [relative, "executable" if _is_executable(path) else "file", hash_file(path)]


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _digest(value: object) -> str:
    # JSON keeps the parts apart: no label or path can imitate the end of another.
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block


def _unix_lines(source: BinaryIO) -> Iterator[bytes]:
    held = b""  # a CR at a block's end waits for the next block
    for block in _blocks(source):
        block = held + block
        held = b"\r" if block.endswith(b"\r") else b""
        yield block[: len(block) - len(held)].replace(b"\r\n", b"\n")
    yield held
