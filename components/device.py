"""The edge device: its identity in the hub, and what the machine itself is provisioned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NotRequired, TypedDict

import pulumi
from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone, plain
from components.edge import config_toml
from components.services import progress
from components.services.errors import ConflictError, NotFoundError, ServiceError
from components.services.hub import Hub, Identity

MANAGED_BY = "aml-edge"
_REASON_CHARACTERS = 128  # the hub's limit of `statusReason`
STATUSES = ("enabled", "disabled")


class EdgeDeviceArgs(TypedDict):
    hub_id: Input[str]
    """ARM id of the hub."""
    device_id: str
    tags: NotRequired[dict[str, Any]]
    """Twin tags; `managedBy` is ours."""
    status: NotRequired[str]
    existing: NotRequired[bool]
    """Somebody else made the identity: looked up, never changed, never deleted."""


class EdgeDevice(ComponentResource):
    """An IoT Edge identity with SAS keys."""

    device_id: Output[str]
    status: Output[str]
    connection_string: Output[str]
    config_toml: Output[str]

    def __init__(self, name: str, args: EdgeDeviceArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("amledge:index:EdgeDevice", name, None, opts)
        inputs: DeviceIdentityInputs = {
            "hubId": args["hub_id"],
            "deviceId": args["device_id"],
            "status": args.get("status", "enabled"),
            "tags": args.get("tags", {}),
            "owner": f"{pulumi.get_project()}/{pulumi.get_stack()}",
        }
        kind = ExistingDevice if args.get("existing") else DeviceIdentity
        identity = kind(f"{name}-identity", inputs, ResourceOptions(parent=self))
        self.device_id = identity.output("deviceId")
        self.status = identity.output("status")
        self.connection_string = identity.output("connectionString")
        self.config_toml = identity.output("configToml")
        self.register_outputs({"deviceId": self.device_id, "status": self.status})


class DeviceIdentityInputs(TypedDict):
    hubId: Input[str]
    deviceId: str
    status: str
    tags: dict[str, Any]
    owner: str
    """`project/stack`: who may adopt the identity after a run that was killed."""


class DeviceIdentityProvider(Provider):
    """Creates an identity, or adopts the one that an interrupted run of ours left; a foreign one is refused."""

    replaces = ("hubId", "deviceId")
    ignores: ClassVar[Sequence[str]] = ("owner",)  # a stack may be renamed

    def create(self, props: dict[str, Any]) -> CreateResult:
        device_id, tags = props["deviceId"], plain(props["tags"])
        hub = Hub(props["hubId"])
        reason = owner_reason(props["owner"])
        try:
            identity = hub.create_edge_device(device_id, props["status"], reason)
        except ConflictError:
            identity = self._adopt(hub, device_id, props["status"], reason)
        hub.merge_tags(device_id, {**tags, "managedBy": MANAGED_BY})
        return CreateResult(f"{props['hubId']}/devices/{device_id}", _outputs(props, hub, identity))

    def _adopt(self, hub: Hub, device_id: str, status: str, reason: str) -> Identity:
        identity = hub.device(device_id)
        if identity.status_reason != reason or not identity.iot_edge:
            what = "an IoT Edge device" if identity.iot_edge else "a device without IoT Edge"
            told = f" (its status reason: {identity.status_reason!r})" if identity.status_reason else ""
            raise ServiceError(
                "create the device",
                device_id,
                f"the hub {hub.host_name} has {what} of this id that this stack did not make{told}",
                "Choose another id in aml-edge:devices, or delete that device if nobody needs it.",
            )
        progress.say(f"device {device_id}", "taking over the identity that an interrupted run made")
        return identity if identity.status == status else hub.set_status(identity, status)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            hub = Hub(props["hubId"])
            identity = hub.device(props["deviceId"])
            tags = hub.tags(props["deviceId"])
        except NotFoundError:
            return gone()
        ours = {key: value for key, value in tags.items() if key in props["tags"]}
        seen = {"status": identity.status, "tags": ours}
        return ReadResult(id_, {**_outputs(props, hub, identity), **seen})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        device_id, tags = _news["deviceId"], plain(_news["tags"])
        hub = Hub(_news["hubId"])
        identity = hub.device(device_id)
        if identity.status != _news["status"]:
            identity = hub.set_status(identity, _news["status"])
        hub.merge_tags(device_id, {**_merge_patch(plain(_olds["tags"]), tags), "managedBy": MANAGED_BY})
        return UpdateResult(_outputs(_news, hub, identity))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        try:
            Hub(_props["hubId"]).delete_device(_props["deviceId"])
        except NotFoundError:
            return


class ExistingDeviceProvider(DeviceIdentityProvider):
    """Reads an identity that somebody else made, for its connection string and as the target of a deployment of ours."""

    ignores: ClassVar[Sequence[str]] = ("owner", "status", "tags")

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
        return {**_outputs(props, hub, identity), "status": identity.status}


def _merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What a hub must merge into the tags to turn one into the other: None removes, at any depth."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            value = _merge_patch(old, value)
        patch[key] = value
    return patch


def owner_reason(owner: str) -> str:
    """The identity's `statusReason`. It is set together with the identity, in one request, so that a run that is killed right
    after it knows its own device again; and no other stack at the same hub takes it for its own."""
    return f"managed by {MANAGED_BY}, {owner}"[:_REASON_CHARACTERS]


def _outputs(props: dict[str, Any], hub: Hub, identity: Identity) -> dict[str, Any]:
    key = identity.primary_key
    return {
        **props,
        "hostName": hub.host_name,
        "connectionString": config_toml.connection_string(hub.host_name, identity.device_id, key),
        "configToml": config_toml.render(hub.host_name, identity.device_id, key=key),
    }


class DeviceIdentity(DynamicResource, module="edge", name="DeviceIdentity"):
    """The identity in the hub's registry."""

    computed = ("hostName", "connectionString", "configToml")
    secret = ("connectionString", "configToml")

    def __init__(self, name: str, inputs: DeviceIdentityInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(DeviceIdentityProvider(), name, inputs, opts)


class ExistingDevice(DynamicResource, module="edge", name="ExistingDevice"):
    """An identity in the hub's registry that is not ours."""

    computed = ("hostName", "connectionString", "configToml")
    secret = ("connectionString", "configToml")

    def __init__(self, name: str, inputs: DeviceIdentityInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(ExistingDeviceProvider(), name, inputs, opts)
