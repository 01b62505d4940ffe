"""Which devices a configuration is for.

The language is narrower than that of queries: `deviceId`, `tags` and `properties.reported` only, single quotes only (doubled inside a
value, as in `'operator''sDevice'`), no IN (Azure/azure-iot-cli-extension#490), no arithmetic. `*` is for all devices, an empty one for
none (Azure/iotedge#5903). Sources: learn.microsoft.com/azure/iot-edge/module-deployment-monitoring ("Target condition"); that IS_DEFINED is
allowed show the deployments of Azure/Industrial-IoT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from localazure.hub.query_parser import parse_condition
from localazure.hub.query_tokens import tokens
from localazure.hub.query_tree import (
    Arithmetic,
    Comparison,
    Constant,
    Defined,
    Expression,
    Logic,
    Member,
    Not,
    Path,
    QuerySyntaxError,
)
from localazure.hub.query_values import condition

ALL = "*"
_VALUE_SIGNS = set("-:.+%_#*?!(),=@;$' ")


def parse_target(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """A function from a device's document (`deviceId`, `tags`, `properties`) to whether it is meant. Raises QuerySyntaxError."""
    if not text.strip():
        return lambda document: False
    if text.strip() == ALL:
        return lambda document: True
    if '"' in text or "\\" in text:
        raise QuerySyntaxError("double quotes and backslashes are not allowed; values stand in single quotes")
    for token in tokens(text):
        if token.kind == "string" and not all(sign.isalnum() or sign in _VALUE_SIGNS for sign in token.text):
            raise QuerySyntaxError(
                f"the value at {token.start} holds another sign than letters, digits, -:.+%_#*?!(),=@;$"
            )
    expression = parse_condition(text)
    _check(expression)
    return condition(expression)


def _check(expression: Expression) -> None:
    if isinstance(expression, Constant | Path):
        raise QuerySyntaxError("a condition is a comparison such as tags.environment = 'prod'")
    for part in _parts(expression):
        if isinstance(part, Member | Arithmetic):
            raise QuerySyntaxError("IN, NIN and arithmetic are not allowed in a target condition")
        if isinstance(part, Path) and not _allowed(part):
            name = ".".join(part.parts)
            raise QuerySyntaxError(
                "Invalid targetCondition. It must be a filter condition based on 'deviceId', 'tags', or"
                f" 'properties.reported'. It contains: {name[:100]}"
            )
        if isinstance(part, Logic | Not):
            for operand in part.operands if isinstance(part, Logic) else (part.operand,):
                if isinstance(operand, Constant | Path):
                    raise QuerySyntaxError("AND, OR and NOT stand between comparisons")


def _allowed(path: Path) -> bool:
    first, *rest = path.parts
    return (
        path.parts == ("deviceId",)
        or (first == "tags" and bool(rest))
        or (path.parts[:2] == ("properties", "reported") and len(path.parts) > 2)
    )


def _parts(expression: Expression) -> Iterator[Expression]:
    yield expression
    match expression:
        case Logic(_, operands):
            for operand in operands:
                yield from _parts(operand)
        case Not(operand) | Member(operand, _, _):
            yield from _parts(operand)
        case Comparison(_, left, right) | Arithmetic(_, left, right):
            yield from _parts(left)
            yield from _parts(right)
        case Defined(path):
            yield path
