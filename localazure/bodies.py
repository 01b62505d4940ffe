"""Request bodies from clients that may mean harm: never more bytes than allowed, never JSON that we could not write again."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

_MAX_NESTING = 100
_HEARD_OUT = 4
"""So many times the limit are read and thrown away, so that the client reads the answer before it meets a closed connection."""


class BodyError(ValueError):
    """The body is not acceptable JSON; the message says why and quotes nothing of it."""


class TooLargeError(Exception):
    """The body has more bytes than the service takes."""


async def read(request: Request, limit: int) -> bytes:
    """The body. Raises TooLargeError without ever holding more than `limit` bytes, and ClientDisconnect."""
    if int(request.headers.get("content-length", "0")) > _HEARD_OUT * limit:
        raise TooLargeError
    content, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= limit:
            content += chunk
        elif length > _HEARD_OUT * limit:
            break
    if length > limit:
        raise TooLargeError
    return bytes(content)


def parse_json(content: bytes) -> Any:
    """Strict JSON in UTF-8: no NaN, no number beyond a double, no lone surrogates, not nested too deeply. Raises BodyError.

    Of equal keys the last one counts, as in .NET's and Python's parsers.
    """
    try:
        value = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeError as error:
        raise BodyError("it is not UTF-8") from error
    except RecursionError as error:
        raise BodyError(f"it is nested deeper than {_MAX_NESTING} levels") from error
    except ValueError as error:
        raise BodyError(str(error)) from error
    if deeper_than(value, _MAX_NESTING):
        raise BodyError(f"it is nested deeper than {_MAX_NESTING} levels")
    return value


def deeper_than(value: Any, levels: int) -> bool:
    """Whether a JSON document nests deeper than so many levels; its own depth costs no stack."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > levels:
            return True
        level = [inner for one in level for inner in _children(one)]
    return False


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse(text: str) -> Any:
    raise BodyError(f"{text} is not JSON")
