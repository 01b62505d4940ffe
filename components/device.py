"""The edge device: its identity in the hub, and what the machine itself is provisioned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NotRequired, TypedDict

import pulumi
from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone, plain
from components.edge import cloud_init, config_toml, identity_mark, manifest
from components.edge.identity_mark import MANAGED_BY, Mark
from components.edge.merge_patch import merge_patch
from components.services import progress
from components.services.errors import ChangedError, ConflictError, NotFoundError, ServiceError
from components.services.hub import Hub, Identity, new_key
from components.settings import DeviceSettings, Settings

STATUSES = ("enabled", "disabled")


class EdgeDeviceArgs(TypedDict):
    hub_id: Input[str]
    """ARM id of the hub."""
    device_id: str
    tags: NotRequired[dict[str, Any]]
    """Twin tags; `managedBy` is ours."""
    status: NotRequired[str]
    """enabled, disabled"""
    key_generation: NotRequired[int]
    """A higher number than before rotates the keys once: the primary becomes the secondary, a new primary is made."""
    existing: NotRequired[bool]
    """Somebody else made the identity: looked up, never changed, never deleted."""
    runtime_version: NotRequired[str]
    """The release of the IoT Edge runtime that `cloud_init` installs."""


def device_args(settings: Settings, device: DeviceSettings, hub_id: Input[str]) -> EdgeDeviceArgs:
    """From a stack's settings, for one of its devices."""
    return {
        "hub_id": hub_id,
        "device_id": device.id,
        "tags": device.tags,
        "status": device.status,
        "key_generation": device.key_generation,
        "existing": device.existing,
        "runtime_version": settings.deployment.runtime_version,
    }


class EdgeDevice(ComponentResource):
    """An IoT Edge identity with SAS keys, and what a machine needs to become that device."""

    device_id: Output[str]
    status: Output[str]
    connection_string: Output[str]
    """Secret."""
    config_toml: Output[str]
    """For a machine that has the runtime; names the file of the key and holds none."""
    cloud_init: Output[str]
    """Secret, since it holds the key: installs the runtime and applies the configuration."""

    def __init__(self, name: str, args: EdgeDeviceArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("amledge:index:EdgeDevice", name, None, opts)
        generation = args.get("key_generation", 1)
        inputs: DeviceIdentityInputs = {
            "hubId": args["hub_id"],
            "deviceId": args["device_id"],
            "status": args.get("status", "enabled"),
            "tags": args.get("tags", {}),
            "owner": f"{pulumi.get_project()}/{pulumi.get_stack()}",
            "keyGeneration": generation if generation > 1 else None,
        }
        kind = ExistingDevice if args.get("existing") else DeviceIdentity
        identity = kind(f"{name}-identity", inputs, ResourceOptions(parent=self))
        version = args.get("runtime_version", manifest.RUNTIME_VERSION)
        self.device_id = identity.output("deviceId")
        self.status = identity.output("status")
        self.connection_string = identity.output("connectionString")
        self.config_toml = Output.all(identity.output("hostName"), self.device_id).apply(
            lambda known: cloud_init.config_for(known[0], known[1], version)
        )
        self.cloud_init = self.connection_string.apply(lambda text: cloud_init.render(text, version))
        self.register_outputs({"deviceId": self.device_id, "status": self.status})


class DeviceIdentityInputs(TypedDict):
    hubId: Input[str]
    deviceId: str
    status: str
    tags: dict[str, Any]
    owner: str
    """`project/stack`: who may adopt the identity after a run that was killed."""
    keyGeneration: NotRequired[int | None]
    """Left out until the first rotation, as in the state of older versions."""


class DeviceIdentityProvider(Provider):
    """Creates an identity, or adopts one of ours that an interrupted run left; a foreign one is refused."""

    replaces = ("hubId", "deviceId")
    ignores: ClassVar[Sequence[str]] = ("owner",)  # a stack may be renamed
    optional = ("keyGeneration",)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        result = super().check(_olds, news)
        before, now = plain(_olds.get("keyGeneration") or 1), result.inputs.get("keyGeneration") or 1
        same = _olds.get("deviceId") == news.get("deviceId") and _olds.get("hubId") == news.get("hubId")
        if same and before > now:
            rule = f"its keyGeneration cannot go back from {before} to {now}: earlier keys are not kept; "
            # of the device, since Pulumi shows the value of the input, and the first generation has none
            result.failures.append(CheckFailure("deviceId", f"{rule}write {before}, or {before + 1} to rotate"))
        return result

    def create(self, props: dict[str, Any]) -> CreateResult:
        device_id, owner = props["deviceId"], props["owner"]
        hub = Hub(props["hubId"])
        mark = Mark(owner, props.get("keyGeneration") or 1)
        try:
            identity = hub.create_edge_device(device_id, props["status"], str(mark))
        except ConflictError:
            identity = self._adopt(hub, props)
        hub.merge_tags(device_id, {**props["tags"], "managedBy": owner})
        return CreateResult(f"{props['hubId']}/devices/{device_id}", _outputs(props, hub, identity, owner))

    def _adopt(self, hub: Hub, props: dict[str, Any]) -> Identity:
        device_id, owner = props["deviceId"], props["owner"]
        identity = hub.device(device_id)
        mark = identity_mark.read(identity.status_reason)
        ours = mark.is_of(owner) if mark else hub.tags(device_id).get("managedBy") == owner
        if not ours or not identity.iot_edge:
            what = "an IoT Edge device" if identity.iot_edge else "a device without IoT Edge"
            told = f" (its status reason: {identity.status_reason!r})" if identity.status_reason else ""
            raise ServiceError(
                "create the device",
                device_id,
                f"the hub {hub.host_name} has {what} of this id that this stack did not make{told}",
                "Choose another id in aml-edge:devices, set `existing: true` to use it as it is, or delete it if nobody needs it.",
            )
        progress.say(f"device {device_id}", "taking over the identity that an interrupted run made")
        return _bring(hub, identity, props, 1)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            hub = Hub(props["hubId"])
            identity = hub.device(props["deviceId"])
            tags = hub.tags(props["deviceId"])
        except NotFoundError:
            return gone()
        mark = identity_mark.read(identity.status_reason)
        seen: dict[str, Any] = {
            "status": identity.status,
            "tags": {key: value for key, value in tags.items() if key in props["tags"]},
        }
        if mark and mark.generation > 1:
            seen["keyGeneration"] = mark.generation
        return ReadResult(id_, {**_outputs(props, hub, identity, str(tags.get("managedBy") or "")), **seen})

    def drifted(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """Whether somebody took our mark off the twin. Older versions wrote the program's name."""
        return "managedBy" in olds and olds["managedBy"] not in (olds["owner"], MANAGED_BY)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        hub = Hub(_news["hubId"])
        identity = _bring(hub, hub.device(_news["deviceId"]), _news, _olds.get("keyGeneration") or 1)
        patch = {**merge_patch(_olds["tags"], _news["tags"]), "managedBy": _news["owner"]}
        hub.merge_tags(_news["deviceId"], patch)
        return UpdateResult(_outputs(_news, hub, identity, _news["owner"]))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        try:
            Hub(_props["hubId"]).delete_device(_props["deviceId"])
        except NotFoundError:
            return


def _bring(hub: Hub, identity: Identity, props: dict[str, Any], known_generation: int) -> Identity:
    """Status and key generation as wanted, in one request. The hub says which generation it has; where somebody else wrote over the
    mark, `known_generation` counts."""
    mark = identity_mark.read(identity.status_reason)
    has, wanted = mark.generation if mark else known_generation, props.get("keyGeneration") or 1
    if has > wanted:
        raise ServiceError(
            "update the device",
            identity.device_id,
            f"its keys in the hub are of generation {has}, later than the {wanted} of the settings",
            f"Set its keyGeneration in aml-edge:devices to {has}, or to {has + 1} to rotate them again.",
        )
    changes: dict[str, str] = {}
    if wanted > has:
        changes = {"primary_key": new_key(), "secondary_key": identity.primary_key}
    if changes or identity.status != props["status"]:
        changes = {**changes, "status": props["status"], "status_reason": str(Mark(props["owner"], wanted))}
        try:
            identity = hub.replace(identity, **changes)
        except ChangedError:  # or our own first try, whose answer was lost: then there is nothing left to do
            again = hub.device(identity.device_id)
            if (again.status, again.status_reason) != (changes["status"], changes["status_reason"]):
                raise
            identity = again
    if wanted > has:
        progress.say(
            f"device {identity.device_id}", f"keys rotated, generation {wanted}: the key before is the secondary now"
        )
    return identity


class ExistingDeviceProvider(DeviceIdentityProvider):
    """Reads an identity that somebody else made, for its connection string and as the target of a deployment of ours."""

    ignores: ClassVar[Sequence[str]] = ("owner", "status", "tags", "keyGeneration")

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['hubId']}/devices/{props['deviceId']}", self._look_up(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return ReadResult(id_, self._look_up(props))
        except NotFoundError:
            return gone()

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self._look_up(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """It is not ours to delete."""

    def _look_up(self, props: dict[str, Any]) -> dict[str, Any]:
        device_id = props["deviceId"]
        hub = Hub(props["hubId"])
        try:
            identity = hub.device(device_id)
        except NotFoundError as error:
            advice = "Correct the id in aml-edge:devices, or leave `existing` out to make the device."
            raise NotFoundError(
                "find the existing device", device_id, f"{error.answer} ({hub.host_name})", advice
            ) from None
        if not identity.iot_edge:
            advice = "Deployments need an IoT Edge identity: `az iot hub device-identity create --edge-enabled`."
            raise ServiceError("use the existing device", device_id, "it is not an IoT Edge device", advice)
        found = {**_outputs(props, hub, identity, ""), "status": identity.status}
        del found["managedBy"]
        return found


def _outputs(props: dict[str, Any], hub: Hub, identity: Identity, managed_by: str) -> dict[str, Any]:
    return {
        **props,
        "hostName": hub.host_name,
        "connectionString": config_toml.connection_string(hub.host_name, identity.device_id, identity.primary_key),
        "managedBy": managed_by,
    }


class DeviceIdentity(DynamicResource, module="edge", name="DeviceIdentity"):
    """The identity in the hub's registry."""

    computed = ("hostName", "connectionString", "managedBy")
    secret = ("connectionString",)

    def __init__(self, name: str, inputs: DeviceIdentityInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(DeviceIdentityProvider(), name, inputs, opts)


class ExistingDevice(DynamicResource, module="edge", name="ExistingDevice"):
    """An identity in the hub's registry that is not ours."""

    computed = ("hostName", "connectionString")
    secret = ("connectionString",)

    def __init__(self, name: str, inputs: DeviceIdentityInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(ExistingDeviceProvider(), name, inputs, opts)
