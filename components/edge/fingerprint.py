"""Fingerprints: equal content gives the equal fingerprint on every machine, so that nothing is registered or built twice.

What counts: relative paths, contents (CRLF and LF line ends of text are the same), the executable bit, where a symbolic link
points. What does not: times, owners, other mode bits, the order of a folder, empty folders (Git does not keep them), what
running Python leaves behind (`IGNORED`) and what the folder's own `.amlignore` names.

What is staged into an image is exactly what was hashed: `tree_files` says which files, `content` gives their bytes.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pathspec

IGNORED = ("__pycache__", "*.pyc", ".DS_Store", ".git")
"""Names that are neither hashed nor to be staged into an image."""

IGNORE_FILE = ".amlignore"
"""At a folder's root: patterns as in .gitignore. Read as azureml-core does (`azureml._project.ignore_file`: pathspec's gitwildmatch;
one file, no nested ones), but .gitignore does not stand in for it: what Git does not keep is often what an image needs."""

FINGERPRINT_CHARACTERS = 32
_TREE_RECIPE = "tree-1"
_BLOCK = 1 << 20


class FingerprintError(ValueError):
    """A path cannot be part of a fingerprint; the message says which and why."""


def hash_file(path: Path) -> str:
    """SHA-256 of a file's `content`, 64 hexadecimal digits. For a binary file or a text with LF it is what `sha256sum` prints.

    Raises:
        FingerprintError: not a regular file.
    """
    digest = hashlib.sha256()
    for block in content(path):
        digest.update(block)
    return digest.hexdigest()


def content(path: Path) -> Iterator[bytes]:
    """A file's bytes in blocks as they are hashed and staged: a text's CRLF as LF, anything else untouched.

    Raises:
        FingerprintError: not a regular file.
    """
    if not path.is_file():
        raise FingerprintError(f"cannot hash {path}: it is not a file")
    text = is_text(path)
    with path.open("rb") as source:
        yield from _unix_lines(source) if text else _blocks(source)


def is_text(path: Path) -> bool:
    """Whether all of the file is UTF-8 without a null byte. A pickle is none: a "line end" in it may be two numbers."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as source:
        try:
            for block in _blocks(source):
                if b"\0" in block:
                    return False
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


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


def hash_named(path: Path) -> str:
    """`hash_tree` with the name of the file or folder itself: for what lies under that name in an image."""
    return _digest([_TREE_RECIPE, path.name, hash_tree(path)])


def tree_files(root: Path) -> list[str]:
    """The relative POSIX paths of what `hash_tree` reads, sorted by code point: exactly what is to be staged.

    Raises:
        FingerprintError: as `hash_tree`.
    """
    if not root.is_dir():
        raise FingerprintError(f"cannot hash {root}: it is not a folder")
    found = sorted(_walk(root, PurePosixPath(), _ignored(root)))
    if not found:
        raise FingerprintError(f"cannot hash {root}: it holds no file")
    for relative in found:
        if (root / relative).is_symlink():
            _check_link(root, relative, found)
    return found


def file_part(path: Path) -> str:
    """A file as a part of `image_fingerprint`: its content and its executable bit."""
    return hash_file(path) + ("+x" if is_executable(path) else "")


def is_executable(path: Path) -> bool:
    """By its owner: the one mode bit that is kept."""
    return bool(path.stat().st_mode & stat.S_IXUSR)


def image_fingerprint(parts: Mapping[str, str], recipe: str) -> str:
    """A short fingerprint of everything that reaches an image: 32 lower-case hexadecimal digits, fit for an image tag.

    `parts` maps a label (what the part is to the image, say `script` or `model:best_model`) to its hash; `recipe` names the
    builder and the version of how it puts the parts together. The order of the parts does not matter.
    """
    return _digest(["image-1", recipe, sorted(parts.items())])[:FINGERPRINT_CHARACTERS]


def _walk(root: Path, below: PurePosixPath, ignored: pathspec.PathSpec) -> Iterator[str]:
    with os.scandir(root / below) as listing:
        entries = list(listing)
    for entry in entries:
        relative = below / entry.name
        if any(fnmatch(entry.name, pattern) for pattern in IGNORED):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, relative, ignored)  # even below an ignored one a pattern with ! may keep a file
        elif relative.as_posix() == IGNORE_FILE or ignored.match_file(relative.as_posix()):
            continue
        elif entry.is_symlink() or entry.is_file():
            yield relative.as_posix()
        else:
            raise FingerprintError(f"cannot hash {root / relative}: it is neither a file, a folder nor a link")


def _ignored(root: Path) -> pathspec.PathSpec:
    try:
        lines = (root / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise FingerprintError(f"cannot read {root / IGNORE_FILE}: {error}") from None
    try:
        return pathspec.PathSpec.from_lines("gitwildmatch", lines)
    except ValueError as error:
        raise FingerprintError(f"{root / IGNORE_FILE} has a pattern that cannot be read: {error}") from None


def _check_link(root: Path, relative: str, found: list[str]) -> None:
    link = root / relative
    target = link.readlink()
    try:
        resolved = link.resolve()
        inside = not target.is_absolute() and resolved.is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        raise FingerprintError(f"cannot hash {link}: it points to {target}, which leads back to it") from None
    if not inside:
        raise FingerprintError(
            f"cannot hash {link}: it points to {target}, outside {root}; copy the file into the folder instead"
        )
    if not link.exists():
        raise FingerprintError(f"cannot hash {link}: it points to {target}, which does not exist")
    there = resolved.relative_to(root.resolve()).as_posix()
    if not any(path == there or path.startswith(f"{there}/") or there == "." for path in found):
        raise FingerprintError(f"cannot hash {link}: it points to {target}, which is ignored and so not in the image")


def _entry(relative: str, path: Path) -> list[str]:
    if relative and path.is_symlink():
        return [relative, "link", path.readlink().as_posix()]
    return [relative, "executable" if is_executable(path) else "file", hash_file(path)]


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
