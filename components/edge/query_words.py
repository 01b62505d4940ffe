"""The words of IoT Hub's query language, of which target conditions are a part.

Source: "IoT Hub query language for device and module twins, jobs, and message routing".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "string", "number", "sign", "end"]

_WORD = re.compile(
    r"\s*(?:"
    r"(?P<bracketed>\[\[[^\[\]]+\]\])"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d][\w$]*|\$[\w$]+)"
    r"|(?P<single>'(?:[^']|'')*')"
    r'|(?P<double>"[^"]*")'
    r"|(?P<sign><=|>=|!=|<>|[=<>()\[\],.*/+%-])"
    r"|(?P<end>\Z)"
    r")",
    re.DOTALL,
)


class QueryError(ValueError):
    """The text is not what the hub takes; the message names the place, counted in characters from 1."""


@dataclass(frozen=True)
class Word:
    """`text` is what a name, string or sign says; `quote` is the mark round a string; `at` counts from 1."""

    kind: Kind
    text: str
    at: int
    quote: str = ""
    bracketed: bool = False

    @property
    def keyword(self) -> str:
        """In lower case what may be a key word of the language; empty for anything else."""
        return self.text.lower() if self.kind == "name" and not self.bracketed else ""

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"{self.quote}{self.text}{self.quote}" or "''"


def words(text: str) -> Iterator[Word]:
    """All words of `text`, the last one of kind `end`. Raises QueryError."""
    position = 0
    while True:
        match = _WORD.match(text, position)
        if match is None:
            start = len(text) - len(text[position:].lstrip())
            raise QueryError(_unreadable(text[start], start))
        group = str(match.lastgroup)
        found, at = match[group], match.start(group) + 1
        if group == "end":
            yield Word("end", "", at)
            return
        yield _word(group, found, at)
        position = match.end()


def _word(group: str, found: str, at: int) -> Word:
    match group:
        case "bracketed":
            return Word("name", found[2:-2], at, bracketed=True)
        case "single":
            return Word("string", found[1:-1].replace("''", "'"), at, quote="'")
        case "double":
            return Word("string", found[1:-1], at, quote='"')
        case "number":
            return Word("number", found, at)
        case "name":
            return Word("name", found, at)
    return Word("sign", found, at)


def _unreadable(sign: str, start: int) -> str:
    if sign in "'\"":
        return f"the text that begins at {start + 1} has no closing {sign}"
    return f"unexpected {sign!r} at {start + 1}"
