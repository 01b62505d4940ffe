"""The stages of a Dockerfile as images of their own: what ACR's quick builds have instead of a layer cache.

A quick build runs on a machine that knows nothing of the build before. So every stage but the last is kept in the registry, under a tag
that says what it was made from, and the next one begins with `FROM` its digest: an edited script builds and pushes the last stage only.
That needs a Dockerfile whose stages have names and stand on each other in a row, as in scoring/Dockerfile.j2, and whose COPYs name
the parts of the context; another one is built in one go.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

PARTS = ("requirements.txt", "models", "app")
"""What lies at the top of the build context beside the Dockerfile."""
_FROM = re.compile(r"FROM\s+(?P<base>\S+)(?:\s+AS\s+(?P<name>[a-z][a-z0-9_.-]*))?\s*", re.IGNORECASE)
_COPY = re.compile(r"\s*(?:COPY|ADD)\s+(?P<arguments>.*)", re.IGNORECASE)
_KEY_CHARACTERS = 32


@dataclass(frozen=True)
class Stage:
    name: str
    """Empty for the last one if it has none."""
    head: str
    """What stands before the first FROM."""
    text: str
    """From its FROM on."""
    parts: tuple[str, ...]
    """Of the context, that it copies."""
    key: str
    """Of everything that reaches it; the same anywhere for the same content."""

    def on(self, base: str) -> str:
        """A Dockerfile of this stage alone, on an image that holds the one before; on none, as it is."""
        again = re.sub(r"(?<=FROM)\s+\S+", lambda _: f" {base}", self.text, count=1, flags=re.IGNORECASE)
        return self.head + (again if base else self.text)


def split(dockerfile: str, content: Mapping[str, str]) -> list[Stage]:
    """The stages of a Dockerfile, the last one being the image; one alone where it cannot be built in parts.

    `content` has the hash of each of `PARTS`.
    """
    lines = dockerfile.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if _FROM.fullmatch(line)]
    whole = [Stage("", "", dockerfile, PARTS, _key(dockerfile, content, PARTS))]
    if len(starts) < 2 or any(line.lstrip().upper().startswith("FROM ") for line in _others(lines, starts)):
        return whole
    stages: list[Stage] = []
    before: list[str] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        found = _FROM.fullmatch(lines[start])
        assert found
        text = "".join(lines[start:end])
        parts = _parts(text)
        if parts is None or (stages and found["base"] != stages[-1].name) or not (found["name"] or end == len(lines)):
            return whole
        before += [part for part in parts if part not in before]
        key = _key("".join(lines[:end]), content, before)
        stages.append(Stage(found["name"] or "", "".join(lines[: starts[0]]), text, tuple(parts), key))
    return stages


def _others(lines: list[str], starts: list[int]) -> list[str]:
    return [line for number, line in enumerate(lines) if number not in starts]


def _parts(text: str) -> list[str] | None:
    """What the COPYs take; None where that cannot be told."""
    if "--mount" in text or re.search(r"<<-?\w", text):
        return None
    parts: list[str] = []
    for line in text.splitlines():
        copy = _COPY.fullmatch(line)
        if copy is None:
            continue
        sources = [word for word in copy["arguments"].split() if not word.startswith("--")][:-1]
        named = [source.removeprefix("./").partition("/")[0] for source in sources]
        if "--from" in line or not named or not set(named) <= set(PARTS):
            return None
        parts += [name for name in named if name not in parts]
    return parts


def _key(text: str, content: Mapping[str, str], parts: list[str] | tuple[str, ...]) -> str:
    known = json.dumps([text, [[part, content[part]] for part in sorted(parts)]])
    return hashlib.sha256(known.encode()).hexdigest()[:_KEY_CHARACTERS]
