"""Many registry operations in one request (POST /devices, learn.microsoft.com/rest/api/iothub/service/bulk-registry).

An entry is an ExportImportDevice; what it does says `importMode`, by default createOrUpdate ("Import behavior" in
learn.microsoft.com/azure/iot-hub/iot-hub-bulk-identity-mgmt). Entries that fail do not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localazure.hub import etags
from localazure.hub.errors import HubError, invalid
from localazure.hub.hub import Hub
from localazure.hub.identities import Key

MAX_ENTRIES = 100
_MODES = ("create", "update", "createOrUpdate", "delete", "updateTwin")
_IF_MATCH = "IfMatchETag"
_FIELDS = ("status", "statusReason", "authentication", "capabilities", "deviceScope", "parentScopes", "managedBy")

Json = dict[str, Any]
Effect = Callable[[], None]


def run(hub: Hub, entries: Any) -> Json:
    """A BulkRegistryOperationResult: `{isSuccessful, errors, warnings}`. Raises 400 and 413 for what is no list of 1 to 100 entries."""
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise invalid("the body is not a list of devices")
    if len(entries) > MAX_ENTRIES:
        raise HubError("TooManyDevices", f"{len(entries)} devices in one call; at most {MAX_ENTRIES} are allowed")
    errors: list[Json] = []
    effects: list[Effect] = []
    seen: set[Key] = set()
    with hub.store.transaction():
        for entry in entries:
            try:
                effects += _one(hub, entry, seen)
            except HubError as error:
                errors.append(_error(entry, error))
    for effect in effects:
        effect()
    return {"isSuccessful": not errors, "errors": errors, "warnings": []}


def _one(hub: Hub, entry: Json, seen: set[Key]) -> list[Effect]:
    """All of the entry or nothing."""
    key = _key(entry)
    if key in seen:
        raise HubError("DeviceDefinedMultipleTimes", f"{key.path} stands in the request more than once")
    seen.add(key)
    hub.store.execute("SAVEPOINT entry")
    try:
        effects = _operation(hub, key, entry)
    except BaseException:
        hub.store.execute("ROLLBACK TO entry")
        raise
    finally:
        hub.store.execute("RELEASE entry")
    return effects


def _operation(hub: Hub, key: Key, entry: Json) -> list[Effect]:
    mode = entry.get("importMode") or "createOrUpdate"
    action = str(mode).removesuffix(_IF_MATCH)
    if action not in _MODES or mode == f"create{_IF_MATCH}":
        raise invalid(f"importMode {str(mode)[:40]!r} is not known")
    tag = entry.get("twinETag" if action == "updateTwin" else "eTag") if action != mode else None
    if action != mode and not (isinstance(tag, str) and tag):
        raise invalid(f"importMode {mode} needs an entity tag")
    if_match = f'"{str(tag).strip(chr(34))}"' if tag else "*"
    if action == "delete":
        return [hub.remove(key, if_match)]
    if action == "updateTwin":
        return [hub.merge_twin(key, _twin(entry), if_match, replace=False)]
    exists = hub.identities.find(key) is not None
    if action == "create" or (action == "createOrUpdate" and not exists):
        effects = [hub.register(key, _body(key, entry), None)]
    else:
        effects = [hub.register(key, _body(key, entry), if_match)]
    if entry.get("tags") is not None or entry.get("properties") is not None:
        effects.append(hub.merge_twin(key, _twin(entry), _twin_tag(entry), replace=not exists))
    return effects


def _key(entry: Json) -> Key:
    device_id, module_id = entry.get("id"), entry.get("moduleId") or ""
    if not isinstance(device_id, str) or not device_id or not isinstance(module_id, str):
        raise invalid("an entry has no id")
    return Key(device_id, module_id)


def _body(key: Key, entry: Json) -> Json:
    names = {"deviceId": key.device_id, **({"moduleId": key.module_id} if key.module_id else {})}
    return {**names, **{field: entry[field] for field in _FIELDS if entry.get(field) is not None}}


def _twin(entry: Json) -> Json:
    properties = entry.get("properties")
    if isinstance(properties, dict):  # what a device reports is not for others to write
        properties = {"desired": properties.get("desired")}
    return {"tags": entry.get("tags"), "properties": properties}


def _twin_tag(entry: Json) -> str:
    """ "The twin's etag, if specified, is processed independently from the device's etag." """
    tag = entry.get("twinETag")
    return f'"{tag.strip(chr(34))}"' if isinstance(tag, str) and tag not in ("", etags.ANY) else "*"


def _error(entry: Json, error: HubError) -> Json:
    module = {"moduleId": entry["moduleId"]} if entry.get("moduleId") else {}
    operation = str(entry.get("importMode") or "createOrUpdate")[:40]
    return {"deviceId": str(entry.get("id"))[:128], **module, **error.detail(operation)}
