"""What an expression is worth for one document.

Only `true` counts as true. Operands of different kinds, and properties that are not there, give undefined, and so does NOT of it: a device
without the tag matches neither `tags.a = 'x'` nor `tags.a != 'x'` nor `NOT tags.a = 'x'`; ask with IS_DEFINED
(learn.microsoft.com/azure/iot-hub/iot-hub-devguide-query-language).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from localazure.hub.query_tree import (
    UNDEFINED,
    Arithmetic,
    Comparison,
    Constant,
    Defined,
    Expression,
    Logic,
    Member,
    Not,
    Path,
)

Value = Callable[[Mapping[str, Any]], Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_COMPUTE: dict[str, Callable[[Any, Any], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
}


def compiled(expression: Expression) -> Value:
    """A function from a document to the expression's value: JSON or UNDEFINED. It never raises."""
    match expression:
        case Constant(value):
            return lambda document: value
        case Path():
            return reader(expression)
        case Defined(path):
            read = reader(path)
            return lambda document: read(document) is not UNDEFINED
        case Not(operand):
            inner = compiled(operand)
            return lambda document: _not(inner(document))
        case Logic(word, operands):
            return _logic(word == "and", [compiled(operand) for operand in operands])
        case Comparison(sign, left, right):
            return _comparison(sign, compiled(left), compiled(right))
        case Arithmetic(sign, left, right):
            return _arithmetic(_COMPUTE[sign], compiled(left), compiled(right))
        case Member(operand, items, negated):
            return _member(compiled(operand), [item.value for item in items], negated)


def condition(expression: Expression | None) -> Callable[[Mapping[str, Any]], bool]:
    """Whether the document fulfils it; everything does without one."""
    if expression is None:
        return lambda document: True
    value = compiled(expression)
    return lambda document: value(document) is True


def reader(path: Path) -> Value:
    """The value at the path; the first name in any case (Microsoft's examples write LastActivityTime), the others exactly."""
    first, rest = path.parts[0], path.parts[1:]
    lower = first.lower()

    def read(document: Mapping[str, Any]) -> Any:
        value = document.get(first, UNDEFINED)
        if value is UNDEFINED:
            value = next((document[name] for name in document if name.lower() == lower), UNDEFINED)
        for part in rest:
            if not isinstance(value, dict):
                return UNDEFINED
            value = value.get(part, UNDEFINED)
        return value

    return read


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not(value: Any) -> Any:
    return not value if isinstance(value, bool) else UNDEFINED


def _logic(conjunction: bool, operands: list[Value]) -> Value:
    decisive = not conjunction  # one false decides an AND, one true an OR

    def value(document: Mapping[str, Any]) -> Any:
        known = True
        for operand in operands:
            found = operand(document)
            if found is decisive:
                return decisive
            known = known and isinstance(found, bool)
        return conjunction if known else UNDEFINED

    return value


def _comparison(sign: str, left: Value, right: Value) -> Value:
    return lambda document: _compare(sign, left(document), right(document))


def _compare(sign: str, left: Any, right: Any) -> Any:
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return _COMPARE[sign](left, right)
    same = (isinstance(left, bool) and isinstance(right, bool)) or (left is None and right is None)
    return _COMPARE[sign](left, right) if same and sign in ("=", "!=") else UNDEFINED


def _arithmetic(compute: Callable[[Any, Any], float], left: Value, right: Value) -> Value:
    def value(document: Mapping[str, Any]) -> Any:
        one, other = left(document), right(document)
        if not (is_number(one) and is_number(other)):
            return UNDEFINED
        try:
            result = compute(float(one), float(other))
        except (ArithmeticError, ValueError):
            return UNDEFINED
        return result if math.isfinite(result) else UNDEFINED

    return value


def _member(operand: Value, items: list[Any], negated: bool) -> Value:
    def value(document: Mapping[str, Any]) -> Any:
        found = operand(document)
        if found is UNDEFINED:
            return UNDEFINED
        return any(_compare("=", found, item) is True for item in items) is not negated

    return value
