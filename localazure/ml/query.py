"""Lists of models and images: filters, order, pages; and the JSON Patch subset that changes one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localazure.ml.errors import ServiceError
from localazure.ml.gate import read_json
from localazure.store import Store

MAX_PAGE = 255
_TOKEN = "$skipToken"  # noqa: S105 - the query parameter that azureml-core reads out of nextLink
_ORDERS = {
    "CreatedAtDesc": "sequence DESC",
    "CreatedAtAsc": "sequence ASC",
    "UpdatedAtDesc": "modified DESC, sequence DESC",
    "UpdatedAtAsc": "modified ASC, sequence ASC",
}

Keep = Callable[[dict[str, Any]], bool]
Shape = Callable[[dict[str, Any]], dict[str, Any]]


def page(request: Request, bodies: list[dict[str, Any]], base_url: str, shape: Shape) -> Response:
    """`count` items from where the token says, with the link to the rest. The token is the number of items before."""
    count = _number(request, "count", MAX_PAGE)
    start = _number(request, _TOKEN, 0)
    if not 0 < count <= MAX_PAGE:
        raise ServiceError(400, "BadArgument", f"count must be between 1 and {MAX_PAGE}, not {count}.")
    answer: dict[str, Any] = {"value": [shape(body) for body in bodies[start : start + count]]}
    if start + count < len(bodies):
        query = {**request.query_params, _TOKEN: str(start + count)}
        answer["nextLink"] = f"{base_url}{request.url.path}?{urlencode(query)}"
    return JSONResponse(answer)


def select(store: Store, table: str, workspace: str, request: Request, keep: Keep) -> list[dict[str, Any]]:
    """The bodies that the query's name, tags, properties and `keep` leave, newest first unless orderBy says otherwise."""
    query = request.query_params
    order = _ORDERS.get(query.get("orderBy") or "CreatedAtDesc")
    if not order:
        raise ServiceError(400, "BadArgument", f"orderBy must be one of {', '.join(_ORDERS)}.")
    name = query.get("name")
    condition, values = ("AND name = ?", [name]) if name else ("", [])
    rows = store.all(f"SELECT body FROM {table} WHERE workspace = ? {condition} ORDER BY {order}", workspace, *values)  # noqa: S608
    tags, properties = list(_pairs(query.get("tags"))), list(_pairs(query.get("properties")))
    bodies = (json.loads(row["body"]) for row in rows)
    return [
        body
        for body in bodies
        if _matches(body["kvTags"], tags) and _matches(body["properties"], properties) and keep(body)
    ]


def next_version(store: Store, workspace: str, kind: str, name: str) -> int:
    """Versions are never given twice, not even after a deletion: `name:version` must stay unambiguous."""
    store.execute(
        "INSERT INTO ml_versions VALUES (?, ?, ?, 1) ON CONFLICT (workspace, kind, name) DO UPDATE SET last = last + 1",
        workspace, kind, name,
    )  # fmt: skip
    row = store.one("SELECT last FROM ml_versions WHERE workspace = ? AND kind = ? AND name = ?", workspace, kind, name)
    assert row
    return int(row["last"])


def split_id(identity: str, kind: str) -> tuple[str, int]:
    """`name:version`. Raises ServiceError 404, as for any id that does not exist."""
    name, colon, version = identity.rpartition(":")
    if not colon or not version.isdecimal() or len(version) > 9:
        raise ServiceError(404, f"{kind}NotFound", f"{kind} with id {identity} was not found in the workspace.")
    return name, int(version)


async def read_patch(request: Request, allowed: set[str]) -> list[tuple[str, list[str], Any]]:
    """The operations (op, path, value) of a JSON Patch. Raises ServiceError 400 for all but add, replace, remove of `allowed`."""
    patch = await read_json(request)
    if not isinstance(patch, list) or not all(isinstance(entry, dict) for entry in patch):
        raise ServiceError(400, "BadArgument", "The body of a PATCH is a list of JSON Patch operations.")
    operations = []
    for entry in patch:
        operation, path = entry.get("op"), str(entry.get("path", ""))
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
        if operation not in ("add", "replace", "remove") or not parts or parts[0] not in allowed or len(parts) > 2:
            raise ServiceError(
                400,
                "BadArgument",
                f"The patch operation {operation!r} on {path!r} is not allowed; one can add, replace and remove: "
                f"{', '.join(sorted(allowed))}.",
            )
        operations.append((str(operation), parts, entry.get("value")))
    return operations


def apply_patch(body: dict[str, Any], operations: list[tuple[str, list[str], Any]]) -> dict[str, Any]:
    """The changed body. Raises ServiceError 400 where a value has the wrong type or a property would change: properties only grow."""
    changed = json.loads(json.dumps(body))
    for operation, parts, value in operations:
        target, key = (changed, parts[0]) if len(parts) == 1 else (changed[parts[0]], parts[1])
        if not isinstance(target, dict):
            raise ServiceError(400, "BadArgument", f"/{'/'.join(parts)} does not exist.")
        if operation == "remove":
            if key not in target:
                raise ServiceError(400, "BadArgument", f"/{'/'.join(parts)} does not exist.")
            target[key] = {} if key in ("kvTags", "properties") and len(parts) == 1 else None
            if len(parts) == 2:
                del target[key]
        else:
            target[key] = value
    _check(body, changed)
    return changed


def _check(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key in ("kvTags", "properties"):
        if not is_text_map(after[key]):
            raise ServiceError(400, "BadArgument", f"{key} must be an object of texts.")
    datasets = after.get("datasets", [])
    if not isinstance(datasets, list) or not all(isinstance(entry, dict) for entry in datasets):
        raise ServiceError(400, "BadArgument", "datasets must be a list of objects.")
    if after["description"] is not None and not isinstance(after["description"], str):
        raise ServiceError(400, "BadArgument", "description must be a text.")
    lost = [key for key, value in before["properties"].items() if after["properties"].get(key) != value]
    if lost:
        raise ServiceError(400, "BadArgument", f"Properties cannot be changed once set: {', '.join(sorted(lost))}.")


def is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


def _pairs(text: str | None) -> Iterator[tuple[str, str | None]]:
    """`key,key2=value` as azureml-core joins its lists."""
    for part in (text or "").split(","):
        key, equals, value = part.partition("=")
        if key:
            yield key, value if equals else None


def _matches(held: dict[str, str], wanted: list[tuple[str, str | None]]) -> bool:
    return all(key in held and (value is None or held[key] == value) for key, value in wanted)


def _number(request: Request, key: str, default: int) -> int:
    text = request.query_params.get(key)
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise ServiceError(400, "BadArgument", f"{key} must be a number, not {text!r}.")
    return int(text)
