"""The configurations of one hub as documents, and the checks before they are stored. `fleet.py` evaluates them."""

from __future__ import annotations

import json
import re
from typing import Any

from localazure.hub import etags, layers
from localazure.hub import twin_rules as rules
from localazure.hub.errors import HubError, invalid
from localazure.hub.layers import Deployment
from localazure.hub.plan import Plan
from localazure.hub.query_parser import parse_query
from localazure.hub.query_tree import QuerySyntaxError
from localazure.hub.tables import now
from localazure.hub.target_condition import ALL, parse_target
from localazure.store import Store, dump

MAX_METRICS = 5
_ID = re.compile(r"[a-z0-9\-+%_*!']{1,128}")
_LABEL = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;']{0,128}")
_CONTENT = ("modulesContent", "deviceContent", "moduleContent")
_SUCCEEDED = "properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code"

Json = dict[str, Any]


class Configurations:
    """Documents as they are on the wire, without results of metrics. Writing methods expect an open transaction."""

    def __init__(self, store: Store, hub: str) -> None:
        self._store = store
        self._hub = hub
        self._parsed: list[Deployment] | None = None

    def all(self, top: int) -> list[Json]:
        rows = self._store.all(
            "SELECT document FROM hub_configurations WHERE hub = ? ORDER BY id LIMIT ?", self._hub, top
        )
        return [json.loads(row["document"]) for row in rows]

    def get(self, name: str) -> Json:
        found = self._find(name)
        if found is None:
            raise HubError("ConfigurationNotFound", f"Configuration {name} not found")
        return found

    def deployments(self) -> list[Deployment]:
        """Those with modulesContent, parsed. Not for use between a write and its commit."""
        if self._parsed is None:
            self._parsed = [_deployment(one) for one in self.all(-1) if "modulesContent" in one["content"]]
        return self._parsed

    def put(self, name: str, body: Json, if_match: str | None, plan: Plan) -> tuple[Json, bool]:
        """(the configuration, whether it is new). Content cannot be changed later."""
        if body.get("id") != name or not _ID.fullmatch(name):
            raise invalid(
                f"the id in the body is not {name!r}, or not 1 to 128 of lower-case letters, digits and -+%_*!'"
            )
        tag, current = etags.wanted(if_match), self._find(name)
        if current is None and tag is not None:
            raise HubError("ConfigurationNotFound", f"Configuration {name} not found")
        content = _content(body)
        if current is None:
            self._check_count(content, plan)
        elif tag is None:
            raise HubError(
                "ConfigurationAlreadyExists", f"Configuration {name} exists; send a quoted If-Match to update it"
            )
        else:
            etags.check(tag, current["etag"])
            if content != current["content"]:
                raise HubError(
                    "CannotModifyImmutableConfigurationContent",
                    f"The content of configuration {name} cannot be changed",
                )
        document = _document(name, body, current)
        self._parsed = None
        self._store.execute(
            "INSERT OR REPLACE INTO hub_configurations VALUES (?, ?, ?)", self._hub, name, dump(document)
        )
        return document, current is None

    def delete(self, name: str, if_match: str | None) -> None:
        etags.require(etags.wanted(if_match), self.get(name)["etag"], f"configuration {name}")
        self._parsed = None
        self._store.execute("DELETE FROM hub_configurations WHERE hub = ? AND id = ?", self._hub, name)

    def _find(self, name: str) -> Json | None:
        row = self._store.one("SELECT document FROM hub_configurations WHERE hub = ? AND id = ?", self._hub, name)
        return json.loads(row["document"]) if row else None

    def _check_count(self, content: Json, plan: Plan) -> None:
        """All count together on a paid hub (100); a free one has separate, smaller numbers."""
        edge = "modulesContent" in content
        most = plan.edge_deployments if edge else plan.device_configurations
        same = [
            document
            for document in self.all(-1)
            if plan.sku != "F1" or ("modulesContent" in document["content"]) == edge
        ]
        if len(same) >= most:
            kind = "deployments" if edge else "configurations"
            raise HubError(
                "ConfigurationCountLimitExceeded",
                f"Number of {kind} exceed the maximum quota {most} for this IotHub.",
            )


def check_target(text: str) -> None:
    """Raises InvalidConfigurationTargetCondition."""
    try:
        parse_target(text)
    except QuerySyntaxError as error:
        raise HubError("InvalidConfigurationTargetCondition", str(error)) from None


def check_metric(query: Any) -> None:
    """Raises InvalidConfigurationCustomMetricsQuery."""
    try:
        if not isinstance(query, str):
            raise QuerySyntaxError("a metric is a query")
        if parse_query(query).source == "devices.jobs":
            raise QuerySyntaxError("a metric counts devices or modules")
    except QuerySyntaxError as error:
        raise HubError("InvalidConfigurationCustomMetricsQuery", str(error)) from None


def _deployment(document: Json) -> Deployment:
    return Deployment(
        id=document["id"],
        priority=document["priority"],
        created=document["createdTimeUtc"],
        modules=document["content"]["modulesContent"],
        matches=_stored_target(document["targetCondition"]),
    )


def _stored_target(text: str) -> Any:
    try:
        return parse_target(text)
    except QuerySyntaxError:  # stored before conditions were checked
        return lambda document: False


def _content(body: Json) -> Json:
    content = body.get("content")
    kinds = [kind for kind in _CONTENT if isinstance(content, dict) and content.get(kind)]
    if not isinstance(content, dict) or len(kinds) != 1:
        raise layers.bad_content(f"there is not exactly one of {', '.join(_CONTENT)}")
    if kinds == ["modulesContent"]:
        for part in layers.deployment_content(content).values():
            rules.check("properties.desired", part.get("properties.desired", {}))
    return {kinds[0]: content[kinds[0]]}


def _document(name: str, body: Json, current: Json | None) -> Json:
    target, priority = body.get("targetCondition") or "", body.get("priority") or 0
    if not isinstance(target, str) or isinstance(priority, bool) or not isinstance(priority, int) or priority < 0:
        raise invalid("targetCondition is not a string, or priority is not an integer of 0 or more")
    check_target(target)
    content = current["content"] if current else _content(body)
    return {
        "id": name,
        "schemaVersion": body.get("schemaVersion") or "1.0",
        "labels": _labels(body.get("labels") or {}),
        "content": content,
        "targetCondition": target,
        "createdTimeUtc": current["createdTimeUtc"] if current else now(),
        "lastUpdatedTimeUtc": now(),
        "priority": priority,
        "etag": etags.new_etag(),
        "systemMetrics": {"results": {}, "queries": _system_queries(name, target)},
        "metrics": {"results": {}, "queries": _custom_queries(body)},
    }


def _labels(labels: Any) -> Json:
    if not isinstance(labels, dict):
        raise invalid("labels is not an object")
    for key, value in labels.items():
        if not key or not isinstance(value, str) or not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
            raise invalid(
                f"label {key[:40]!r}: names and values have at most 128 letters, digits and -:.+%_#*?!(),=@;'"
            )
    return labels


def _custom_queries(body: Json) -> Json:
    metrics = body.get("metrics") or {}
    queries = (metrics.get("queries") or {}) if isinstance(metrics, dict) else None
    if not isinstance(queries, dict):
        raise invalid("metrics.queries is not an object")
    if len(queries) > MAX_METRICS:
        raise HubError("InvalidConfigurationCustomMetricsQuery", f"there are more than {MAX_METRICS} metrics")
    for query in queries.values():
        check_metric(query)
    return queries


def _system_queries(name: str, target: str) -> Json:
    """In the service's words (azure-iot-cli-extension shows them); they run in the hub's query language."""
    applied = f"select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[{name}]].status = 'Applied'"  # noqa: S608
    edge = "select deviceId from devices where capabilities.iotEdge = true"
    condition = {ALL: "", "": " and (false)"}.get(target.strip(), f" and ({target})")
    return {
        "targetedCount": edge + condition,
        "appliedCount": applied,
        "reportedSuccessfulCount": f"{applied} and {_SUCCEEDED} = 200",
        "reportedFailedCount": f"{applied} and {_SUCCEEDED} != 200",
    }
