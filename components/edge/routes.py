"""The route language of edgeHub: `FROM <source> [WHERE <condition>] INTO <sink>`, parsed far enough to refuse what edgeHub refuses.

Sources: "Learn how to deploy modules and establish routes in IoT Edge" (source and sink tables) and "IoT Hub message routing
query syntax" (conditions). Keywords and function names are read in any case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class RouteError(ValueError):
    """The text is not a route; the message says what was expected and where (characters counted from 1)."""


@dataclass(frozen=True)
class Route:
    """A parsed route. The modules are None where any module (or a leaf device, or the cloud) is meant."""

    source: str
    condition: str | None
    source_module: str | None
    sink_module: str | None
    sink_input: str | None
    """None with `sink_module` None means `$upstream`."""


def parse(text: str) -> Route:
    """The parts of a route.

    Raises:
        RouteError: not `FROM <source> [WHERE <condition>] INTO <sink>`, an unknown source or sink, a malformed condition.
    """
    tokens = _tokens(text)
    keywords = [(index, token.text.upper()) for index, token in enumerate(tokens) if token.kind == "word"]
    if not tokens or (0, "FROM") not in keywords:
        raise RouteError("a route starts with FROM <source>")
    into = next((index for index, word in reversed(keywords) if word == "INTO"), None)
    if into is None:
        raise RouteError("a route ends with INTO <sink>")
    where = next((index for index, word in keywords if word == "WHERE" and index < into), None)
    source = _text_between(text, tokens, 0, where or into)
    condition = None
    if where is not None:
        condition = _text_between(text, tokens, where, into)
        _Condition(tokens[where + 1 : into]).check()
    sink_module, sink_input = _sink(_text_between(text, tokens, into, len(tokens)))
    return Route(source, condition, _source_module(source), sink_module, sink_input)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


_BLANKS = re.compile(r"\s*")
_PATH = re.compile(r"(?P<path>/\S*)")  # only after FROM: elsewhere "/" divides
_TOKEN = re.compile(
    r"""
      (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
    | (?P<property>\{\$?[^{}\s]+\}|\$[A-Za-z_][\w.\-]*(?:\[\d+\][\w.\-]*)*)
    | (?P<word>[A-Za-z_][\w.\-]*)
    | (?P<operator><=|>=|!=|<>|\|\||\?\?|[=<>+\-*/%(),])
    """,
    re.VERBOSE,
)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = _skip_blanks(text, 0)
    while position < len(text):
        after_from = bool(found) and found[-1].text.upper() == "FROM"
        match = (after_from and _PATH.match(text, position)) or _TOKEN.match(text, position)
        if match is None:
            raise RouteError(f"character {position + 1}: unexpected {text[position]!r}")
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], position))
        position = _skip_blanks(text, match.end())
    return found


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def _text_between(text: str, tokens: list[_Token], before: int, until: int) -> str:
    start = tokens[before].start + len(tokens[before].text)
    end = tokens[until].start if until < len(tokens) else len(text)
    return text[start:end].strip()


_ID = r"[^/\s#$*]+"
_SOURCES = re.compile(
    rf"""/\*
    | /twinChangeNotifications(?:/\*)?
    | /messages(?:/\*)?
    | /messages/modules(?:/\*)?
    | /messages/modules/(?P<module>{_ID})(?:/\*|/outputs/\*|/outputs/{_ID}(?:/\*)?)?
    """,
    re.VERBOSE,
)


def _source_module(source: str) -> str | None:
    match = _SOURCES.fullmatch(source)
    if match is None:
        raise RouteError(
            f"unknown source {source!r}: it must be /*, /twinChangeNotifications, /messages/*, /messages/modules/*, "
            "/messages/modules/<module>/*, /messages/modules/<module>/outputs/* or /messages/modules/<module>/outputs/<output>"
        )
    return match["module"]


_ENDPOINT = re.compile(rf"""BrokeredEndpoint\s*\(\s*(["'])/modules/({_ID})/inputs/({_ID})\1\s*\)""", re.IGNORECASE)


def _sink(sink: str) -> tuple[str | None, str | None]:
    if sink.lower() == "$upstream":
        return None, None
    match = _ENDPOINT.fullmatch(sink)
    if match is None:
        raise RouteError(
            f'unknown sink {sink!r}: it must be $upstream or BrokeredEndpoint("/modules/<module>/inputs/<input>")'
        )
    return match[2], match[3]


class _Condition:
    """A recursive-descent check of a condition; what it means is edgeHub's business."""

    _COMPARISONS = frozenset({"=", "!=", "<>", "<", ">", "<=", ">="})
    _ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "||", "??"})
    _RESERVED = frozenset({"AND", "OR", "NOT", "FROM", "WHERE", "INTO"})

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def check(self) -> None:
        if not self._tokens:
            raise RouteError("WHERE is not followed by a condition")
        self._junction()
        if token := self._peek():
            raise RouteError(f"{_at(token)}: expected AND, OR or INTO, found {token.text!r}")

    def _junction(self) -> None:
        self._negation()
        while self._take({"AND", "OR"}):
            self._negation()

    def _negation(self) -> None:
        while self._take({"NOT"}):
            pass
        self._sum()
        if self._take(self._COMPARISONS):
            self._sum()

    def _sum(self) -> None:
        self._value()
        while self._take(self._ARITHMETIC):
            self._value()

    def _value(self) -> None:
        self._take({"-", "+"})
        token = self._peek()
        if token is None:
            raise RouteError("the condition ends where a value is expected")
        self._next += 1
        if token.text == "(":
            self._junction()
            self._expect(")")
        elif token.kind == "operator" or (token.kind == "word" and token.text.upper() in self._RESERVED):
            raise RouteError(f"{_at(token)}: expected a value, found {token.text!r}")
        elif token.kind == "word" and self._take({"("}):
            self._arguments()

    def _arguments(self) -> None:
        if self._take({")"}):
            return
        self._junction()
        while self._take({","}):
            self._junction()
        self._expect(")")

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, wanted: frozenset[str] | set[str]) -> bool:
        token = self._peek()
        if token is None or token.kind not in ("operator", "word") or token.text.upper() not in wanted:
            return False
        self._next += 1
        return True

    def _expect(self, wanted: str) -> None:
        if not self._take({wanted}):
            found = self._peek()
            raise RouteError(f"expected {wanted!r}, found {found.text!r}" if found else f"a {wanted!r} is missing")


def _at(token: _Token) -> str:
    return f"character {token.start + 1}"
