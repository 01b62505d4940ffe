"""A list, page by page."""

from __future__ import annotations

from urllib.parse import urlencode

from localazure.arm.errors import ArmError
from localazure.arm.model import Call
from localazure.arm.resources import Json


def page(call: Call, values: list[Json], base: str) -> Json:
    """`{value, nextLink?}`: `$top` cuts, `$skiptoken` continues."""
    start = _number(call, "$skiptoken", 0)
    count = _number(call, "$top", len(values) or 1)
    body: Json = {"value": values[start : start + count]}
    if start + count < len(values):
        query = dict(call.query) | {"$skiptoken": str(start + count)}
        body["nextLink"] = f"{base}{call.target.path}?{urlencode(query, safe='$')}"
    return body


def _number(call: Call, name: str, default: int) -> int:
    given = call.query.get(name, "")
    if not given:
        return default
    if not given.isdecimal() or (name == "$top" and int(given) < 1):
        raise ArmError(400, "InvalidQueryParameter", f"The value '{given}' of query parameter '{name}' is not valid.")
    return int(given)
