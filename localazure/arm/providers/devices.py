"""Microsoft.Devices: IoT hubs (Azure REST API, iothub 2023-06-30). The hub room runs the hub behind; its errors have no envelope."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from localazure.arm import hub_policies
from localazure.arm.errors import ArmError, DevicesError
from localazure.arm.model import Action, Answer, Call, Context, LongRunning, NameRule, ResourceType, properties
from localazure.arm.providers.consumergroups import make_default
from localazure.arm.resources import Json, Resource

_OPERATION = (
    "/subscriptions/{subscription}/providers/Microsoft.Devices/operationResults/{operation}?operationSource=os_ih"
)
_FEEDBACK = {"lockDurationAsIso8601": "PT1M", "ttlAsIso8601": "PT1H", "maxDeliveryCount": 10}
_UNITS = {"F1": 1, "S3": 10, "B3": 10}
"""Most units a hub of the SKU has; 200 otherwise (learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling)."""


class IotHub(ResourceType):
    type = "Microsoft.Devices/IotHubs"
    name = NameRule(
        r"(?![0-9]+$)(?!-)[a-zA-Z0-9-]{2,49}[a-zA-Z0-9]",
        "BadRequest",
        "IotHub name '{name}' is not valid: 3 to 50 letters, digits and '-', not only digits, first and last not '-'.",
    )
    api_versions = ("2023-06-30", "2021-07-02", "2020-03-01")
    top = ("location", "tags", "sku", "identity")
    writable = properties(
        text="publicNetworkAccess minTlsVersion comments features",
        flag="disableLocalAuth disableDeviceSAS disableModuleSAS restrictOutboundNetworkAccess "
        "enableFileUploadNotifications enableDataResidency",
        objects="networkRuleSets eventHubEndpoints routing storageEndpoints messagingEndpoints cloudToDevice",
        lists="authorizationPolicies allowedFqdnList ipFilterRules",
    )
    required = ("sku.name", "sku.capacity")
    choices = MappingProxyType(
        {
            "sku.name": ("F1", "S1", "S2", "S3", "B1", "B2", "B3"),
            "properties.features": ("None", "DeviceManagement"),
            "properties.minTlsVersion": ("1.0", "1.2"),
            "properties.publicNetworkAccess": ("Enabled", "Disabled"),
        }
    )
    invalid_code = "BadRequest"
    patchable = ("tags",)
    cloud_wide = True
    etag = True
    create = LongRunning(status=201, state="Accepted", monitor=_OPERATION + "&asyncinfo", running="Running")
    update = LongRunning(status=200, state="Accepted", monitor=_OPERATION + "&asyncinfo", running="Running")
    delete = LongRunning(
        status=202, state="Deleting", monitor=_OPERATION + "&asyncinfo", result=_OPERATION, running="Running"
    )

    def error(self, status: int, code: str, message: str) -> ArmError:
        return DevicesError(status, code, message)

    def actions(self) -> dict[str, Action]:
        return {"listkeys": self._list_keys, "iothubkeys/*/listkeys": self._list_key}

    def defaults(self, resource: Resource) -> Json:
        partitions = 2 if resource.inputs["sku"]["name"] == "F1" else 4
        endpoints: Json = {"serviceBusQueues": [], "serviceBusTopics": [], "eventHubs": [], "storageContainers": []}
        fallback = {
            "name": "$fallback",
            "source": "DeviceMessages",
            "condition": "true",
            "endpointNames": ["events"],
            "isEnabled": True,
        }
        upload = {"sasTtlAsIso8601": "PT1H", "connectionString": "", "containerName": ""}
        return {
            "tags": {},
            "properties": {
                "ipFilterRules": [],
                "eventHubEndpoints": {"events": {"retentionTimeInDays": 1, "partitionCount": partitions}},
                "routing": {"endpoints": endpoints, "routes": [], "fallbackRoute": fallback},
                "storageEndpoints": {"$default": upload},
                "messagingEndpoints": {"fileNotifications": dict(_FEEDBACK)},
                "enableFileUploadNotifications": False,
                "cloudToDevice": {
                    "maxDeliveryCount": 10,
                    "defaultTtlAsIso8601": "PT1H",
                    "feedback": dict(_FEEDBACK),
                },
                "features": "None",
            },
        }

    def derived(self, context: Context, resource: Resource) -> Json:
        sku = resource.inputs["sku"]["name"]
        active = "hostName" in resource.state["properties"]
        tier = {"F": "Free", "S": "Standard", "B": "Basic"}[sku[0]]
        result: Json = {
            "subscriptionid": context.instance.subscription_id,
            "resourcegroup": resource.id.split("/")[4],
            "sku": {"tier": tier},
            "properties": {
                "state": {"Deleting": "Deleting"}.get(
                    resource.provisioning_state, "Active" if active else "Activating"
                ),
                "locations": [{"location": resource.location, "role": "primary"}],
            },
        }
        if active:
            count = self._partitions(resource)
            result["properties"]["eventHubEndpoints"] = {
                "events": {
                    "partitionIds": [str(number) for number in range(count)],
                    "path": resource.name.lower(),
                    "endpoint": f"sb://{context.instance.address}/",
                }
            }
        return result

    def present(self, context: Context, resource: Resource) -> Json:
        body = super().present(context, resource)
        body["properties"].pop("authorizationPolicies", None)
        body["properties"]["routing"] = _masked(body["properties"]["routing"])
        body["properties"]["storageEndpoints"] = _masked(body["properties"]["storageEndpoints"])
        return body

    def taken(self, new: Resource, holder: Resource) -> ArmError:
        return DevicesError(409, "IotHubNameNotAvailable", f"IotHub name '{new.name}' is not available.")

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        sku, units = new.inputs["sku"]["name"], new.inputs["sku"]["capacity"]
        most = _UNITS.get(sku, 200)
        if not isinstance(units, int) or isinstance(units, bool) or not 1 <= units <= most:
            raise self.error(400, "BadRequest", f"The capacity {units} of SKU {sku} is not valid: 1 to {most} units.")
        hub_policies.check(new.properties.get("authorizationPolicies", []), self.error)
        count = self._partitions(new)
        if not 2 <= count <= (2 if sku == "F1" else 32):
            raise self.error(400, "BadRequest", f"The partition count {count} is not valid for SKU {sku}.")
        if old is None:
            others = [one for one in context.resources.below("", self.type) if one.inputs["sku"]["name"] == "F1"]
            if sku == "F1" and others:
                raise self.error(
                    400, "BadRequest", "Max number of Iot Hubs exceeded for sku = Free, Max = 1, Current = 1"
                )
            return
        before = old.inputs["sku"]["name"]
        if (before == "F1") != (sku == "F1") or (before[0], sku[0]) == ("S", "B"):
            raise self.error(400, "BadRequest", f"The SKU of IotHub '{new.name}' cannot change from {before} to {sku}.")
        if count != self._partitions(old):
            raise self.error(400, "BadRequest", f"The partition count of IotHub '{new.name}' cannot be changed.")

    async def provision(self, context: Context, resource: Resource) -> Json:
        sku = resource.inputs["sku"]
        host = await context.hubs.create(resource.name, sku["name"], sku["capacity"])
        make_default(context.resources, resource)
        if "authorizationPolicies" in resource.properties:
            context.hubs.set_policies(resource.name, resource.properties["authorizationPolicies"])
        return {"properties": {"hostName": host}}

    async def deprovision(self, context: Context, resource: Resource) -> None:
        if resource.name.casefold() in (name.casefold() for name in context.hubs.names()):
            await context.hubs.delete(resource.name)

    def _partitions(self, resource: Resource) -> int:
        events = resource.properties.get("eventHubEndpoints", {}).get("events", {})
        return events.get("partitionCount", 2 if resource.inputs["sku"]["name"] == "F1" else 4)

    async def _list_keys(self, context: Context, resource: Resource, call: Call) -> Answer:
        return Answer(200, {"value": context.hubs.keys(resource.name)})

    async def _list_key(self, context: Context, resource: Resource, call: Call) -> Answer:
        wanted = call.target.path.split("/")[-2]
        for key in context.hubs.keys(resource.name):
            if key["keyName"].casefold() == wanted.casefold():
                return Answer(200, key)
        raise self.error(404, "KeyNotFound", f"Key '{wanted}' of IotHub '{resource.name}' does not exist.")


def _masked(value: Any) -> Any:
    """Connection strings come back with their secrets starred, keys of endpoints not at all."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in ("primaryKey", "secondaryKey")}
        return {
            key: ";".join(_star(part) for part in item.split(";"))
            if key == "connectionString" and item
            else _masked(item)
            for key, item in kept.items()
        }
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _star(part: str) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}{equals}****" if name.casefold() in ("accountkey", "sharedaccesskey") else part
