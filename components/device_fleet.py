"""Many devices as one resource: IoT Edge identities by the hub's bulk operations, with a diff for each device.

The state holds ids, tags and statuses, no key. `python -m components.device_secret HUB_ID DEVICE` fetches one device's connection string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict

import pulumi
from pulumi import Input, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone, plain
from components.edge import identity_mark
from components.edge.identity_mark import FLEET_TAG, Mark
from components.edge.merge_patch import merge_patch
from components.services import bulk, progress
from components.services.bulk import Seen
from components.services.errors import NotFoundError, ServiceError
from components.services.hub import Hub
from components.settings import Settings

_NAMED = 5

Devices = dict[str, dict[str, Any]]
"""id -> {tags, and status where it is not enabled}"""


class DeviceFleetInputs(TypedDict):
    hubId: Input[str]
    name: str
    owner: str
    """`project/stack`"""
    devices: Devices


class DeviceFleetProvider(Provider):
    """Creates, tags, disables and deletes its devices; a device that it did not make is refused before anything is done. Every step can
    be repeated: a run that was killed is continued by the next one."""

    replaces = ("hubId", "name")
    ignores: ClassVar[Sequence[str]] = ("owner",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['hubId']}/deviceFleets/{props['name']}", _reconciled(props, {}))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            found = list(bulk.tagged(Hub(props["hubId"]), FLEET_TAG, _mark(props)))
        except NotFoundError:
            return gone()
        devices = {one.device_id: _slim(_known(one, props["devices"]), one.status) for one in found}
        return ReadResult(id_, {**props, "devices": {name: plain(devices[name]) for name in sorted(devices)}})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_reconciled(_news, _olds["devices"]))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        try:
            hub = Hub(_props["hubId"])
        except NotFoundError:
            return
        bulk.delete(hub, [one.device_id for one in _ours(hub, _props, _props["devices"])], _say(_props))


def _reconciled(props: Mapping[str, Any], before: Devices) -> dict[str, Any]:
    hub, say, wanted = Hub(props["hubId"]), _say(props), props["devices"]
    changed = {name: _full(device, props) for name, device in wanted.items() if before.get(name) != device}
    there = {one.device_id: one for one in bulk.find(hub, changed)}
    _refuse_foreign(hub, [one for one in there.values() if not _is_ours(one, props)])
    missing = {name: device for name, device in changed.items() if name not in there}
    raced = bulk.create(hub, missing, _reason(props), say)
    there.update(
        {name: _looked_at(hub, name) for name in raced}
    )  # the query was behind: an interrupted run has just made them
    _refuse_foreign(hub, [there[name] for name in raced if not _is_ours(there[name], props)])
    patches = {}
    for name, one in there.items():
        tags = _touched(one, before, changed[name])
        if tags != changed[name]["tags"]:
            patches[name] = merge_patch(tags, changed[name]["tags"])
    bulk.merge_tags(hub, patches, say)
    for name, one in there.items():
        if one.status != changed[name]["status"]:
            hub.replace(hub.device(name), status=changed[name]["status"])
            say(f"{name} is {changed[name]['status']}")
    bulk.delete(hub, [one.device_id for one in _ours(hub, props, [name for name in before if name not in wanted])], say)
    return {**props, "count": len(wanted)}


def _ours(hub: Hub, props: Mapping[str, Any], names: Sequence[str] | Mapping[str, Any]) -> list[Seen]:
    return [one for one in bulk.find(hub, names) if _is_ours(one, props)]


def _looked_at(hub: Hub, device_id: str) -> Seen:
    found = hub.device(device_id)
    return Seen(device_id, found.status, found.status_reason, found.iot_edge, hub.tags(device_id))


def _is_ours(one: Seen, props: Mapping[str, Any]) -> bool:
    mark = identity_mark.read(one.reason)
    return mark is not None and mark.is_of(_mark(props)) and one.iot_edge


def _refuse_foreign(hub: Hub, devices: list[Seen]) -> None:
    if devices:
        names = sorted(one.device_id for one in devices)
        shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        raise ServiceError(
            "register the devices",
            f"of {hub.host_name}",
            f"the hub has {len(names)} of these ids already, which this resource did not make: {shown}",
            "Choose other ids, or delete those devices if nobody needs them.",
        )


def _touched(one: Seen, before: Devices, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of the tags in the hub those that are ours to change."""
    ours = {*wanted["tags"], *before.get(one.device_id, {}).get("tags", {})}
    return {key: plain(value) for key, value in one.tags.items() if key in ours}


def _known(one: Seen, devices: Devices) -> dict[str, Any]:
    """Of the tags in the hub those that the state knows; of a device that it does not know all."""
    if one.device_id in devices:
        return {key: value for key, value in one.tags.items() if key in devices[one.device_id].get("tags", {})}
    return {key: value for key, value in one.tags.items() if key not in (FLEET_TAG, "managedBy")}


def _slim(tags: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {"tags": dict(tags), **({"status": status} if status != "enabled" else {})}


def _full(device: Mapping[str, Any], props: Mapping[str, Any]) -> dict[str, Any]:
    marks = {"managedBy": props["owner"], FLEET_TAG: _mark(props)}
    return {"status": device.get("status", "enabled"), "tags": {**device.get("tags", {}), **marks}}


def _mark(props: Mapping[str, Any]) -> str:
    return f"{props['owner']}/{props['name']}"


def _reason(props: Mapping[str, Any]) -> str:
    """Set with the identity in one request, so that an interrupted run knows its own devices again."""
    return str(Mark(_mark(props)))


def _say(props: Mapping[str, Any]) -> Any:
    return lambda line: progress.say(f"devices {props['name']}", line)


class DeviceFleet(DynamicResource, module="edge", name="DeviceFleet"):
    """The identities of a fleet's devices. What they run is a FleetDeployment's."""

    computed = ("count",)

    def __init__(self, name: str, inputs: DeviceFleetInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(DeviceFleetProvider(), name, inputs, opts)


def device_fleet(settings: Settings, hub_id: Input[str], opts: ResourceOptions | None = None) -> DeviceFleet | None:
    """The resource of aml-edge:fleetDevices, where there are any."""
    if not settings.fleet_devices:
        return None
    inputs: DeviceFleetInputs = {
        "hubId": hub_id,
        "name": "devices",
        "owner": f"{pulumi.get_project()}/{pulumi.get_stack()}",
        "devices": {device.id: _slim(device.tags, device.status) for device in settings.fleet_devices},
    }
    return DeviceFleet("fleet-devices", inputs, opts)
