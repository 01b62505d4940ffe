"""JSON from outside."""

from __future__ import annotations

import json
from typing import Any

from localazure.bodies import deeper_than
from localazure.hub.errors import invalid

_MAX_NESTING = 64


def parse_json(data: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN, no number beyond a double, no lone surrogates, not deeper than any document here. Raises 400."""
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {type(error).__name__}") from None
    if deeper_than(document, _MAX_NESTING):
        raise invalid(f"the body is nested deeper than {_MAX_NESTING} levels")
    return document


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
