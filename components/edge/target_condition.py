"""Which devices an automatic deployment is for.

Narrower than the query language: only `deviceId`, `tags.*` and `properties.reported.*`, only single quotes, no IN. `*` is every IoT Edge
device; an empty condition is none. The hub's own check lets IN pass and its creation then answers 400
(Azure/azure-iot-cli-extension#490), so it is refused here. Source: "Understand IoT Edge automatic deployments", "Target condition".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.edge.query import (
    Comparison,
    Condition,
    Constant,
    Defined,
    Logic,
    Member,
    Not,
    Property,
    parse_condition,
    parts,
)
from components.edge.query_words import QueryError

EVERYTHING = "*"
_SIGNS = re.compile(r"[\w\-:.+%#*?!(),=@;$' ]*")  # what the hub takes inside a value
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def problems(text: str) -> list[str]:
    """What the hub would refuse; an empty list for what it takes."""
    if not text.strip() or text.strip() == EVERYTHING:
        return []
    try:
        condition = parse_condition(text)
    except QueryError as error:
        return [str(error)]
    return list(dict.fromkeys(problem for part in parts(condition) for problem in _wrong(part)))


def together(target: str, waves: Sequence[str]) -> str:
    """The devices of `target` that one of the waves names. Raises nothing: both must have passed `problems`."""
    if EVERYTHING in [wave.strip() for wave in waves]:
        return target
    named = " OR ".join(f"({wave})" for wave in waves) if len(waves) > 1 else waves[0]
    return named if target.strip() == EVERYTHING else f"({target}) AND ({named})"


def matches(text: str, device_id: str, tags: Mapping[str, Any]) -> bool | None:
    """Whether a device with these tags is meant; None where that depends on what it reports. Raises QueryError."""
    if not text.strip():
        return False
    if text.strip() == EVERYTHING:
        return True
    worth = _worth(parse_condition(text), {"deviceId": device_id, "tags": tags})
    return None if worth is _LATER else worth is True


def _wrong(part: Condition) -> list[str]:
    if isinstance(part, Member):
        word = "NIN" if part.negated else "IN"
        return [
            f"{word} at {part.at} is not allowed in a target condition: write several comparisons with OR",
            *_sides(part.of),
        ]
    if isinstance(part, Comparison):
        found = [*_sides(part.left), *_sides(part.right)]
        if isinstance(part.left, Constant) and isinstance(part.right, Constant):
            found.append(f"the comparison at {part.left.at} names no property")
        return found
    return _sides(part.of) if isinstance(part, Defined) else []


def _sides(side: Property | Constant) -> list[str]:
    if isinstance(side, Property):
        return [] if _allowed(side.names) else [f"{side} at {side.at} cannot be asked for: {_ALLOWED}"]
    if side.quote == '"':
        return [f"the text at {side.at} stands in double quotes: write it in single quotes"]
    if side.quote and not _SIGNS.fullmatch(str(side.value)):
        return [
            f"the text at {side.at} holds a sign that the hub refuses there; letters, digits, blanks and -:.+%_#*?!(),=@;$' are taken"
        ]
    return []


def _allowed(names: tuple[str, ...]) -> bool:
    return (
        names == ("deviceId",)
        or (names[0] == "tags" and len(names) > 1)
        or (names[:2] == ("properties", "reported") and len(names) > 2)
    )


_ALLOWED = "a target condition knows deviceId, tags.<name> and properties.reported.<name>"


class _Unknown:
    """A property that is not there, or one that only the device knows."""


_ABSENT, _LATER = _Unknown(), _Unknown()


def _worth(condition: Condition, document: Mapping[str, Any]) -> Any:
    """True, False, _ABSENT (like False, and NOT of it too) or _LATER."""
    match condition:
        case Logic(word, inner):
            return _combined(word == "and", [_worth(part, document) for part in inner])
        case Not(of):
            worth = _worth(of, document)
            return worth if isinstance(worth, _Unknown) else not worth
        case Defined(of):
            found = _value(of, document)
            return found if found is _LATER else found is not _ABSENT
        case Comparison(sign, left, right):
            return _compared(sign, _value(left, document), _value(right, document))
    return _LATER


def _combined(conjunction: bool, worths: list[Any]) -> Any:
    decisive = not conjunction
    if any(worth is decisive for worth in worths):
        return decisive
    return next((worth for kind in (_LATER, _ABSENT) for worth in worths if worth is kind), conjunction)


def _compared(sign: str, left: Any, right: Any) -> Any:
    for side in (left, right):
        if isinstance(side, _Unknown):
            return side
    numbers = all(isinstance(side, int | float) and not isinstance(side, bool) for side in (left, right))
    if not numbers and type(left) is not type(right):
        return _ABSENT
    if not numbers and not isinstance(left, str) and sign not in ("=", "!="):
        return _ABSENT
    return _COMPARE[sign](left, right)


def _value(side: Property | Constant, document: Mapping[str, Any]) -> Any:
    if isinstance(side, Constant):
        return side.value
    if side.names[0] == "properties":
        return _LATER
    found: Any = document
    for name in side.names:
        found = found.get(name, _ABSENT) if isinstance(found, Mapping) else _ABSENT
    return found
