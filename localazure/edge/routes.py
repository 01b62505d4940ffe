"""Routes of the edge hub: `FROM <source> [WHERE <condition>] INTO <sink>`.

Source: learn.microsoft.com, "Learn how to deploy modules and establish routes in IoT Edge"; Azure/iotedge `RouteFactory.cs`,
`ModuleMessageSource.cs` (`/messages/modules/{module}/outputs/{output}`), `RouteSpec.cs` (priority 0..9).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localazure.edge.condition import compile_condition
from localazure.edge.expressions import Readable, RouteError

DEFAULT_PRIORITY = 9
DEFAULT_TIME_TO_LIVE = 7200
UPSTREAM = "$upstream"

_ROUTE = re.compile(r"\s*FROM\s+(?P<source>/\S*)(?P<rest>\s.*)", re.IGNORECASE | re.DOTALL)
_INTO = re.compile(r"\s+INTO\s+", re.IGNORECASE)
_ENDPOINT = re.compile(
    r"""BrokeredEndpoint\(\s*(["'])/modules/(?P<module>[^/"']+)/inputs/(?P<input>[^"']+)\1\s*\)""", re.IGNORECASE
)


class Routed(Readable):
    """A message with its place of origin, e.g. `/messages/modules/scorer/outputs/amlOutput` or `/messages/events` (leaf device)."""

    source: str


@dataclass(frozen=True)
class Endpoint:
    """A module's input; both names empty for the hub upstream."""

    module: str = ""
    input: str = ""

    @property
    def upstream(self) -> bool:
        return not self.module


@dataclass(frozen=True)
class Route:
    """`time_to_live` in seconds, None for the default of storeAndForwardConfiguration. A lower priority number goes first."""

    name: str
    source: str
    endpoint: Endpoint
    matches_condition: Callable[[Readable], bool]
    priority: int = DEFAULT_PRIORITY
    time_to_live: int | None = None

    def takes(self, source: str, message: Readable) -> bool:
        return _source_matches(self.source, source) and self.matches_condition(message)


@dataclass(frozen=True)
class HubConfig:
    """`$edgeHub`'s desired properties."""

    version: int
    routes: tuple[Route, ...]
    time_to_live: int


def parse_config(desired: dict[str, Any]) -> HubConfig:
    """Raises RouteError: then edgeHub keeps what it had. Routes are texts or (schema 1.1) objects; null ones are gone."""
    content = {key: value for key, value in desired.items() if not key.startswith("$")}
    schema = content.get("schemaVersion")
    if content and schema not in ("1.0", "1.1", "1.2"):
        raise RouteError(f"the schema version {schema!r} of $edgeHub is not one of 1.0, 1.1, 1.2")
    routes = content.get("routes") or {}
    if not isinstance(routes, dict):
        raise RouteError("routes must be an object")
    storage = content.get("storeAndForwardConfiguration") or {}
    lifetime = storage.get("timeToLiveSecs", DEFAULT_TIME_TO_LIVE) if isinstance(storage, dict) else None
    if not isinstance(lifetime, int) or isinstance(lifetime, bool):
        raise RouteError("storeAndForwardConfiguration.timeToLiveSecs must be a number of seconds")
    return HubConfig(
        version=int(desired.get("$version", 0)),
        routes=tuple(_named(name, spec, str(schema)) for name, spec in routes.items() if spec is not None),
        time_to_live=lifetime,
    )


def parse_route(name: str, text: str, priority: int = DEFAULT_PRIORITY, time_to_live: int | None = None) -> Route:
    """One route. Raises RouteError that names it."""
    try:
        source, condition, sink = _split(text)
        return Route(
            name=name,
            source=_source(source),
            endpoint=_sink(sink),
            matches_condition=compile_condition(condition) if condition is not None else lambda message: True,
            priority=priority,
            time_to_live=time_to_live,
        )
    except RouteError as error:
        raise RouteError(f"route {name}: {error}") from error


def _named(name: str, spec: Any, schema: str) -> Route:
    if isinstance(spec, str):
        return parse_route(name, spec)
    if not isinstance(spec, dict) or not isinstance(spec.get("route"), str):
        raise RouteError(f'route {name}: it must be a text or {{"route": ..., "priority": ..., "timeToLiveSecs": ...}}')
    if schema == "1.0":
        raise RouteError(f"route {name}: routes with priority or timeToLiveSecs need schemaVersion 1.1")
    priority, lifetime = spec.get("priority", DEFAULT_PRIORITY), spec.get("timeToLiveSecs") or None
    if not _whole(priority) or not 0 <= priority <= 9:
        raise RouteError(f"route {name}: priority must be a number from 0 to 9, not {priority!r}")
    if lifetime is not None and (not _whole(lifetime) or not 0 <= lifetime <= 4294967295):
        raise RouteError(f"route {name}: timeToLiveSecs must be a number from 0 to 4294967295, not {lifetime!r}")
    return parse_route(name, spec["route"], priority, lifetime)


def _split(text: str) -> tuple[str, str | None, str]:
    """Source, condition or None, sink. The last INTO outside of quotes counts: a text in the condition may hold the word."""
    match = _ROUTE.fullmatch(text)
    if not match:
        raise RouteError("it must read: FROM <source> [WHERE <condition>] INTO <sink>")
    rest = match["rest"]
    blank = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", lambda quoted: "_" * len(quoted[0]), rest)
    places = list(_INTO.finditer(blank))
    if not places:
        raise RouteError("INTO <sink> is missing")
    condition, sink = rest[: places[-1].start()].strip(), rest[places[-1].end() :].strip()
    if not condition:
        return match["source"], None, sink
    where = re.fullmatch(r"WHERE\s(.+)", condition, re.IGNORECASE | re.DOTALL)
    if not where:
        raise RouteError(f"expected WHERE or INTO after the source, found {condition[:20]!r}")
    return match["source"], where[1], sink


def _source(text: str) -> str:
    if not text.startswith("/"):
        raise RouteError(f"the source {text!r} does not begin with '/'")
    head = text.removesuffix("*")
    if "*" in head or (head != text and not head.endswith("/")):
        raise RouteError(f"the source {text!r} may have one '*', and only as its last part")
    return text


def _sink(text: str) -> Endpoint:
    if text.lower() == UPSTREAM:
        return Endpoint()
    match = _ENDPOINT.fullmatch(text)
    if not match:
        raise RouteError(
            f'the sink must be $upstream or BrokeredEndpoint("/modules/<module>/inputs/<input>"), not {text!r}'
        )
    return Endpoint(match["module"], match["input"])


def _source_matches(pattern: str, source: str) -> bool:
    """By whole parts of the path, in any case: `/messages/modules/a` and `/messages/modules/a/*` take all that module a sends."""
    wanted = pattern.lower().removesuffix("*").rstrip("/")
    given = source.lower()
    return given == wanted or given.startswith(f"{wanted}/")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
