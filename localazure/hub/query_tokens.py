"""The words of IoT Hub's query language and of target conditions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from localazure.hub.query_tree import QuerySyntaxError

Kind = Literal["name", "bracketed", "string", "number", "sign", "end"]

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<bracketed>\[\[[^\[\]]+\]\])"
    r"|(?P<number>0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d][\w$]*|\$[\w$]+)"
    r"|(?P<single>'(?:[^'\\]|''|\\.)*')"
    r'|(?P<double>"(?:[^"\\]|\\.)*")'
    r"|(?P<sign><=|>=|!=|<>|[=<>()\[\],.*/+%-])"
    r"|(?P<end>\Z)"
    r")",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)|''", re.DOTALL)
_LONGEST_INTEGER = 18


@dataclass(frozen=True)
class Token:
    """`text` is what a name, string or sign says; `start` counts characters from 0; `quote` is the mark round a string."""

    kind: Kind
    text: str
    start: int
    number: float = 0
    quote: str = ""


def tokens(text: str) -> Iterator[Token]:
    """All words of `text`, last one of kind `end`. Raises QuerySyntaxError."""
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            position = len(text) - len(text[position:].lstrip())
            raise QuerySyntaxError(f"unexpected {text[position : position + 20]!r} at {position}")
        group = str(match.lastgroup)
        found, start = match[group], match.start(group)
        yield _token(group, found, start)
        if group == "end":
            return
        position = match.end()
        following = text[position : position + 1]
        if group == "number" and (following.isalnum() or following in ("_", "$")):
            raise QuerySyntaxError(f"a number runs into a name at {position}")


def _token(group: str, text: str, start: int) -> Token:
    if group == "name":
        return Token("name", text, start)
    if group == "bracketed":
        return Token("bracketed", text[2:-2], start)
    if group == "number":
        return Token("number", text, start, number=_number(text, start))
    if group == "single":
        return Token("string", _unescaped(text[1:-1], start), start, quote="'")
    if group == "double":
        return Token("string", _unescaped(text[1:-1], start), start, quote='"')
    return Token("end" if group == "end" else "sign", text, start)


def _number(text: str, start: int) -> float:
    if text[:2] in ("0x", "0X"):
        value: float = int(text, 16)
    elif text.isdigit() and len(text) <= _LONGEST_INTEGER:
        value = int(text)
    else:
        value = float(text)
    if math.isinf(value) or abs(value) >= 2**63:
        raise QuerySyntaxError(f"the number at {start} is too large")
    return value


def _unescaped(text: str, start: int) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1] or "'"  # a doubled quote
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code not in "'\"\\":
            raise QuerySyntaxError(f"the string at {start} has the unknown escape \\{code}")
        return code

    result = _ESCAPE.sub(plain, text)
    try:  # \uD83D\uDE00 is one character; half of such a pair is none
        return result.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise QuerySyntaxError(f"the string at {start} holds half a surrogate pair") from None
