"""Microsoft.Storage: storage accounts (Azure REST API, storage 2024-01-01). Only the management side: there is no blob service behind."""

from __future__ import annotations

import base64
import secrets
from types import MappingProxyType

from localazure.arm import operations
from localazure.arm.errors import ArmError, invalid_content
from localazure.arm.model import Action, Answer, Call, Context, LongRunning, NameRule, ResourceType, properties
from localazure.arm.providers.storage_sas import account_sas, service_sas
from localazure.arm.resources import Json, Resource

_SERVICES = {
    "Storage": ("blob", "queue", "table", "file"),
    "StorageV2": ("dfs", "web", "blob", "queue", "table", "file"),
    "BlobStorage": ("dfs", "blob", "table"),
    "BlockBlobStorage": ("dfs", "web", "blob"),
    "FileStorage": ("file",),
}


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _endpoints(base: str, resource: Resource) -> Json:
    """A URL a service, and once more for each route that `routingPreference` publishes."""
    services = _SERVICES[resource.inputs["kind"]]
    routing = resource.properties.get("routingPreference", {})
    result: Json = {service: f"{base}/{service}/" for service in services}
    for asked, route, offered in (
        ("publishMicrosoftEndpoints", "microsoftEndpoints", services),
        ("publishInternetEndpoints", "internetEndpoints", [one for one in services if one not in ("queue", "table")]),
    ):
        if routing.get(asked):
            result[route] = {service: f"{base}-{asked[7:-9].lower()}routing/{service}/" for service in offered}
    return result


class StorageAccount(ResourceType):
    type = "Microsoft.Storage/storageAccounts"
    name = NameRule(
        r"[a-z0-9]{3,24}",
        "AccountNameInvalid",
        "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use "
        "numbers and lower-case letters only.",
    )
    api_versions = ("2024-01-01", "2023-05-01", "2023-01-01")
    top = ("location", "tags", "sku", "kind", "identity", "extendedLocation")
    writable = properties(
        text="accessTier allowedCopyScope dnsEndpointType largeFileSharesState minimumTlsVersion publicNetworkAccess",
        flag="allowBlobPublicAccess allowCrossTenantReplication allowSharedKeyAccess defaultToOAuthAuthentication "
        "enableExtendedGroups isHnsEnabled isLocalUserEnabled isNfsV3Enabled isSftpEnabled "
        "supportsHttpsTrafficOnly",
        objects="azureFilesIdentityBasedAuthentication customDomain encryption immutableStorageWithVersioning "
        "keyPolicy networkAcls routingPreference sasPolicy",
    )
    required = ("sku.name", "kind")
    choices = MappingProxyType(
        {
            "sku.name": (
                "Standard_LRS",
                "Standard_GRS",
                "Standard_RAGRS",
                "Standard_ZRS",
                "Premium_LRS",
                "Premium_ZRS",
                "Standard_GZRS",
                "Standard_RAGZRS",
            ),
            "kind": ("Storage", "StorageV2", "BlobStorage", "FileStorage", "BlockBlobStorage"),
            "properties.accessTier": ("Hot", "Cool", "Cold", "Premium"),
            "properties.minimumTlsVersion": ("TLS1_0", "TLS1_1", "TLS1_2", "TLS1_3"),
            "properties.publicNetworkAccess": ("Enabled", "Disabled", "SecuredByPerimeter"),
            "properties.networkAcls.defaultAction": ("Allow", "Deny"),
        }
    )
    immutable = ("properties.isHnsEnabled",)
    cloud_wide = True
    system_data = False
    secrets = MappingProxyType({"key1": _key, "key2": _key})
    create = LongRunning(
        status=202,
        state="Creating",
        result="/subscriptions/{subscription}/providers/Microsoft.Storage/locations/{location}/asyncoperations/{operation}?monitor=true",
        body=False,
    )

    def actions(self) -> dict[str, Action]:
        return {
            "listkeys": self._list_keys,
            "regeneratekey": self._regenerate_key,
            "listaccountsas": account_sas,
            "listservicesas": service_sas,
        }

    def defaults(self, resource: Resource) -> Json:
        properties: Json = {
            "minimumTlsVersion": "TLS1_0",
            "allowBlobPublicAccess": False,
            "allowCrossTenantReplication": False,
            "supportsHttpsTrafficOnly": True,
            "networkAcls": {
                "bypass": "AzureServices",
                "virtualNetworkRules": [],
                "ipRules": [],
                "defaultAction": "Allow",
            },
            "encryption": {"keySource": "Microsoft.Storage"},
            "privateEndpointConnections": [],
        }
        if resource.inputs.get("kind") != "Storage":
            premium = resource.inputs["sku"]["name"].startswith("Premium")
            properties["accessTier"] = "Premium" if premium else "Hot"
        return {"tags": {}, "properties": properties}

    def derived(self, context: Context, resource: Resource) -> Json:
        sku = resource.inputs["sku"]["name"]
        created = resource.state["properties"]["creationTime"]
        service = {"keyType": "Account", "enabled": True, "lastEnabledTime": created}
        base = f"{context.instance.arm_url}/storage/{resource.name}"  # never a name that real Azure would answer to
        properties: Json = {
            "primaryEndpoints": _endpoints(base, resource),
            "primaryLocation": resource.location,
            "statusOfPrimary": "available",
            "encryption": {"services": {"file": service, "blob": service}},
        }
        if "GRS" in sku or "GZRS" in sku:
            properties |= {"secondaryLocation": resource.location, "statusOfSecondary": "available"}
        return {"sku": {"name": sku, "tier": sku.partition("_")[0]}, "properties": properties}

    def born(self, context: Context, resource: Resource) -> None:
        now = operations.now()
        resource.decide(creationTime=now, keyCreationTime={"key1": now, "key2": now})

    def taken(self, new: Resource, holder: Resource) -> ArmError:
        return ArmError(
            409,
            "StorageAccountInAnotherResourceGroup",
            f"The account {new.name} is already in another resource group in this subscription.",
        )

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        sku, kind = new.inputs["sku"]["name"], new.inputs["kind"]
        if kind in ("BlockBlobStorage", "FileStorage") and not sku.startswith("Premium"):
            raise ArmError(
                400,
                "InvalidValuesForRequestParameters",
                f"Values for request parameters are invalid: sku {sku}, kind {kind}.",
            )
        if kind == "BlobStorage" and "accessTier" not in new.properties:
            raise ArmError(
                400, "AccountPropertyRequired", "The account property 'accessTier' is required for kind BlobStorage."
            )
        if "networkAcls" in new.properties and "defaultAction" not in new.properties["networkAcls"]:
            raise invalid_content("Required property 'defaultAction' not found in 'properties.networkAcls'")
        if (
            old
            and kind != old.inputs["kind"]
            and (old.inputs["kind"], kind) not in (("Storage", "StorageV2"), ("BlobStorage", "StorageV2"))
        ):
            raise ArmError(
                409,
                "AccountKindCannotBeChanged",
                f"The kind of storage account {new.name} cannot change from {old.inputs['kind']} to {kind}.",
            )

    async def _list_keys(self, context: Context, resource: Resource, call: Call) -> Answer:
        created = resource.state["properties"]["keyCreationTime"]
        keys = context.resources.secrets(resource)
        shown = [
            {"creationTime": created[name], "keyName": name, "value": keys[name], "permissions": "FULL"}
            for name in ("key1", "key2")
        ]
        return Answer(200, {"keys": shown})

    async def _regenerate_key(self, context: Context, resource: Resource, call: Call) -> Answer:
        name = str((call.body or {}).get("keyName"))
        if name not in self.secrets:
            raise ArmError(400, "InvalidParameter", f"keyName '{name}' is not valid: it must be one of key1, key2.")
        with context.resources.store.transaction():
            context.resources.keep_secrets(resource, {name: _key()})
            resource.state["properties"]["keyCreationTime"][name] = operations.now()
            context.resources.save(resource)
        return await self._list_keys(context, resource, call)
