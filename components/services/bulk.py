"""Many device identities at once, by IoT Hub's bulk registry: 100 in a call.

Source: "Bulk registry" of IoT Hub's REST API and "Import and export IoT Hub device identities in bulk" (import modes). That bulk
entries take tags with a creation, and merge them with `updateTwin`, was read there and not tried on Azure; what did not arrive is seen by a
refresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azure.iot.hub.models import AuthenticationMechanism, DeviceCapabilities, ExportImportDevice, SymmetricKey

from components.services.configurations import query
from components.services.errors import ServiceError
from components.services.hub import Hub, call, new_key

CHUNK = 100
_NAMED = 5
_EXISTS, _MISSING = "DeviceAlreadyExists", "DeviceNotFound"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """A device by a query of twins, which may be some seconds behind."""

    device_id: str
    status: str
    reason: str
    iot_edge: bool
    tags: Mapping[str, Any]


def create(hub: Hub, devices: Mapping[str, Mapping[str, Any]], reason: str, say: Say) -> list[str]:
    """New IoT Edge identities with keys that are made here and kept by the hub alone. Value: {status, tags}.

    Returns the ids that exist already, by an interrupted run or by somebody else. Raises ServiceError for any other refusal.
    """
    entries = (
        ExportImportDevice(
            id=device_id,
            import_mode="create",
            status=device["status"],
            status_reason=reason,
            authentication=AuthenticationMechanism(
                type="sas", symmetric_key=SymmetricKey(primary_key=new_key(), secondary_key=new_key())
            ),
            capabilities=DeviceCapabilities(iot_edge=True),
            tags=dict(device["tags"]),
        )
        for device_id, device in devices.items()
    )
    return _run(hub, "register", entries, len(devices), _EXISTS, say)


def merge_tags(hub: Hub, patches: Mapping[str, Mapping[str, Any]], say: Say) -> None:
    """None removes a tag."""
    entries = (
        ExportImportDevice(id=device_id, import_mode="updateTwin", tags=dict(patch))
        for device_id, patch in patches.items()
    )
    _run(hub, "tag", entries, len(patches), None, say)


def delete(hub: Hub, device_ids: Sequence[str], say: Say) -> None:
    """Absent is fine."""
    entries = (ExportImportDevice(id=device_id, import_mode="delete") for device_id in device_ids)
    _run(hub, "delete", entries, len(device_ids), _MISSING, say)


def find(hub: Hub, device_ids: Iterable[str]) -> Iterator[Seen]:
    """Those of the ids that exist."""
    for chunk in _chunks(list(device_ids)):
        listed = ", ".join("'" + device_id.replace("'", "''") + "'" for device_id in chunk)
        yield from _seen(hub, f"deviceId IN [{listed}]")


def tagged(hub: Hub, tag: str, value: str) -> Iterator[Seen]:
    yield from _seen(hub, f"tags.{tag} = '{value}'")


def _seen(hub: Hub, condition: str) -> Iterator[Seen]:
    for row in query(hub, f"SELECT * FROM devices WHERE {condition}"):  # noqa: S608 - the hub's query language, ids are quoted
        yield Seen(
            device_id=row["deviceId"],
            status=row.get("status") or "enabled",
            reason=row.get("statusReason") or "",
            iot_edge=bool((row.get("capabilities") or {}).get("iotEdge")),
            tags=row.get("tags") or {},
        )


def _run(
    hub: Hub, doing: str, entries: Iterator[ExportImportDevice], count: int, fine: str | None, say: Say
) -> list[str]:
    """The ids that failed with the code that is fine. Each call stands for itself: what was done before an error stays done."""
    excused: list[str] = []
    done = 0
    for chunk in _chunks(list(entries)):
        result = call(f"{doing} devices of", hub.host_name, lambda: hub.registry.bulk_create_or_update_devices(chunk))  # noqa: B023
        errors = list(result.errors or [])
        excused += [error.device_id for error in errors if error.error_code == fine]
        refused = [error for error in errors if error.error_code != fine]
        if refused:
            shown = "".join(
                f"\n    {one.device_id}: {one.error_code} {one.error_status or ''}" for one in refused[:_NAMED]
            )
            more = f"\n    and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
            answer = f"{len(refused)} of {len(chunk)} were refused:{shown}{more}"
            raise ServiceError(f"{doing} devices of", hub.host_name, answer, _AGAIN)
        done += len(chunk)
        say(f"{doing}: {done} of {count}")
    return excused


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


_AGAIN = "Correct them in the list of devices, then run `pulumi up` again: it goes on with those that are missing."
