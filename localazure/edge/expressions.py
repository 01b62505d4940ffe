"""What a condition of a route is made of: typed pieces with three-valued logic.

Types are checked when the route is compiled, as edgeHub does (Azure/iotedge `ConditionVisitor.cs`, `Args.cs`): application and system
properties are texts, `$body...` may be anything, and `number > 12` with a property is an error, `as_number(number) > 12` is right.
At run time what is missing or of another type is undefined (`Bool.cs`).
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


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


@dataclass(frozen=True)
class Expression:
    """`kind` is text, number, boolean, null, undefined or any (a value of the body)."""

    kind: str
    value: Callable[[Readable], Any]


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ENCODINGS = ("utf-8", "utf-16", "utf-32")


def constant(value: Any) -> Expression:
    return Expression(_kind(value), lambda message: value)


def conjunction(parts: Sequence[Expression]) -> Expression:
    """AND: false wins over undefined."""

    def evaluate(message: Readable) -> Any:
        values = [part.value(message) for part in parts]
        if any(value is False for value in values):
            return False
        return True if all(value is True for value in values) else UNDEFINED

    _check_booleans("AND", parts)
    return Expression("boolean", evaluate)


def disjunction(parts: Sequence[Expression]) -> Expression:
    """OR: true wins over undefined."""

    def evaluate(message: Readable) -> Any:
        values = [part.value(message) for part in parts]
        if any(value is True for value in values):
            return True
        return False if all(value is False for value in values) else UNDEFINED

    _check_booleans("OR", parts)
    return Expression("boolean", evaluate)


def negation(part: Expression) -> Expression:
    def evaluate(message: Readable) -> Any:
        value = part.value(message)
        return not value if isinstance(value, bool) else UNDEFINED

    if part.kind not in ("boolean", "null", "undefined", "any"):
        raise RouteError(f"NOT needs a boolean, not a {part.kind}")
    return Expression("boolean", evaluate)


def comparison(sign: str, left: Expression, right: Expression) -> Expression:
    compare = COMPARISONS[sign]

    def evaluate(message: Readable) -> Any:
        one, other = left.value(message), right.value(message)
        if one is UNDEFINED or other is UNDEFINED or _kind(one) != _kind(other):
            return UNDEFINED
        if not isinstance(one, str | int | float) or isinstance(one, bool):
            return compare(one, other) if compare in (operator.eq, operator.ne) else UNDEFINED
        return compare(one, other)

    if left.kind != right.kind and not {left.kind, right.kind} & {"any", "undefined"}:
        raise RouteError(
            f"{sign} cannot compare a {left.kind} with a {right.kind} (properties are texts: use as_number)"
        )
    return Expression("boolean", evaluate)


def application_property(name: str) -> Expression:
    return Expression("text", lambda message: message.properties.get(name, UNDEFINED))


def dollar_property(name: str, escaped: bool) -> Expression:
    """`$name`, or `{$name}`, which is never an application property of that name (`VisitSysProperty`, `VisitSysPropertyEscaped`)."""
    path = _path(name)
    if path[0] == "body" and len(path) > 1:
        return Expression("any", lambda message: _from_body(message, path[1:]))
    if "[" in name:
        raise RouteError(f"${name}: only $body has elements")
    if escaped:
        return Expression("text", lambda message: message.system.get(name, UNDEFINED))
    return Expression("text", lambda message: message.properties.get(f"${name}", message.system.get(name, UNDEFINED)))


def call(name: str, arguments: Sequence[Expression]) -> Expression:
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise RouteError(f"{name} is no function that is known here")
    wanted, result, body = function
    if len(arguments) != len(wanted):
        raise RouteError(f"{name} takes {len(wanted)} argument(s), not {len(arguments)}")
    for kind, argument in zip(wanted, arguments, strict=True):
        if kind != "any" and argument.kind not in (kind, "any", "undefined"):
            raise RouteError(f"{name} takes a {kind}, not a {argument.kind}")

    def evaluate(message: Readable) -> Any:
        values = [argument.value(message) for argument in arguments]
        if any(kind != "any" and _kind(value) != kind for kind, value in zip(wanted, values, strict=True)):
            return UNDEFINED
        return body(*values)

    return Expression(result, evaluate)


def unescape(text: str) -> str:
    """Quotes, backslashes and \\uXXXX; other backslashes stay (`ConditionVisitor.Unescape`)."""
    text = re.sub(r"\\[Uu]([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"""\\(["'\\])""", r"\1", text)


def _check_booleans(word: str, parts: Sequence[Expression]) -> None:
    """`true AND $body.x` is refused by edgeHub, `$body.x AND true` is not (`CheckBooleanOperands`); so it is here."""
    for number, part in enumerate(parts):
        left_is_body = number == 1 and parts[0].kind == "any"
        if part.kind not in ("boolean", "null", "undefined") and not (
            part.kind == "any" and (number == 0 or left_is_body)
        ):
            hint = ": compare it, e.g. with = true" if part.kind == "any" else ""
            raise RouteError(f"{word} needs booleans, not a {part.kind}{hint}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if value is UNDEFINED:
        return "undefined"
    return "null" if value is None else "object"


def _path(name: str) -> list[str | int]:
    return [int(index) if index else key for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", name)] or [""]


def _from_body(message: Readable, path: list[str | int]) -> Any:
    """Only bodies that say they are JSON in UTF-8, UTF-16 or UTF-32 can be asked (docs, "query based on message body")."""
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


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return UNDEFINED


_FUNCTIONS: dict[str, tuple[tuple[str, ...], str, Callable[..., Any]]] = {
    "is_defined": (("any",), "boolean", lambda value: value is not UNDEFINED),
    "is_null": (("any",), "boolean", lambda value: value is None),
    "is_bool": (("any",), "boolean", lambda value: _kind(value) == "boolean"),
    "is_number": (("any",), "boolean", lambda value: _kind(value) == "number"),
    "is_string": (("any",), "boolean", lambda value: _kind(value) == "text"),
    "as_number": (("text",), "number", _number),
    "lower": (("text",), "text", str.lower),
    "upper": (("text",), "text", str.upper),
    "length": (("text",), "number", len),
    "concat": (("text", "text"), "text", operator.add),
    "starts_with": (("text", "text"), "boolean", str.startswith),
    "ends_with": (("text", "text"), "boolean", str.endswith),
    "contains": (("text", "text"), "boolean", operator.contains),
}
