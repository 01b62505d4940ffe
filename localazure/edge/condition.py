"""The WHERE clause of a route: parsed once, evaluated for each message.

The language is the routing query language of IoT Hub and IoT Edge (learn.microsoft.com, "IoT Hub message routing query syntax";
Azure/iotedge `ConditionVisitor.cs`): `=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`, AND, OR, NOT, parentheses, texts in either quotes, numbers,
true, false, null, undefined, `$systemProperty`, `$body.a.b[0]`, `{$escaped}`, application properties by bare name, and the functions of
`_FUNCTIONS`. A comparison with something undefined or of another type is undefined, and only a condition that is true takes a message.
Arithmetic, `||` and `??` are refused with RouteError, as everything else that is not understood.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

MAX_LENGTH = 4096
MAX_DEPTH = 50


class RouteError(ValueError):
    """A route or its condition cannot be understood; the message names the place."""


class Undefined:
    """The value of a property that is not there."""

    def __repr__(self) -> str:
        return "undefined"

    def __bool__(self) -> bool:
        return False


UNDEFINED = Undefined()


class Readable(Protocol):
    """A message as conditions see it. `system` has names such as connectionModuleId, contentType, messageId."""

    @property
    def system(self) -> Mapping[str, str]: ...
    @property
    def properties(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


Expression = Callable[[Readable], Any]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>0[xX][0-9a-fA-F]+|-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<escaped>\{\$[^{}]*\})
    | (?P<system>\$[A-Za-z_][\w-]*(?:(?:\.[A-Za-z_][\w-]*)|\[\d+\])*)
    | (?P<name>[A-Za-z_][\w.-]*)
    | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_condition(text: str) -> Callable[[Readable], bool]:
    """A predicate. Raises RouteError."""
    if len(text) > MAX_LENGTH:
        raise RouteError(f"the condition has {len(text)} signs, more than {MAX_LENGTH}")
    parser = _Parser(_tokens(text))
    expression = parser.whole()
    return lambda message: expression(message) is True


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if not match or match.lastgroup is None:
            raise RouteError(
                f"the condition cannot be read from sign {position + 1} on: {text[position : position + 20]!r}"
            )
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return [*tokens, _Token("end", "", end)]


class _Parser:
    """Recursive descent; NOT binds tighter than AND, AND tighter than OR, comparisons tightest."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._or()
        if self._peek().kind != "end":
            raise self._wrong("the end or an operator")
        return expression

    def _or(self) -> Expression:
        parts = [self._and()]
        while self._word("OR"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else _any(parts)

    def _and(self) -> Expression:
        parts = [self._not()]
        while self._word("AND"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else _all(parts)

    def _not(self) -> Expression:
        negations = 0
        while self._word("NOT"):
            negations += 1
        expression = self._comparison()
        for _ in range(negations % 2 or (2 if negations else 0)):  # twice: NOT makes undefined of what is no boolean
            expression = _negated(expression)
        return expression

    def _comparison(self) -> Expression:
        left = self._value()
        while self._peek().kind == "sign" and self._peek().text in _COMPARE:
            compare = _COMPARE[self._take().text]
            left = _compared(compare, left, self._value())
        return left

    def _value(self) -> Expression:
        token = self._peek()
        if token.kind == "sign" and token.text == "(":
            return self._parenthesis()
        if token.kind in ("sign", "end"):
            raise self._wrong("a value")
        self._take()
        if token.kind == "number":
            return _constant(float(int(token.text, 16) if token.text[:2] in ("0x", "0X") else token.text))
        if token.kind == "text":
            return _constant(re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL))
        if token.kind in ("system", "escaped"):
            return _system(token)
        return self._name(token)

    def _parenthesis(self) -> Expression:
        self._take()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RouteError(f"the condition is nested deeper than {MAX_DEPTH} levels")
        expression = self._or()
        self._expect(")")
        self._depth -= 1
        return expression

    def _name(self, token: _Token) -> Expression:
        literal = {"true": True, "false": False, "null": None, "undefined": UNDEFINED}
        if token.text.lower() in literal:
            return _constant(literal[token.text.lower()])
        if token.text.upper() in ("AND", "OR", "NOT"):
            raise RouteError(f"{token.text} at sign {token.at + 1} needs an expression before it")
        if self._peek().text != "(" or self._peek().kind != "sign":
            return lambda message: message.properties.get(token.text, UNDEFINED)
        function = _FUNCTIONS.get(token.text.lower())
        if function is None:
            raise RouteError(f"{token.text} at sign {token.at + 1} is no function that is known here")
        arguments = self._arguments()
        count, body = function
        if len(arguments) != count:
            raise RouteError(f"{token.text} takes {count} argument(s), not {len(arguments)}")
        return lambda message: body(*[argument(message) for argument in arguments])

    def _arguments(self) -> list[Expression]:
        self._take()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RouteError(f"the condition is nested deeper than {MAX_DEPTH} levels")
        arguments: list[Expression] = []
        while self._peek().text != ")" or self._peek().kind != "sign":
            if arguments:
                self._expect(",")
            arguments.append(self._or())
        self._take()
        self._depth -= 1
        return arguments

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _word(self, word: str) -> bool:
        token = self._peek()
        if token.kind == "name" and token.text.upper() == word:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if self._peek().kind != "sign" or self._peek().text != sign:
            raise self._wrong(f"'{sign}'")
        self._next += 1

    def _wrong(self, wanted: str) -> RouteError:
        token = self._peek()
        found = repr(token.text) if token.kind != "end" else "the end of the condition"
        return RouteError(f"at sign {token.at + 1} of the condition: expected {wanted}, found {found}")


def _constant(value: Any) -> Expression:
    return lambda message: value


def _all(parts: list[Expression]) -> Expression:
    def evaluate(message: Readable) -> Any:
        values = [part(message) for part in parts]
        if any(value is False for value in values):
            return False
        return True if all(value is True for value in values) else UNDEFINED

    return evaluate


def _any(parts: list[Expression]) -> Expression:
    def evaluate(message: Readable) -> Any:
        values = [part(message) for part in parts]
        if any(value is True for value in values):
            return True
        return False if all(value is False for value in values) else UNDEFINED

    return evaluate


def _negated(part: Expression) -> Expression:
    def evaluate(message: Readable) -> Any:
        value = part(message)
        return not value if isinstance(value, bool) else UNDEFINED

    return evaluate


def _compared(compare: Callable[[Any, Any], bool], left: Expression, right: Expression) -> Expression:
    def evaluate(message: Readable) -> Any:
        one, other = _alike(left(message), right(message))
        if one is UNDEFINED or other is UNDEFINED or _kind(one) != _kind(other):
            return UNDEFINED
        if one is None or isinstance(one, bool):
            return compare(one, other) if compare in (operator.eq, operator.ne) else UNDEFINED
        return compare(one, other)

    return evaluate


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Application properties are texts; against a number they count as one if they are one (implicit cast of the language)."""
    if isinstance(one, str) and _kind(other) == "number":
        return _number(one), other
    if isinstance(other, str) and _kind(one) == "number":
        return one, _number(other)
    return one, other


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return UNDEFINED


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "null" if value is None else "other"


def _system(token: _Token) -> Expression:
    name = token.text.strip("{}")[1:]
    path = _path(name)
    if path and path[0] == "body":
        return lambda message: _from_body(message, path[1:])
    if "[" in name:
        raise RouteError(f"{token.text} at sign {token.at + 1}: only $body has elements")
    if token.kind == "escaped":
        return lambda message: message.system.get(name, UNDEFINED)
    # An application property of that very name goes before the system property (ConditionVisitor.VisitSysProperty).
    return lambda message: message.properties.get(f"${name}", message.system.get(name, UNDEFINED))


def _path(name: str) -> list[str | int]:
    return [int(index) if index else key for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", name) if key or index]


def _from_body(message: Readable, path: list[str | int]) -> Any:
    """Only bodies that say they are JSON in UTF-8, UTF-16 or UTF-32 can be asked (docs, "Message routing query based on message body")."""
    encoding = message.system.get("contentEncoding", "").lower()
    if message.system.get("contentType", "").lower() != "application/json" or encoding not in _ENCODINGS:
        return UNDEFINED
    try:
        value = json.loads(message.body.decode(encoding))
    except (ValueError, RecursionError):
        return UNDEFINED
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return UNDEFINED
    return value


_ENCODINGS = ("utf-8", "utf-16", "utf-32")


def _texts(test: Callable[[str, str], Any]) -> tuple[int, Callable[..., Any]]:
    return 2, lambda one, other: test(one, other) if isinstance(one, str) and isinstance(other, str) else UNDEFINED


def _text(change: Callable[[str], Any]) -> tuple[int, Callable[..., Any]]:
    return 1, lambda value: change(value) if isinstance(value, str) else UNDEFINED


_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "is_defined": (1, lambda value: value is not UNDEFINED),
    "is_null": (1, lambda value: value is None),
    "is_bool": (1, lambda value: _kind(value) == "boolean"),
    "is_number": (1, lambda value: _kind(value) == "number"),
    "is_string": (1, lambda value: _kind(value) == "text"),
    "as_number": (1, _number),
    "lower": _text(str.lower),
    "upper": _text(str.upper),
    "length": _text(len),
    "concat": _texts(lambda one, other: one + other),
    "starts_with": _texts(str.startswith),
    "ends_with": _texts(str.endswith),
    "contains": _texts(lambda one, other: other in one),
}
