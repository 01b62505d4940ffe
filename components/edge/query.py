"""IoT Hub's query language as far as we write in it: conditions as trees, and the check of a metric's query.

The hub refuses what it cannot parse only when a deployment is made; a preview should say so before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from components.edge.query_words import QueryError, Word, words

_LITERALS = {"true": True, "false": False, "null": None}
_COMPARISONS = ("=", "!=", "<>", "<", ">", "<=", ">=")
_SOURCES = ("devices", "devices.modules")
_DEEPEST = 50


@dataclass(frozen=True)
class Property:
    """`tags.site`: its names and where it stands."""

    names: tuple[str, ...]
    at: int

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True)
class Constant:
    """A constant; `quote` is the mark round a text."""

    value: str | float | bool | None
    at: int
    quote: str = ""


@dataclass(frozen=True)
class Comparison:
    sign: Literal["=", "!=", "<", ">", "<=", ">="]
    left: Property | Constant
    right: Property | Constant


@dataclass(frozen=True)
class Member:
    """IN or NIN with a list."""

    of: Property | Constant
    items: tuple[Constant, ...]
    at: int
    negated: bool


@dataclass(frozen=True)
class Defined:
    of: Property


@dataclass(frozen=True)
class Not:
    of: Condition


@dataclass(frozen=True)
class Logic:
    word: Literal["and", "or"]
    parts: tuple[Condition, ...]


Condition = Comparison | Member | Defined | Not | Logic


def parse_condition(text: str) -> Condition:
    """What may stand after WHERE. Raises QueryError."""
    parser = _Parser(list(words(text)))
    found = parser.condition()
    parser.end()
    return found


def check_metric(text: str) -> None:
    """The query of a custom metric: `SELECT ... FROM devices|devices.modules [WHERE condition]`. Raises QueryError."""
    if not text.strip():
        raise QueryError("is empty; write SELECT deviceId FROM devices WHERE ...")
    parser = _Parser(list(words(text)))
    parser.need("select")
    parser.columns()
    parser.need("from")
    source = parser.property()
    if str(source).lower() not in _SOURCES:
        raise QueryError(f"FROM {source} at {source.at}: a metric counts devices or devices.modules")
    if parser.take("where"):
        parser.condition()
    parser.end()


def parts(condition: Condition) -> Iterator[Condition]:
    """The condition itself and all conditions inside."""
    yield condition
    inner: Sequence[Condition] = ()
    if isinstance(condition, Not):
        inner = (condition.of,)
    elif isinstance(condition, Logic):
        inner = condition.parts
    for part in inner:
        yield from parts(part)


class _Parser:
    """Recursive descent, one word ahead."""

    def __init__(self, found: list[Word]) -> None:
        self._words, self._next, self._depth = found, 0, 0

    @property
    def word(self) -> Word:
        return self._words[self._next]

    def take(self, *keywords: str) -> bool:
        return self._step(self.word.keyword in keywords)

    def sign(self, *signs: str) -> str:
        found = self.word
        return found.text if self._step(found.kind == "sign" and found.text in signs) else ""

    def need(self, keyword: str) -> None:
        if not self.take(keyword):
            raise self.unexpected(keyword.upper())

    def end(self) -> None:
        if self.word.kind != "end":
            raise self.unexpected("AND, OR or the end")

    def unexpected(self, wanted: str) -> QueryError:
        return QueryError(f"expected {wanted}, found {self.word} at {self.word.at}")

    def property(self) -> Property:
        at, names = self.word.at, [self._name()]
        while self.sign("."):
            names.append(self._name())
        return Property(tuple(names), at)

    def columns(self) -> None:
        """`*`, or properties and COUNT() with their names; which of them there are is the hub's to say."""
        if self.sign("*"):
            return
        while True:
            self.property()
            if self.sign("("):  # a function, of a property or of nothing
                if self.word.kind == "name":
                    self.property()
                self._need_sign(")")
            if self.take("as"):
                self._name()
            if not self.sign(","):
                return

    def condition(self) -> Condition:
        return self._logic("or", lambda: self._logic("and", self._negation))

    def _logic(self, word: Literal["and", "or"], operand: Callable[[], Condition]) -> Condition:
        found = [operand()]
        while self.take(word):
            found.append(operand())
        return Logic(word, tuple(found)) if len(found) > 1 else found[0]

    def _negation(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError(f"nests deeper than {_DEEPEST} levels at {self.word.at}")
        try:
            return Not(self._negation()) if self.take("not") else self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        if self.sign("("):
            inner = self.condition()
            self._need_sign(")")
            return inner
        left = self._operand()
        if isinstance(left, Property) and left.names[0].lower() == "is_defined" and self.sign("("):
            of = self.property()
            self._need_sign(")")
            return Defined(of)
        if sign := self.sign(*_COMPARISONS):
            return Comparison("!=" if sign == "<>" else sign, left, self._operand())  # type: ignore[arg-type]
        at, negated = self.word.at, self.word.keyword == "nin"
        if self.take("in", "nin"):
            return Member(left, self._items(), at, negated)
        raise self.unexpected("a comparison such as = 'value'")

    def _operand(self) -> Property | Constant:
        return self._literal() or self.property()

    def _literal(self) -> Constant | None:
        found = self.word
        if self._step(found.kind == "string"):
            return Constant(found.text, found.at, found.quote)
        if self._step(found.kind == "number"):
            return Constant(float(found.text), found.at)
        if found.kind == "sign" and found.text == "-" and self._words[self._next + 1].kind == "number":
            self._next += 2
            return Constant(-float(self._words[self._next - 1].text), found.at)
        if self._step(found.keyword in _LITERALS):
            return Constant(_LITERALS[found.keyword], found.at)
        return None

    def _items(self) -> tuple[Constant, ...]:
        self._need_sign("[")
        items: list[Constant] = []
        while not items or self.sign(","):
            item = self._literal()
            if item is None:
                raise self.unexpected("a constant")
            items.append(item)
        self._need_sign("]")
        return tuple(items)

    def _name(self) -> str:
        found = self.word
        reserved = found.keyword in ("select", "from", "where", "and", "or", "not", "in", "nin", "as", *_LITERALS)
        if not self._step(found.kind == "name" and not reserved):
            raise self.unexpected("the name of a property")
        return found.text

    def _need_sign(self, sign: str) -> None:
        if not self.sign(sign):
            raise self.unexpected(f"'{sign}'")

    def _step(self, found: bool) -> bool:
        self._next += found
        return found
