"""IoT Hub's configurations (at-scale deployments) and the queries that say how they fare."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    QuerySpecification,
)

from components.edge.identity_mark import OWN_DEPLOYMENT_TAG
from components.services.errors import NotFoundError, ServiceError
from components.services.hub import Hub, call

_MOST = 100  # configurations that a hub holds
_PAGE = 100  # items that a hub gives at a time
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)
Json = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """What of a configuration may change."""

    target: str
    priority: int
    labels: Mapping[str, str]
    metrics: Mapping[str, str]
    """Name -> query."""


@dataclass(frozen=True)
class Deployed:
    """A configuration in the hub. `content` is its modulesContent, credentials included; `counts` its system metrics."""

    id: str
    terms: Terms
    content: Json = field(repr=False)
    created: datetime.datetime
    etag: str
    counts: Mapping[str, int]

    def count(self, metric: str) -> int:
        """targeted, applied, reportedSuccessful or reportedFailed."""
        return int(self.counts.get(f"{metric}Count", 0))


class Configurations:
    """Those of one hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def labelled(self, label: str, value: str) -> list[Deployed]:
        """Those that have the label, the oldest first."""
        own = [_deployed(one) for one in self._all() if (one.labels or {}).get(label) == value]
        return sorted(own, key=lambda one: one.created)

    def contents(self) -> list[Json]:
        """The modulesContent of every automatic deployment of the hub, ours or not, credentials included."""
        return [one.content.modules_content for one in self._all() if one.content and one.content.modules_content]

    def find(self, configuration_id: str) -> Deployed | None:
        doing = "read the configuration"
        try:
            return _deployed(call(doing, configuration_id, lambda: self._sdk.get_configuration(configuration_id)))
        except NotFoundError:
            return None

    def create(self, configuration_id: str, content: Json, terms: Terms) -> Deployed:
        """Raises ConflictError when the id is taken, by a first try of this very call perhaps."""
        new = _configuration(configuration_id, content, terms)
        return _deployed(
            call("create the configuration", configuration_id, lambda: self._sdk.create_configuration(new))
        )

    def update(self, deployed: Deployed, terms: Terms) -> Deployed:
        """The content goes along unchanged. The SDK sends the tag as it is, and the hub wants it in quotes
        (Azure/azure-iot-hub-python#2)."""
        new, tag = _configuration(deployed.id, deployed.content, terms), f'"{deployed.etag}"'
        return _deployed(
            call("update the configuration", deployed.id, lambda: self._sdk.update_configuration(new, tag))
        )

    def delete(self, configuration_id: str) -> None:
        """Absent is fine."""
        try:
            call("delete the configuration", configuration_id, lambda: self._sdk.delete_configuration(configuration_id))
        except NotFoundError:
            return

    def count(self, target: str) -> int:
        """How many IoT Edge devices a target condition means at this moment."""
        if not target.strip():
            return 0
        rows = query(self.hub, f"SELECT COUNT() AS number FROM devices WHERE {edge_devices(target)}")  # noqa: S608
        return int(rows[0]["number"]) if rows else 0

    def with_own_deployment(self, target: str, most: int) -> list[str]:
        """Ids of devices that a target condition means and that have a deployment of their own, by the tag that it leaves."""
        if not target.strip():
            return []
        own = f"{edge_devices(target)} AND tags.{OWN_DEPLOYMENT_TAG} = 'device'"
        return [str(row["deviceId"]) for row in query(self.hub, f"SELECT deviceId FROM devices WHERE {own}", most)]  # noqa: S608

    def _all(self) -> list[Configuration]:
        found = call("list the configurations of", self.hub.host_name, lambda: self._sdk.get_configurations(_MOST))
        return list(found)

    @property
    def _sdk(self) -> Any:
        return self.hub.configurations


def edge_devices(target: str) -> str:
    """The condition of a query for the IoT Edge devices that a target condition means."""
    return "capabilities.iotEdge = true" + ("" if target.strip() == "*" else f" AND ({target})")


def query(hub: Hub, text: str, most: int | None = None) -> list[Json]:
    """The rows (or twins) of a query, page by page, at most `most`. Each page counts against the hub's rate of queries."""
    rows: list[Json] = []
    token = None
    specification = QuerySpecification(query=text)
    while True:
        page = call("query", hub.host_name, lambda: hub.registry.query_iot_hub(specification, token, _PAGE))  # noqa: B023
        rows += [_row(item) for item in page.items]
        token = page.continuation_token
        if not token or (most is not None and len(rows) >= most):
            return rows if most is None else rows[:most]


def _row(item: Any) -> Json:
    if isinstance(item, Mapping):
        return dict(item)
    twin: Json = item.serialize(keep_readonly=True)
    return {**twin, **(item.additional_properties or {})}


def _configuration(configuration_id: str, content: Json, terms: Terms) -> Configuration:
    return Configuration(
        id=configuration_id,
        schema_version="1.0",
        content=ConfigurationContent(modules_content=content),
        target_condition=terms.target,
        priority=terms.priority,
        labels=dict(terms.labels),
        metrics=ConfigurationMetrics(queries=dict(terms.metrics)),
    )


def _deployed(found: Configuration) -> Deployed:
    if found.content is None or found.id is None:
        raise ServiceError("read the configuration", str(found.id), "the hub's answer has no content")
    return Deployed(
        id=found.id,
        terms=Terms(
            target=found.target_condition or "",
            priority=int(found.priority or 0),
            labels=dict(found.labels or {}),
            metrics=dict((found.metrics.queries if found.metrics else None) or {}),
        ),
        content=found.content.modules_content or {},
        created=found.created_time_utc or _NEVER,
        etag=found.etag or "",
        counts=dict((found.system_metrics.results if found.system_metrics else None) or {}),
    )
