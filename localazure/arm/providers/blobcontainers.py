"""Microsoft.Storage: blob containers over ARM (Azure REST API, storage 2024-01-01). They are kept as resources; no blobs are behind."""

from __future__ import annotations

from types import MappingProxyType

from localazure.arm import operations
from localazure.arm.errors import ArmError
from localazure.arm.model import Context, NameRule, ResourceType, properties
from localazure.arm.resources import Json, Resource


class BlobContainer(ResourceType):
    type = "Microsoft.Storage/storageAccounts/blobServices/containers"
    name = NameRule(
        r"\$root|\$web|\$logs|(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*",
        "InvalidResourceName",
        "The specified resource name '{name}' contains invalid characters: 3 to 63 lower-case letters, digits and '-', the first a letter "
        "or digit, no two '-' together.",
    )
    api_versions = ("2024-01-01", "2023-05-01")
    fixed = MappingProxyType({"blobServices": "default"})
    top = ()
    writable = properties(
        text="publicAccess defaultEncryptionScope",
        flag="denyEncryptionScopeOverride enableNfsV3AllSquash enableNfsV3RootSquash",
        objects="metadata immutableStorageWithVersioning",
    )
    choices = MappingProxyType({"properties.publicAccess": ("None", "Container", "Blob")})
    system_data = False
    etag = True

    def defaults(self, resource: Resource) -> Json:
        return {
            "properties": {
                "publicAccess": "None",
                "defaultEncryptionScope": "$account-encryption-key",
                "denyEncryptionScopeOverride": False,
            }
        }

    def derived(self, context: Context, resource: Resource) -> Json:
        return {
            "properties": {
                "leaseStatus": "Unlocked",
                "leaseState": "Available",
                "hasImmutabilityPolicy": False,
                "hasLegalHold": False,
                "deleted": False,
                "remainingRetentionDays": 0,
            }
        }

    def present(self, context: Context, resource: Resource) -> Json:
        body = super().present(context, resource)
        body["properties"].pop("provisioningState", None)
        return body

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        account = context.resources.get(new.id.rsplit("/", 4)[0])
        assert account, "the engine knows the parent"
        if new.properties.get("publicAccess", "None") != "None" and not account.properties.get("allowBlobPublicAccess"):
            raise ArmError(409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
        metadata = new.properties.get("metadata", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ArmError(400, "InvalidRequestContent", "The values of 'properties.metadata' must be strings.")
        new.decide(lastModifiedTime=operations.now())
