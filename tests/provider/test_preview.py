"""What a preview knows: inputs that come back unchanged, and nothing the service decides."""

from __future__ import annotations

from localazure.provider.values import UNKNOWN
from tests.provider.arm_double import ArmDouble
from tests.provider.conftest import Plugin

REGISTRY = "azure-native:containerregistry:Registry"
HUB = "azure-native:iothub:IotHubResource"
GROUP = "azure-native:resources:ResourceGroup"
WORKSPACE = "azure-native:machinelearningservices:Workspace"


def test_a_first_preview_knows_inputs_only(plugin: Plugin, arm: ArmDouble) -> None:
    inputs = {
        "resourceGroupName": "rg",
        "registryName": "registry1",
        "location": "westeurope",
        "sku": {"name": "Basic"},
        "tags": {"a": "b", "c": UNKNOWN},
        "adminUserEnabled": True,
    }
    outputs = plugin.preview(REGISTRY, inputs)
    assert outputs["location"] == "westeurope"
    assert outputs["adminUserEnabled"] is True
    assert outputs["tags"] == {"a": "b", "c": UNKNOWN}
    assert outputs["sku"] == {"name": "Basic", "tier": UNKNOWN}
    for name in ("id", "name", "type", "loginServer", "identity", "systemData", "provisioningState"):
        assert outputs[name] is UNKNOWN, name
    assert "resourceGroupName" not in outputs
    assert "registryName" not in outputs
    assert arm.requests == []


def test_the_groups_name_is_unknown_at_first(plugin: Plugin) -> None:
    outputs = plugin.preview(GROUP, {"resourceGroupName": "rg", "location": "westeurope"})
    assert outputs["name"] is UNKNOWN
    assert outputs["location"] == "westeurope"


def test_what_has_another_shape_as_an_output_is_unknown(plugin: Plugin) -> None:
    identity = {"type": "UserAssigned", "userAssignedIdentities": ["/id"]}
    outputs = plugin.preview(WORKSPACE, {"identity": identity, "associatedWorkspaces": ["a", UNKNOWN]})
    assert outputs["identity"]["type"] == "UserAssigned"
    assert outputs["identity"]["userAssignedIdentities"] is UNKNOWN
    assert outputs["identity"]["principalId"] is UNKNOWN
    assert outputs["associatedWorkspaces"] == ["a", UNKNOWN]
    assert plugin.preview(WORKSPACE, {"sku": "Basic"})["sku"] is UNKNOWN


def test_an_update_preview_keeps_name_and_location_only(plugin: Plugin, arm: ArmDouble) -> None:
    state = {
        "id": "/x",
        "name": "hub1",
        "location": "westeurope",
        "sku": {"name": "S1", "capacity": 1, "tier": "Standard"},
        "properties": {"hostName": "hub1.example"},
        "etag": "e",
    }
    old = {"resourceName": "hub1", "sku": {"name": "S1", "capacity": 1}, "location": "West Europe"}
    new = {**old, "sku": {"name": "S2", "capacity": 1}}
    outputs = plugin.update(HUB, "/x", state, old, new, preview=True)
    assert outputs["name"] == "hub1"
    assert outputs["location"] == "westeurope"
    assert outputs["sku"] == {"name": "S2", "capacity": 1, "tier": UNKNOWN}
    assert outputs["properties"] is UNKNOWN  # so is hostName, until the update has run
    assert outputs["etag"] is UNKNOWN
    assert arm.requests == []
