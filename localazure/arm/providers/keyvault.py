"""Microsoft.KeyVault: vaults with their soft delete (Azure REST API, keyvault 2024-11-01;
learn.microsoft.com/azure/key-vault/general/soft-delete-overview). There is no data plane behind."""

from __future__ import annotations

import uuid
from types import MappingProxyType
from typing import Any

from localazure.arm.errors import ArmError
from localazure.arm.model import Call, Context, LongRunning, NameRule, ResourceType, properties
from localazure.arm.resources import Json, Resource, Tombstone

DAY = 24 * 3600.0


class Vault(ResourceType):
    type = "Microsoft.KeyVault/vaults"
    name = NameRule(
        r"(?=.{3,24}$)[a-zA-Z](?:-?[a-zA-Z0-9])*",
        "VaultNameNotValid",
        "The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must begin with a "
        "letter, end with a letter or digit, and not contain consecutive hyphens.",
    )
    api_versions = ("2024-11-01", "2023-07-01", "2022-07-01")
    writable = properties(
        text="tenantId createMode publicNetworkAccess",
        flag="enabledForDeployment enabledForDiskEncryption enabledForTemplateDeployment enableSoftDelete "
        "enableRbacAuthorization enablePurgeProtection",
        number="softDeleteRetentionInDays",
        objects="sku networkAcls",
        lists="accessPolicies",
    )
    required = ("properties.tenantId", "properties.sku.name", "properties.sku.family")
    choices = MappingProxyType(
        {
            "properties.sku.name": ("standard", "premium"),
            "properties.sku.family": ("A",),
            "properties.createMode": ("default", "recover"),
        }
    )
    invalid_code = "BadRequest"
    cloud_wide = True
    # Clients see 200 with RegisteringDns and then watch provisioningState: no polling header.
    create = LongRunning(status=200, state="RegisteringDns")

    def defaults(self, resource: Resource) -> Json:
        return {
            "tags": {},
            "properties": {
                "accessPolicies": [],
                "enabledForDeployment": False,
                "enableSoftDelete": True,
                "softDeleteRetentionInDays": 90,
                "enableRbacAuthorization": False,
                "publicNetworkAccess": "Enabled",
            },
        }

    def derived(self, context: Context, resource: Resource) -> Json:
        return {"properties": {"vaultUri": f"{context.instance.arm_url}/vaults/{resource.name}/"}}

    def taken(self, new: Resource, holder: Resource) -> ArmError:
        return ArmError(
            409,
            "VaultAlreadyExists",
            f"The vault name '{new.name}' is already in use. Vault names are globally unique so it is possible that the name is "
            "already taken.",
        )

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        properties = new.properties
        mode = properties.pop("createMode", "default")
        if old is None and context.resources.tombstones(self.type, name=new.name):
            if context.resources.tombstones(self.type, key=new.key):
                return  # recovered as it was
            raise _deleted()
        if mode == "recover":
            raise ArmError(404, "DeletedVaultNotFound", f"The specified deleted vault '{new.name}' does not exist.")
        _check_shape(context, new)
        before = old.properties if old else {}
        if before.get("enableSoftDelete", old is not None) and properties.get("enableSoftDelete") is False:
            raise ArmError(
                400,
                "BadRequest",
                "The property \"enableSoftDelete\" can be set to false only for creating new vault. Enabling the 'soft delete' "
                "functionality is an irreversible action.",
            )
        if properties.get("enablePurgeProtection") is False:
            raise ArmError(
                400,
                "BadRequest",
                'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an '
                "irreversible action.",
            )
        if before.get("enablePurgeProtection"):
            properties["enablePurgeProtection"] = True  # omitting does not switch it off

    def revive(self, tombstone: Tombstone, new: Resource) -> Json:
        if new.properties.get("createMode") != "recover":
            raise _deleted()
        if new.location != tombstone.resource.location:
            raise ArmError(
                409, "ConflictError", f"The deleted vault '{new.name}' is in location '{tombstone.resource.location}'."
            )
        return tombstone.resource.inputs

    def retention(self, resource: Resource, call: Call | None) -> float | None:
        if not resource.properties.get("enableSoftDelete", True):
            return None
        return resource.properties.get("softDeleteRetentionInDays", 90) * DAY


def _deleted() -> ArmError:
    return ArmError(
        409,
        "ConflictError",
        "A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault. "
        "Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete.",
    )


def _check_shape(context: Context, new: Resource) -> None:
    properties = new.properties

    def refuse(message: str) -> ArmError:
        return ArmError(400, "BadRequest", message)

    try:
        tenant = str(uuid.UUID(properties["tenantId"]))
    except ValueError:
        raise refuse(f"The value '{properties['tenantId']}' of 'tenantId' is not a GUID.") from None
    if tenant != context.instance.tenant_id:
        raise refuse(
            f"Tenant '{tenant}' does not match the tenant of the subscription, '{context.instance.tenant_id}'."
        )
    if not 7 <= properties.get("softDeleteRetentionInDays", 90) <= 90:
        raise refuse('The property "softDeleteRetentionInDays" must be between 7 and 90.')
    policies = properties.get("accessPolicies")
    if policies is None and not properties.get("enableRbacAuthorization"):
        raise refuse("The parameter accessPolicies is not specified.")
    if len(policies or []) > 1024:
        raise refuse("A vault holds at most 1024 access policies.")
    for policy in policies or []:
        missing = [
            key for key in ("tenantId", "objectId", "permissions") if not isinstance(policy, dict) or key not in policy
        ]
        if missing:
            raise refuse(f"An access policy lacks {', '.join(missing)}.")
        permissions = policy["permissions"]
        if not isinstance(permissions, dict) or not all(_is_words(words) for words in permissions.values()):
            raise refuse(
                "The permissions of an access policy are lists of words: keys, secrets, certificates, storage."
            )


def _is_words(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(word, str) for word in value))
