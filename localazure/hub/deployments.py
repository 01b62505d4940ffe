"""Configuration content for one edge device, and the configurations that are stored for many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from localazure.hub import etags
from localazure.hub.errors import HubError, invalid
from localazure.hub.identities import SYSTEM_MODULES, Identities, Key
from localazure.hub.tables import now
from localazure.hub.twins import DesiredChange, Twins
from localazure.store import Store, dump

MAX_CONFIGURATIONS = 100  # of a paid hub (learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling)
_MODULE_NAME = re.compile(r"\$edgeAgent|\$edgeHub|[A-Za-z0-9_-]{1,128}")
_CONFIGURATION_ID = re.compile(r"[a-z0-9\-+%_*!']{1,128}")
_SUCCEEDED = "properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code"

Json = dict[str, Any]


def _bad_content(detail: str) -> HubError:
    """The service says only the first sentence (Azure/azure-iot-sdk-csharp#2419); the detail is ours."""
    return HubError(
        "InvalidConfigurationContent",
        f"The content provided for configuration is invalid. Please check and try again. ({detail})",
    )


def apply(identities: Identities, twins: Twins, device_id: str, content: Any) -> tuple[list[DesiredChange], list[Key]]:
    """Replace what runs on the device: its modules' desired properties, and the identities of the modules themselves.

    `content` is `{"modulesContent": {module: {"properties.desired": {...}}}}`. Returns the changes to push and the modules that are gone.
    Modules that IoT Edge manages and that the content does not name any more are deleted (the integration test of the CLI extension
    expects so). Raises HubError; expects an open transaction.
    """
    device = identities.get(Key(device_id))
    modules = _modules_content(content)
    if not device["capabilities"]["iotEdge"]:
        raise _bad_content(f"{device_id} is not an IoT Edge device")
    present = {module["moduleId"]: module for module in identities.modules(device_id)}
    wanted = {*modules, *_listed_modules(modules)}
    gone = [
        Key(device_id, name)
        for name, module in present.items()
        if name not in wanted and (module["managedBy"] or "").lower() == "iotedge"
    ]
    for key in gone:
        identities.remove(key)
    for name in sorted(wanted - set(present)):
        identities.add_module(Key(device_id, name))
    changes = [
        twins.write(Key(device_id, name), None, part["properties.desired"], replace=True)
        for name, part in modules.items()
    ]
    return [change for change in changes if change], gone


def _modules_content(content: Any) -> dict[str, Json]:
    modules = content.get("modulesContent") if isinstance(content, dict) else None
    if not isinstance(modules, dict) or not modules:
        raise _bad_content("modulesContent is missing or empty")
    for name, part in modules.items():
        if not _MODULE_NAME.fullmatch(name):
            raise _bad_content(f"'{name}' is not a module's name")
        if (
            not isinstance(part, dict)
            or set(part) != {"properties.desired"}
            or not isinstance(part["properties.desired"], dict)
        ):
            raise _bad_content(f"{name} holds something else than one object properties.desired")
    for name in SYSTEM_MODULES:
        if name not in modules:
            raise _bad_content(f"{name} is missing")
    return modules


def _listed_modules(modules: dict[str, Json]) -> Iterator[str]:
    listed = modules["$edgeAgent"]["properties.desired"].get("modules") or {}
    if not isinstance(listed, dict):
        raise _bad_content("$edgeAgent: modules is not an object")
    for name in listed:
        if not _MODULE_NAME.fullmatch(name) or name in SYSTEM_MODULES:
            raise _bad_content(f"'{name}' is not a module's name")
        yield name


class Configurations:
    """Stored and returned; their target conditions are not evaluated."""

    def __init__(self, store: Store, hub: str) -> None:
        self._store = store
        self._hub = hub

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

    def put(self, name: str, body: Json, if_match: str | None) -> tuple[Json, bool]:
        """(the configuration, whether it is new). Content cannot be changed later."""
        if body.get("id") != name or not _CONFIGURATION_ID.fullmatch(name):
            raise invalid(
                f"the id in the body is not {name!r}, or not 1 to 128 of lower-case letters, digits and -+%_*!'"
            )
        tag, current = etags.wanted(if_match), self._find(name)
        if current is None and tag is not None:
            raise HubError("ConfigurationNotFound", f"Configuration {name} not found")
        if current is not None:
            if tag is None:
                raise HubError(
                    "ConfigurationAlreadyExists", f"Configuration {name} exists; send a quoted If-Match to update it"
                )
            etags.check(tag, current["etag"])
            if "content" in body and body["content"] != current["content"]:
                raise HubError(
                    "CannotModifyImmutableConfigurationContent",
                    f"The content of configuration {name} cannot be changed",
                )
        elif len(self.all(-1)) >= MAX_CONFIGURATIONS:
            raise HubError(
                "ConfigurationCountLimitExceeded",
                f"The hub has {MAX_CONFIGURATIONS} configurations, the most there can be",
            )
        document = _document(name, body, current)
        self._store.execute(
            "INSERT OR REPLACE INTO hub_configurations VALUES (?, ?, ?)", self._hub, name, dump(document)
        )
        return document, current is None

    def delete(self, name: str, if_match: str | None) -> None:
        etags.require(etags.wanted(if_match), self.get(name)["etag"], f"configuration {name}")
        self._store.execute("DELETE FROM hub_configurations WHERE hub = ? AND id = ?", self._hub, name)

    def _find(self, name: str) -> Json | None:
        row = self._store.one("SELECT document FROM hub_configurations WHERE hub = ? AND id = ?", self._hub, name)
        return json.loads(row["document"]) if row else None


def _document(name: str, body: Json, current: Json | None) -> Json:
    content = current["content"] if current else body.get("content")
    if not isinstance(content, dict) or not set(content) & {"modulesContent", "deviceContent", "moduleContent"}:
        raise _bad_content("neither modulesContent nor deviceContent nor moduleContent")
    target, priority = body.get("targetCondition") or "", body.get("priority") or 0
    if not isinstance(target, str) or not isinstance(priority, int) or priority < 0:
        raise invalid("targetCondition is not a string, or priority is not an integer of 0 or more")
    # Texts for the reader, not run here.
    applied = f"select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[{name}]].status = 'Applied'"  # noqa: S608
    return {
        "id": name,
        "schemaVersion": body.get("schemaVersion") or "1.0",
        "labels": body.get("labels") or {},
        "content": content,
        "targetCondition": target,
        "createdTimeUtc": current["createdTimeUtc"] if current else now(),
        "lastUpdatedTimeUtc": now(),
        "priority": priority,
        "etag": etags.new_etag(),
        "systemMetrics": {
            "results": {},
            "queries": {
                "targetedCount": f"select deviceId from devices where capabilities.iotEdge = true and ({target})",  # noqa: S608
                "appliedCount": applied,
                "reportedSuccessfulCount": f"{applied} and {_SUCCEEDED} = 200",
                "reportedFailedCount": f"{applied} and {_SUCCEEDED} != 200",
            },
        },
        "metrics": {"results": {}, "queries": ((body.get("metrics") or {}).get("queries")) or {}},
    }
