"""Microsoft.ContainerRegistry: registries (Azure REST API, containerregistry 2023-01-01-preview to 2025-04-01). The registry room runs
the real registry behind."""

from __future__ import annotations

from types import MappingProxyType

from localazure.arm import operations
from localazure.arm.errors import ArmError
from localazure.arm.model import Action, Answer, Call, Context, LongRunning, NameRule, ResourceType, properties
from localazure.arm.resources import Json, Resource

_PREMIUM_ONLY = ("networkRuleSet", "encryption")


class Registry(ResourceType):
    type = "Microsoft.ContainerRegistry/registries"
    name = NameRule(
        r"[a-zA-Z0-9]{5,50}",
        "InvalidResourceName",
        "The registry name '{name}' is invalid. Resource names may contain alpha numeric characters only and must be between 5 and 50 "
        "characters.",
    )
    api_versions = ("2025-04-01", "2024-11-01-preview", "2023-07-01", "2023-01-01-preview", "2019-06-01-preview")
    top = ("location", "tags", "sku", "identity")
    writable = properties(
        text="publicNetworkAccess networkRuleBypassOptions zoneRedundancy metadataSearch",
        flag="adminUserEnabled anonymousPullEnabled dataEndpointEnabled",
        objects="networkRuleSet policies encryption",
    )
    required = ("sku.name",)
    choices = MappingProxyType(
        {
            "sku.name": ("Basic", "Standard", "Premium"),
            "properties.publicNetworkAccess": ("Enabled", "Disabled"),
            "properties.networkRuleBypassOptions": ("AzureServices", "None"),
            "properties.zoneRedundancy": ("Enabled", "Disabled"),
        }
    )
    immutable = ("properties.zoneRedundancy",)
    cloud_wide = True
    create = LongRunning(
        status=201,
        state="Creating",
        monitor="/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries/{name}"
        "/operationStatuses/{operation}",
        prefix="registries-",
        running="Creating",
    )
    delete = LongRunning(
        status=202,
        state="Deleting",
        result="/subscriptions/{subscription}/providers/Microsoft.ContainerRegistry/locations/{location}/operationResults/{operation}",
        prefix="registries-",
    )

    def actions(self) -> dict[str, Action]:
        return {"listcredentials": self._list_credentials, "regeneratecredential": self._regenerate_credential}

    def defaults(self, resource: Resource) -> Json:
        properties: Json = {
            "adminUserEnabled": False,
            "policies": {
                "quarantinePolicy": {"status": "disabled"},
                "trustPolicy": {"type": "Notary", "status": "disabled"},
                "retentionPolicy": {
                    "days": 7,
                    "lastUpdatedTime": resource.state["properties"]["creationDate"],
                    "status": "disabled",
                },
                "exportPolicy": {"status": "enabled"},
                "azureADAuthenticationAsArmPolicy": {"status": "enabled"},
                "softDeletePolicy": {
                    "retentionDays": 7,
                    "lastUpdatedTime": resource.state["properties"]["creationDate"],
                    "status": "disabled",
                },
            },
            "encryption": {"status": "disabled"},
            "dataEndpointEnabled": False,
            "publicNetworkAccess": "Enabled",
            "networkRuleBypassOptions": "AzureServices",
            "zoneRedundancy": "Disabled",
            "anonymousPullEnabled": False,
            "metadataSearch": "Disabled",
        }
        if resource.inputs["sku"]["name"] == "Premium":
            properties["networkRuleSet"] = {"defaultAction": "Allow", "ipRules": []}
        return {"tags": {}, "properties": properties}

    def derived(self, context: Context, resource: Resource) -> Json:
        sku = resource.inputs["sku"]["name"]
        read_only: Json = {"dataEndpointHostNames": [], "privateEndpointConnections": []}
        return {"sku": {"name": sku, "tier": sku}, "properties": read_only}

    def born(self, context: Context, resource: Resource) -> None:
        resource.decide(creationDate=operations.now())

    def taken(self, new: Resource, holder: Resource) -> ArmError:
        return ArmError(
            409,
            "AlreadyInUse",
            f"The registry DNS name {new.name.lower()}.azurecr.io is already in use. You can check if the name is already claimed using "
            "following API: https://docs.microsoft.com/en-us/rest/api/containerregistry/registries/checknameavailability",
        )

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        sku = new.inputs["sku"]["name"]
        used = [name for name in _PREMIUM_ONLY if name in new.properties]
        used += [
            name
            for name, off in (
                ("dataEndpointEnabled", False),
                ("publicNetworkAccess", "Enabled"),
            )
            if new.properties.get(name, off) != off
        ]
        if sku != "Premium" and used:
            raise ArmError(
                400,
                "InvalidSku" if sku == "Basic" else "SkuNotSupported",
                f"The registry {new.name} has SKU {sku}; {', '.join(used)} needs the Premium SKU.",
            )

    async def provision(self, context: Context, resource: Resource) -> Json:
        host = resource.state["properties"].get("loginServer") or await context.registries.create(resource.name)
        context.registries.set_admin(resource.name, bool(resource.properties.get("adminUserEnabled")))
        return {"properties": {"loginServer": host}}

    async def deprovision(self, context: Context, resource: Resource) -> None:
        if context.tasks:
            await context.tasks.forget(resource.name)
        await context.registries.delete(resource.name)

    async def _list_credentials(self, context: Context, resource: Resource, call: Call) -> Answer:
        return Answer(200, credentials(context, resource))

    async def _regenerate_credential(self, context: Context, resource: Resource, call: Call) -> Answer:
        which = (call.body or {}).get("name")
        if which not in ("password", "password2"):
            raise ArmError(400, "InvalidParameter", f"The password name '{which}' is not one of password, password2.")
        credentials(context, resource)  # refuses when the admin user is disabled
        await context.registries.regenerate(resource.name, which)
        return Answer(200, credentials(context, resource))


def credentials(context: Context, resource: Resource) -> Json:
    """`{username, passwords: [{name, value}]}`; ArmError 400 when the admin user is disabled."""
    if not resource.properties.get("adminUserEnabled"):
        raise ArmError(
            400,
            "UnAuthorizedForCredentialOperations",
            f"Cannot perform credential operations for {resource.id} as admin user is disabled. Kindly enable admin user as per docs: "
            "https://docs.microsoft.com/en-us/azure/container-registry/container-registry-authentication#admin-account",
        )
    first, second = context.registries.passwords(resource.name)
    passwords = [{"name": "password", "value": first}, {"name": "password2", "value": second}]
    return {"username": resource.name, "passwords": passwords}
