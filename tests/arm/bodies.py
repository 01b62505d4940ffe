"""The smallest bodies that Azure accepts, and the set of resources round an ML workspace."""

from __future__ import annotations

from typing import Any

from tests.arm.cloud import Cloud

STORAGE, VAULT = "Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"
LOGS, COMPONENT = "Microsoft.OperationalInsights/workspaces", "Microsoft.Insights/components"
REGISTRY, HUB = "Microsoft.ContainerRegistry/registries", "Microsoft.Devices/IotHubs"
WORKSPACE, IDENTITY = "Microsoft.MachineLearningServices/workspaces", "Microsoft.ManagedIdentity/userAssignedIdentities"
ASSIGNMENT = "Microsoft.Authorization/roleAssignments"

Body = dict[str, Any]


def storage() -> Body:
    return {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}}


def vault(cloud: Cloud, **properties: Any) -> Body:
    held = {"tenantId": cloud.instance.tenant_id, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []}
    return {"properties": held | properties}


def logs() -> Body:
    return {"properties": {"sku": {"name": "PerGB2018"}}}


def component() -> Body:
    return {"kind": "web", "properties": {"Application_Type": "web"}}


def registry(*, admin: bool = False, sku: str = "Basic") -> Body:
    return {"sku": {"name": sku}, "properties": {"adminUserEnabled": admin}}


def hub(sku: str = "S1") -> Body:
    return {"sku": {"name": sku, "capacity": 1}}


def workspace(cloud: Cloud, **properties: Any) -> Body:
    held = {
        "storageAccount": cloud.id(STORAGE, "mlstorage"),
        "keyVault": cloud.id(VAULT, "mlvault"),
        "applicationInsights": cloud.id(COMPONENT, "mlinsights"),
    }
    return {"identity": {"type": "SystemAssigned"}, "properties": held | properties}


def make_dependencies(cloud: Cloud) -> None:
    """What `workspace` refers to."""
    cloud.make(STORAGE, "mlstorage", storage())
    cloud.make(VAULT, "mlvault", vault(cloud))
    cloud.make(COMPONENT, "mlinsights", component())
