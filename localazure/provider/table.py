"""What the SDK does not say: paths, replacing properties, wire names, long-running methods, limits. One entry a type.

Everything else (inputs, outputs, required properties, types, defaults, nested types) is read from the installed SDK by `shapes.py`;
the tests hold the two against each other. Sources: swagger of each API version (Azure/azure-rest-api-specs), azure-mgmt models,
`forceNewMap` and `AutoNamer` of pulumi-azure-native.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GROUP = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
REGISTRY = GROUP + "/providers/Microsoft.ContainerRegistry/registries/{registryName}"
ACCOUNT = GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}"
HUB = GROUP + "/providers/Microsoft.Devices/IotHubs/{resourceName}"
DPS = GROUP + "/providers/Microsoft.Devices/provisioningServices/{provisioningServiceName}"
ML_WORKSPACE = GROUP + "/providers/Microsoft.MachineLearningServices/workspaces/{workspaceName}"
LOG_WORKSPACE = GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{workspaceName}"

GROUP_LOCATION_API = "2020-10-01"
"""The version with which the provider asks for a resource group's location."""


@dataclass(frozen=True)
class Limit:
    """Bounds of a text, as the swagger states them. Lengths in characters; `pattern` must be found somewhere in the text."""

    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class ResourceEntry:
    path: str
    api: str
    location_required: bool = False
    create_only: frozenset[str] = frozenset()
    """Body properties whose change replaces the resource. Path parameters always do."""
    long_running: frozenset[str] = frozenset()
    """HTTP methods with `x-ms-long-running-operation`. A PUT that is answered 202 is followed in any case."""
    in_properties: frozenset[str] = frozenset()
    """Flattened types: names that stand at the top elsewhere, but under `properties` here."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """SDK name -> wire name, where they differ."""
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """Of path parameters."""
    maintained: tuple[tuple[str, ...], ...] = ()
    """Lists that are resources of their own too: empty at create, kept as they are by an update that does not name them."""
    restored: Mapping[str, Any] = field(default_factory=dict)
    """What an update sends for a property that the program no longer sets, since ARM takes its absence for "no change"."""


@dataclass(frozen=True)
class InvokeEntry:
    path: str
    api: str
    verb: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    """Argument -> query parameter. Arguments that are neither here nor in the path make the body."""


PUT, BOTH = frozenset({"PUT"}), frozenset({"PUT", "DELETE"})
LOCATION = frozenset({"location"})

_GROUP = Limit(1, 90)
_STRICT_GROUP = Limit(1, 90, r"^[-\w\._\(\)]+$")
_REGISTRY = Limit(5, 50, r"^[a-zA-Z0-9]*$")

RESOURCES: Mapping[str, ResourceEntry] = {
    "azure-native:resources:ResourceGroup": ResourceEntry(
        path="/subscriptions/{subscriptionId}/resourcegroups/{resourceGroupName}",
        api="2024-03-01",
        location_required=True,
        create_only=LOCATION,
        long_running=frozenset({"DELETE"}),
        limits={"resourceGroupName": _STRICT_GROUP},
    ),
    "azure-native:storage:StorageAccount": ResourceEntry(
        path=ACCOUNT,
        api="2024-01-01",
        location_required=True,
        create_only=frozenset({"location", "isHnsEnabled"}),
        long_running=PUT,
        renames={
            "networkRuleSet": "networkAcls",
            "enableHttpsTrafficOnly": "supportsHttpsTrafficOnly",
            "enableNfsV3": "isNfsV3Enabled",
        },
        # Lower case is ARM's own check: 2024-01-01 states no pattern.
        limits={"resourceGroupName": _STRICT_GROUP, "accountName": Limit(3, 24)},
        restored={
            "networkRuleSet": {
                "bypass": "AzureServices",
                "defaultAction": "Allow",
                "ipRules": [],
                "virtualNetworkRules": [],
            }
        },
    ),
    "azure-native:storage:BlobContainer": ResourceEntry(
        path=ACCOUNT + "/blobServices/default/containers/{containerName}",
        api="2024-01-01",
        limits={"resourceGroupName": _STRICT_GROUP, "accountName": Limit(3, 24), "containerName": Limit(3, 63)},
    ),
    "azure-native:keyvault:Vault": ResourceEntry(
        path=GROUP + "/providers/Microsoft.KeyVault/vaults/{vaultName}",
        api="2024-11-01",
        location_required=True,
        long_running=PUT,
        limits={"vaultName": Limit(pattern=r"^[a-zA-Z0-9-]{3,24}$")},
        maintained=(("properties", "accessPolicies"),),
    ),
    "azure-native:operationalinsights:Workspace": ResourceEntry(
        path=LOG_WORKSPACE,
        api="2023-09-01",
        location_required=True,
        create_only=LOCATION,
        long_running=BOTH,
        in_properties=frozenset({"sku"}),
        limits={
            "resourceGroupName": _GROUP,
            "workspaceName": Limit(4, 63, r"^[A-Za-z0-9][A-Za-z0-9-]+[A-Za-z0-9]$"),
        },
    ),
    "azure-native:applicationinsights:Component": ResourceEntry(
        path=GROUP + "/providers/Microsoft.Insights/components/{resourceName}",
        api="2020-02-02",
        location_required=True,
        create_only=frozenset({"location", "applicationType"}),  # x-ms-mutability: create, read
        renames={
            "applicationType": "Application_Type",
            "flowType": "Flow_Type",
            "requestSource": "Request_Source",
            "applicationId": "ApplicationId",
            "appId": "AppId",
            "instrumentationKey": "InstrumentationKey",
            "connectionString": "ConnectionString",
            "creationDate": "CreationDate",
            "tenantId": "TenantId",
            "hockeyAppId": "HockeyAppId",
            "hockeyAppToken": "HockeyAppToken",
            "samplingPercentage": "SamplingPercentage",
            "retentionInDays": "RetentionInDays",
            "disableIpMasking": "DisableIpMasking",
            "immediatePurgeDataOn30Days": "ImmediatePurgeDataOn30Days",
            "workspaceResourceId": "WorkspaceResourceId",
            "laMigrationDate": "LaMigrationDate",
            "privateLinkScopedResources": "PrivateLinkScopedResources",
            "ingestionMode": "IngestionMode",
            "disableLocalAuth": "DisableLocalAuth",
            "forceCustomerStorageForProfiler": "ForceCustomerStorageForProfiler",
        },
        limits={"resourceGroupName": _GROUP},
    ),
    "azure-native:containerregistry:Registry": ResourceEntry(
        path=REGISTRY,
        api="2023-01-01-preview",
        location_required=True,
        create_only=LOCATION,
        long_running=BOTH,
        limits={"resourceGroupName": _GROUP, "registryName": _REGISTRY},
    ),
    "azure-native:containerregistry:ScopeMap": ResourceEntry(
        path=REGISTRY + "/scopeMaps/{scopeMapName}",
        api="2024-11-01-preview",
        long_running=BOTH,
        limits={
            "resourceGroupName": _GROUP,
            "registryName": _REGISTRY,
            "scopeMapName": Limit(5, 50, r"^[a-zA-Z0-9-_]*$"),
        },
    ),
    "azure-native:containerregistry:Token": ResourceEntry(
        path=REGISTRY + "/tokens/{tokenName}",
        api="2024-11-01-preview",
        long_running=BOTH,
        limits={
            "resourceGroupName": _GROUP,
            "registryName": _REGISTRY,
            "tokenName": Limit(5, 50, r"^[a-zA-Z0-9-]*$"),
        },
    ),
    "azure-native:machinelearningservices:Workspace": ResourceEntry(
        # keyVault, storageAccount and location "cannot be changed", but carry no x-ms-mutability: the provider plans an
        # update, and ARM refuses it.
        path=ML_WORKSPACE,
        api="2025-12-01",
        long_running=BOTH,
        limits={"resourceGroupName": _GROUP, "workspaceName": Limit(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$")},
    ),
    "azure-native:iothub:IotHubResource": ResourceEntry(
        path=HUB, api="2023-06-30", location_required=True, create_only=LOCATION, long_running=BOTH
    ),
    "azure-native:iothub:IotHubResourceEventHubConsumerGroup": ResourceEntry(
        path=HUB + "/eventHubEndpoints/{eventHubEndpointName}/ConsumerGroups/{name}", api="2023-06-30"
    ),
    "azure-native:authorization:RoleAssignment": ResourceEntry(
        path="/{scope}/providers/Microsoft.Authorization/roleAssignments/{roleAssignmentName}",
        api="2022-04-01",
        create_only=frozenset({"principalId", "scope"}),
    ),
    "azure-native:managedidentity:UserAssignedIdentity": ResourceEntry(
        path=GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}",
        api="2023-01-31",
        location_required=True,
        create_only=LOCATION,
        limits={"resourceGroupName": _GROUP},
    ),
}

INVOKES: Mapping[str, InvokeEntry] = {
    "azure-native:storage:listStorageAccountKeys": InvokeEntry(
        ACCOUNT + "/listKeys", "2024-01-01", query={"expand": "$expand"}
    ),
    "azure-native:containerregistry:listRegistryCredentials": InvokeEntry(
        REGISTRY + "/listCredentials", "2024-11-01-preview"
    ),
    "azure-native:containerregistry:listRegistryBuildSourceUploadUrl": InvokeEntry(
        REGISTRY + "/listBuildSourceUploadUrl", "2019-06-01-preview"
    ),
    "azure-native:containerregistry:listRunLogSasUrl": InvokeEntry(
        REGISTRY + "/runs/{runId}/listLogSasUrl", "2019-06-01-preview"
    ),
    "azure-native:machinelearningservices:listWorkspaceKeys": InvokeEntry(ML_WORKSPACE + "/listKeys", "2025-12-01"),
    "azure-native:machinelearningservices:listWorkspaceStorageAccountKeys": InvokeEntry(
        ML_WORKSPACE + "/listStorageAccountKeys", "2025-12-01"
    ),
    "azure-native:machinelearningservices:listWorkspaceNotebookAccessToken": InvokeEntry(
        ML_WORKSPACE + "/listNotebookAccessToken", "2025-12-01"
    ),
    "azure-native:iothub:listIotHubResourceKeys": InvokeEntry(HUB + "/listkeys", "2023-06-30"),
    "azure-native:iothub:listIotHubResourceKeysForKeyName": InvokeEntry(
        HUB + "/IotHubKeys/{keyName}/listkeys", "2023-06-30"
    ),
    "azure-native:deviceprovisioningservices:listIotDpsResourceKeys": InvokeEntry(
        DPS + "/listkeys", "2023-03-01-preview"
    ),
    "azure-native:deviceprovisioningservices:listIotDpsResourceKeysForKeyName": InvokeEntry(
        DPS + "/keys/{keyName}/listkeys", "2023-03-01-preview"
    ),
    "azure-native:operationalinsights:getSharedKeys": InvokeEntry(LOG_WORKSPACE + "/sharedKeys", "2023-09-01"),
}

TOP_LEVEL = frozenset(
    {
        *("id", "name", "type", "systemData", "location", "tags", "sku", "kind", "identity"),
        *("extendedLocation", "managedBy", "zones", "etag", "plan"),
    }
)
"""Of a flattened type these stand beside `properties` on the wire, all others inside."""

SUB_PATHS = frozenset({"scope"})
"""Path parameters that hold a path of their own: not escaped, slashes at the ends dropped."""

STRING_SETS = frozenset({"userAssignedIdentities"})
"""Inputs that are a list of texts in the SDK and a map `{text: {}}` on the wire."""

NESTED_RENAMES: Mapping[str, Mapping[str, str]] = {
    "storage:Encryption": {"encryptionIdentity": "identity", "keyVaultProperties": "keyvaultproperties"},
    "storage:EncryptionIdentity": {
        "encryptionUserAssignedIdentity": "userAssignedIdentity",
        "encryptionFederatedIdentityClientId": "federatedIdentityClientId",
    },
    "storage:KeyVaultProperties": {"keyName": "keyname", "keyVersion": "keyversion", "keyVaultUri": "keyvaulturi"},
    "storage:IPRule": {"iPAddressOrRange": "value"},
    "storage:VirtualNetworkRule": {"virtualNetworkResourceId": "id"},
    "containerregistry:IPRule": {"iPAddressOrRange": "value"},
    "applicationinsights:PrivateLinkScopedResource": {"resourceId": "ResourceId", "scopeId": "ScopeId"},
}
"""`module:Type` (without Args or Response) -> SDK name -> wire name."""

NESTED_TOP_LEVEL: Mapping[str, frozenset[str]] = {
    "storage:PrivateEndpointConnection": frozenset({"id", "name", "type"}),
    "storage:ImmutabilityPolicyProperties": frozenset({"etag", "updateHistory"}),
    "keyvault:PrivateEndpointConnectionItem": frozenset({"id", "etag"}),
    "containerregistry:PrivateEndpointConnection": frozenset({"id", "name", "type", "systemData"}),
    "machinelearningservices:PrivateEndpointConnection": TOP_LEVEL,
    "machinelearningservices:SharedPrivateLinkResource": frozenset({"name"}),
}
"""Nested types that are flattened too, and what stands beside their `properties`."""
