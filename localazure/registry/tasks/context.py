"""The build context: the tarball that was uploaded, checked and rewritten for the engine, never unpacked here."""

from __future__ import annotations

import copy
import io
import lzma
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from localazure.builds.log import BuildError

MAX_BYTES = 5 * 2**30
MAX_MEMBERS = 100_000
MAX_DOCKERFILE = 2**20
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(\s|$)")


def prepare(source: Path, dockerfile: str, target: Path, label: str, settings: Iterable[str]) -> list[str]:
    """Write the context to `target`, a plain tar, with the Dockerfile that `declare` makes of the one in it.

    Returns the settings that were declared. Raises BuildError.
    """
    wanted = _normal(dockerfile)
    text: bytes | None = None
    try:
        with tarfile.open(source, "r:gz") as tar, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as rewritten:
            total = 0
            for number, member in enumerate(tar):
                total += member.size
                if number >= MAX_MEMBERS or total > MAX_BYTES:
                    raise BuildError(
                        f"the source holds too much: over {MAX_MEMBERS} files or {MAX_BYTES} bytes unpacked"
                    )
                kept = _member(member)
                if kept is None:
                    continue
                if kept.name == wanted and kept.isreg():
                    text = _text(tar, member)
                    continue
                rewritten.addfile(kept, tar.extractfile(member) if member.isreg() else None)
            if text is None:
                raise BuildError(f"failed to read dockerfile: open {dockerfile}: no such file or directory")
            lines, declared = declare(text.decode("utf-8", "surrogateescape"), label, settings)
            _add(rewritten, wanted, lines.encode("utf-8", "surrogateescape"))
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise BuildError(f"failed to unpack the source: {error}; it must be a tar.gz") from error
    return declared


def declare(dockerfile: str, label: str, settings: Iterable[str]) -> tuple[str, list[str]]:
    """The Dockerfile with the label and an ARG of each setting in each stage, and these settings (without ARG the engine gives a
    build no argument): none when nothing runs in the build."""
    instructions = list(_instructions(dockerfile))
    names = list(settings) if any(word == "RUN" for word, _ in instructions) else []
    lines = dockerfile.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for word, last in reversed(instructions):
        if word == "FROM":
            lines[last + 1 : last + 1] = [f"LABEL {label}\n", *(f"ARG {name}\n" for name in names)]
    return "".join(lines), names


def _instructions(dockerfile: str) -> Iterable[tuple[str, int]]:
    """Each instruction's word with the number of its last line."""
    escape = "`" if re.match(r"\s*#\s*escape\s*=\s*`", dockerfile, re.IGNORECASE) else "\\"
    word: str | None = None
    last = 0
    for number, line in enumerate(dockerfile.splitlines()):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue  # inside an instruction too
        if word is None:
            found = _INSTRUCTION.match(line)
            word = found[1].upper() if found else "?"
        last = number
        if not bare.endswith(escape):
            yield word, number
            word = None
    if word is not None:
        yield word, last


def _member(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The member under a plain name; None for the root. Raises BuildError for what leads out or is no file."""
    name = _normal(member.name)
    if name == ".":
        return None
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise BuildError(f"the source holds {member.name!r}, which is neither file, folder nor link")
    kept = copy.copy(member)
    kept.name, kept.pax_headers = name, {}
    if member.islnk():
        kept.linkname = _normal(member.linkname)
    kept.uid = kept.gid = 0
    kept.uname = kept.gname = ""
    return kept


def _normal(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise BuildError(f"the source holds {name!r}, which leads out of the build context")
    return posixpath.normpath(name or ".")


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_DOCKERFILE:
        raise BuildError(f"the Dockerfile has {member.size} bytes; at most {MAX_DOCKERFILE} are taken")
    content = tar.extractfile(member)
    assert content
    return content.read()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
