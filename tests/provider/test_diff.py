"""Diff: update or replacement, what counts as a change, and in which order a replacement goes."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from localazure.provider.values import UNKNOWN
from tests.provider.conftest import Plugin

GROUP = "azure-native:resources:ResourceGroup"
ACCOUNT = "azure-native:storage:StorageAccount"
CONTAINER = "azure-native:storage:BlobContainer"
VAULT = "azure-native:keyvault:Vault"
LOGS = "azure-native:operationalinsights:Workspace"
COMPONENT = "azure-native:applicationinsights:Component"
REGISTRY = "azure-native:containerregistry:Registry"
SCOPE_MAP = "azure-native:containerregistry:ScopeMap"
WORKSPACE = "azure-native:machinelearningservices:Workspace"
HUB = "azure-native:iothub:IotHubResource"
GROUP_OF = "azure-native:iothub:IotHubResourceEventHubConsumerGroup"
ROLE = "azure-native:authorization:RoleAssignment"
IDENTITY = "azure-native:managedidentity:UserAssignedIdentity"

SOME = provider_pb2.DiffResponse.DIFF_SOME
NONE = provider_pb2.DiffResponse.DIFF_NONE
Kind = provider_pb2.PropertyDiff


@pytest.mark.parametrize(
    ("token", "name", "replaced"),
    [
        (GROUP, "resourceGroupName", True),
        (GROUP, "location", True),
        (GROUP, "managedBy", False),
        (ACCOUNT, "accountName", True),
        (ACCOUNT, "resourceGroupName", True),
        (ACCOUNT, "location", True),
        (ACCOUNT, "isHnsEnabled", True),
        (ACCOUNT, "kind", False),
        (ACCOUNT, "accessTier", False),
        (CONTAINER, "containerName", True),
        (CONTAINER, "accountName", True),
        (CONTAINER, "publicAccess", False),
        (VAULT, "vaultName", True),
        (VAULT, "location", False),
        (LOGS, "location", True),
        (LOGS, "retentionInDays", False),
        (COMPONENT, "resourceName", True),
        (COMPONENT, "location", True),
        (COMPONENT, "applicationType", True),
        (COMPONENT, "kind", False),
        (REGISTRY, "registryName", True),
        (REGISTRY, "location", True),
        (REGISTRY, "adminUserEnabled", False),
        (REGISTRY, "zoneRedundancy", False),
        (SCOPE_MAP, "registryName", True),
        (SCOPE_MAP, "description", False),
        # "cannot be changed", says Azure, but only ARM refuses it: the provider plans an update.
        (WORKSPACE, "keyVault", False),
        (WORKSPACE, "storageAccount", False),
        (WORKSPACE, "location", False),
        (WORKSPACE, "workspaceName", True),
        (HUB, "resourceName", True),
        (HUB, "location", True),
        (GROUP_OF, "eventHubEndpointName", True),
        (GROUP_OF, "name", True),
        (ROLE, "scope", True),
        (ROLE, "principalId", True),
        (ROLE, "roleDefinitionId", False),
        (ROLE, "roleAssignmentName", True),
        (IDENTITY, "location", True),
        (IDENTITY, "resourceName", True),
    ],
)
def test_replace_or_update(plugin: Plugin, token: str, name: str, replaced: bool) -> None:
    answer = plugin.diff(token, {name: "old"}, {name: "new"})
    assert answer.changes == SOME
    assert list(answer.diffs) == [name]
    assert list(answer.replaces) == ([name] if replaced else [])
    assert answer.hasDetailedDiff
    assert answer.detailedDiff[name].kind == (Kind.UPDATE_REPLACE if replaced else Kind.UPDATE)
    assert answer.detailedDiff[name].inputDiff
    assert answer.deleteBeforeReplace is replaced
    assert list(answer.stables) == []


def test_the_same_inputs_are_no_change(plugin: Plugin) -> None:
    inputs = {"resourceGroupName": "rg", "sku": {"name": "S1", "capacity": 1}, "__createBeforeDelete": True}
    answer = plugin.diff(HUB, inputs, {**inputs, "__createBeforeDelete": False}, {**inputs, "etag": "live"})
    assert answer.changes == NONE
    assert not answer.detailedDiff


def test_a_change_of_the_hubs_sku_is_one_change(plugin: Plugin) -> None:
    old = {"resourceGroupName": "rg", "sku": {"name": "S1", "capacity": 1}}
    answer = plugin.diff(HUB, old, {"resourceGroupName": "rg", "sku": {"name": "S2", "capacity": 1}})
    assert list(answer.diffs) == ["sku"]
    assert dict.fromkeys(answer.detailedDiff) == {"sku.name": None}
    assert answer.detailedDiff["sku.name"].kind == Kind.UPDATE
    assert list(answer.replaces) == []


@pytest.mark.parametrize(("flag", "first"), [(True, False), (False, True), (None, True)])
def test_randomly_named_resources_are_replaced_before_they_are_deleted(
    plugin: Plugin, flag: bool | None, first: bool
) -> None:
    old: dict[str, Any] = {"registryName": "r", "location": "westeurope"}
    if flag is not None:
        old["__createBeforeDelete"] = flag
    answer = plugin.diff(REGISTRY, old, {**old, "location": "eastus"})
    assert list(answer.replaces) == ["location"]
    assert answer.deleteBeforeReplace is first


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("location", "West Europe", "westeurope", False),
        ("location", "westeurope", "eastus", True),
        ("resourceGroupName", "RG", "rg", False),
        ("workspaceResourceId", "/Subscriptions/S", "/subscriptions/s", True),
        ("kind", "Web", "web", True),
    ],
)
def test_spellings(plugin: Plugin, name: str, old: str, new: str, changed: bool) -> None:
    assert plugin.diff(COMPONENT, {name: old}, {name: new}).changes == (SOME if changed else NONE)


def test_unknown_values_are_changes(plugin: Plugin) -> None:
    answer = plugin.diff(REGISTRY, {"location": "westeurope"}, {"location": UNKNOWN})
    assert list(answer.replaces) == ["location"]


def test_lists_are_compared_by_position(plugin: Plugin) -> None:
    old = {"actions": ["a", "b"]}
    answer = plugin.diff(SCOPE_MAP, old, {"actions": ["b", "b", "c"]})
    assert {path: entry.kind for path, entry in answer.detailedDiff.items()} == {
        "actions[0]": Kind.UPDATE,
        "actions[2]": Kind.ADD,
    }
    assert list(answer.diffs) == ["actions"]
    answer = plugin.diff(SCOPE_MAP, old, {"actions": ["a"]})
    assert answer.detailedDiff["actions[1]"].kind == Kind.DELETE


def test_true_is_not_one(plugin: Plugin) -> None:
    assert plugin.diff(REGISTRY, {"tags": {"a": True}}, {"tags": {"a": 1}}).changes == SOME


def test_adding_and_removing(plugin: Plugin) -> None:
    answer = plugin.diff(REGISTRY, {"tags": {"a": "b"}}, {"publicNetworkAccess": "Disabled"})
    assert answer.detailedDiff["tags"].kind == Kind.DELETE
    assert answer.detailedDiff["publicNetworkAccess"].kind == Kind.ADD
    assert sorted(answer.diffs) == ["publicNetworkAccess", "tags"]


def test_adding_a_default_is_shown_but_is_no_change(plugin: Plugin) -> None:
    answer = plugin.diff(REGISTRY, {}, {"zoneRedundancy": "Disabled", "adminUserEnabled": False})
    assert answer.changes == NONE
    assert list(answer.diffs) == []
    assert not answer.detailedDiff["zoneRedundancy"].inputDiff


def test_adding_what_the_resource_has_already_does_not_replace_it(plugin: Plugin) -> None:
    answer = plugin.diff(ACCOUNT, {}, {"location": "eastus"}, {"location": "eastus"})
    assert list(answer.replaces) == []
    assert answer.detailedDiff["location"].kind == Kind.ADD
    answer = plugin.diff(ACCOUNT, {}, {"location": "eastus"}, {"location": "westeurope"})
    assert list(answer.replaces) == ["location"]
    assert answer.detailedDiff["location"].kind == Kind.ADD_REPLACE


def test_the_api_version_of_an_import_comes_from_its_outputs(plugin: Plugin) -> None:
    state = {"azureApiVersion": "2023-01-01-preview"}
    assert plugin.diff(REGISTRY, {}, {"azureApiVersion": "2023-01-01-preview"}, state).changes == NONE
