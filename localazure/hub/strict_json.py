"""JSON from outside."""

from __future__ import annotations

import json
from typing import Any

from localazure.hub.errors import invalid

_MAX_NESTING = 64


def parse_json(data: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN, no number beyond a double, no lone surrogates, not deeper than any document here. Raises 400."""
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {type(error).__name__}") from None
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > _MAX_NESTING:
            raise invalid(f"the body is nested deeper than {_MAX_NESTING} levels")
        level = [inner for value in level for inner in _children(value)]
    return document


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
