"""Built-in roles with their documented permissions (learn.microsoft.com/azure/role-based-access-control/built-in-roles).

`*` in a permission stands for any characters; case does not count. Custom role definitions are not part of the local Azure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

DEFINITIONS = "/providers/Microsoft.Authorization/roleDefinitions/"
_ML, _HUB = "Microsoft.MachineLearningServices/workspaces", "Microsoft.Devices/IotHubs"
_READS = ("Microsoft.Resources/subscriptions/resourceGroups/read",)
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices"


@dataclass(frozen=True)
class Role:
    id: str
    name: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return _DESCRIPTIONS[self.name]

    def allows(self, action: str, data: bool) -> bool:
        """Whether it grants a control plane action, or with `data` one of the data plane."""
        if data:
            return _matches(self.data_actions, action)
        return _matches(self.actions, action) and not _matches(self.not_actions, action)


_DESCRIPTIONS = {
    "Owner": "Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.",
    "Contributor": "Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC, manage assignments "
    "in Azure Blueprints, or share image galleries.",
    "Reader": "View all resources, but does not allow you to make any changes.",
    "User Access Administrator": "Lets you manage user access to Azure resources.",
    "Role Based Access Control Administrator": "Manage access to Azure resources by assigning roles using Azure RBAC. This role does not "
    "allow you to manage access using other ways, such as Azure Policy.",
    "AcrPull": "acr pull",
    "AcrPush": "acr push",
    "AcrDelete": "acr delete",
    "IoT Hub Data Contributor": "Allows for full access to IoT Hub data plane operations.",
    "IoT Hub Data Reader": "Allows for full read access to IoT Hub data-plane properties",
    "IoT Hub Registry Contributor": "Allows for full access to IoT Hub device registry.",
    "IoT Hub Twin Contributor": "Allows for read and write access to all IoT Hub device and module twins.",
    "AzureML Data Scientist": "Can perform all actions within an Azure Machine Learning workspace, except for creating or deleting "
    "compute resources and modifying the workspace itself.",
    "Storage Blob Data Contributor": "Allows for read, write and delete access to Azure Storage blob containers and data",
    "Storage Blob Data Reader": "Allows for read access to Azure Storage blob containers and data",
    "Key Vault Administrator": "Perform all data plane operations on a key vault and all objects in it, including certificates, keys, and "
    "secrets. Cannot manage key vault resources or manage role assignments.",
}
ROLES = (
    Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", ("*",)),
    Role(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        ("*",),
        (
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
            "Microsoft.Blueprint/blueprintAssignments/write",
            "Microsoft.Blueprint/blueprintAssignments/delete",
            "Microsoft.Compute/galleries/share/action",
            "Microsoft.Purview/consents/write",
            "Microsoft.Purview/consents/delete",
            "Microsoft.Resources/deploymentStacks/manageDenySetting/action",
            "Microsoft.Subscription/cancel/action",
            "Microsoft.Subscription/enable/action",
        ),
    ),
    Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", ("*/read",)),
    Role(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        ("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"),
    ),
    Role(
        "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        "Role Based Access Control Administrator",
        (
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "*/read",
            "Microsoft.Support/*",
        ),
    ),
    Role("7f951dda-4ed3-4680-a7ca-43fe172d538d", "AcrPull", ("Microsoft.ContainerRegistry/registries/pull/read",)),
    Role(
        "8311e382-0749-4cb8-b61a-304f252e45ec",
        "AcrPush",
        ("Microsoft.ContainerRegistry/registries/pull/read", "Microsoft.ContainerRegistry/registries/push/write"),
    ),
    Role(
        "c2f4ef07-c644-48eb-af81-4b1b4947fb11",
        "AcrDelete",
        ("Microsoft.ContainerRegistry/registries/artifacts/delete",),
    ),
    Role("4fc6c259-987e-4a07-842e-c321cc9d413f", "IoT Hub Data Contributor", data_actions=(f"{_HUB}/*",)),
    Role(
        "b447c946-2db7-41ec-983d-d8bf3b1c77e3",
        "IoT Hub Data Reader",
        data_actions=(f"{_HUB}/*/read", f"{_HUB}/fileUpload/notifications/action"),
    ),
    Role("4ea46cd5-c1b2-4a8e-910b-273211f9ce47", "IoT Hub Registry Contributor", data_actions=(f"{_HUB}/devices/*",)),
    Role("494bdba2-168f-4f31-a0a1-191d2f7c028c", "IoT Hub Twin Contributor", data_actions=(f"{_HUB}/twins/*",)),
    Role(
        "f6c7c914-8db3-469d-8ca1-694a8f32e121",
        "AzureML Data Scientist",
        (f"{_ML}/*/read", f"{_ML}/*/action", f"{_ML}/*/delete", f"{_ML}/*/write"),
        (
            f"{_ML}/delete",
            f"{_ML}/write",
            f"{_ML}/computes/*/write",
            f"{_ML}/computes/*/delete",
            f"{_ML}/computes/listKeys/action",
            f"{_ML}/listKeys/action",
        ),
    ),
    Role(
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "Storage Blob Data Contributor",
        (f"{_BLOBS}/containers/*", f"{_BLOBS}/generateUserDelegationKey/action"),
        data_actions=tuple(
            f"{_BLOBS}/containers/blobs/{action}" for action in ("delete", "read", "write", "move/action", "add/action")
        ),
    ),
    Role(
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "Storage Blob Data Reader",
        (f"{_BLOBS}/containers/read", f"{_BLOBS}/generateUserDelegationKey/action"),
        data_actions=(f"{_BLOBS}/containers/blobs/read",),
    ),
    Role(
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",
        "Key Vault Administrator",
        (
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            *_READS,
            "Microsoft.KeyVault/checkNameAvailability/read",
            "Microsoft.KeyVault/deletedVaults/read",
            "Microsoft.KeyVault/locations/*/read",
            "Microsoft.KeyVault/vaults/*/read",
            "Microsoft.KeyVault/operations/read",
        ),
        data_actions=("Microsoft.KeyVault/vaults/*",),
    ),
)


def find(word: str) -> Role | None:
    """By name or by id (a bare GUID, or the end of a role definition's id), in any case."""
    last = word.rpartition("/")[2].casefold()
    return next((role for role in ROLES if last in (role.id, role.name.casefold())), None)


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(_compiled(pattern).fullmatch(action) for pattern in patterns)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE)
