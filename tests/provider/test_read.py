"""Read: refresh puts into the inputs what changed out of band, and only that; an import finds inputs that make the resource."""

from __future__ import annotations

import copy
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pulumi.runtime.proto import provider_pb2

from tests.provider.arm_double import ArmDouble, Scripted
from tests.provider.conftest import Plugin

REGISTRY = "azure-native:containerregistry:Registry"
WORKSPACE = "azure-native:machinelearningservices:Workspace"
INPUTS: dict[str, Any] = {
    "resourceGroupName": "rg",
    "registryName": "registry1",
    "location": "westeurope",
    "sku": {"name": "Basic"},
    "tags": {"a": "b", "keep": "me"},
    "azureApiVersion": "2023-01-01-preview",
    "__createBeforeDelete": True,
}
SERVICE = {
    "loginServer": "registry1.example",
    "publicNetworkAccess": "Enabled",
    "policies": {"retentionPolicy": {"days": 7, "status": "disabled"}},
}


def _created(plugin: Plugin, arm: ArmDouble) -> tuple[str, dict[str, Any], dict[str, Any]]:
    arm.added = copy.deepcopy(SERVICE)
    identity, state = plugin.create(REGISTRY, INPUTS)
    return identity, state, arm.resources[identity.lower()]


def test_nothing_changed(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state, _ = _created(plugin, arm)
    assert plugin.refresh(REGISTRY, identity, state, INPUTS) == (identity, state, INPUTS)


def test_service_defaults_stay_out_of_the_inputs(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state, _ = _created(plugin, arm)
    _, outputs, inputs = plugin.refresh(REGISTRY, identity, state, INPUTS)
    assert outputs["policies"]["retentionPolicy"]["days"] == 7
    assert "policies" not in inputs


def test_what_changed_outside_reaches_the_inputs(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state, live = _created(plugin, arm)
    live["tags"] = {"a": "changed", "keep": "me", "new": "tag"}
    live["properties"]["publicNetworkAccess"] = "Disabled"
    live["properties"]["policies"]["retentionPolicy"]["days"] = 30
    live["properties"]["loginServer"] = "elsewhere"
    _, outputs, inputs = plugin.refresh(REGISTRY, identity, state, INPUTS)
    assert inputs["tags"] == {"a": "changed", "keep": "me", "new": "tag"}
    assert inputs["publicNetworkAccess"] == "Disabled"
    assert inputs["policies"] == {"retentionPolicy": {"days": 30, "status": "disabled"}}
    assert "loginServer" not in inputs  # an output only
    assert outputs["loginServer"] == "elsewhere"
    diff = plugin.diff(REGISTRY, inputs, INPUTS, outputs)
    assert sorted(diff.diffs) == ["policies", "publicNetworkAccess", "tags"]


def test_what_vanished_outside_leaves_the_inputs(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state, live = _created(plugin, arm)
    del live["tags"]["a"]
    _, _, inputs = plugin.refresh(REGISTRY, identity, state, INPUTS)
    assert inputs["tags"] == {"keep": "me"}


def test_gone_is_an_empty_id(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state, _ = _created(plugin, arm)
    arm.resources.clear()
    assert plugin.refresh(REGISTRY, identity, state, INPUTS) == ("", {}, {})


@pytest.mark.parametrize("status", [400, 401, 403, 409])
def test_anything_else_is_an_error(plugin: Plugin, arm: ArmDouble, status: int) -> None:
    identity, state, _ = _created(plugin, arm)
    arm.script("GET", identity, *[Scripted(status, {"error": {"code": "Refused", "message": "no"}})] * 5)
    with pytest.raises(grpc.RpcError) as caught:
        plugin.refresh(REGISTRY, identity, state, INPUTS)
    assert caught.value.details() == f'Status={status} Code="Refused" Message="no"'


def test_an_import_makes_inputs_of_the_live_resource(plugin: Plugin, arm: ArmDouble) -> None:
    identity, _, live = _created(plugin, arm)
    live["properties"] |= {"dataEndpointHostNames": [], "networkRuleSet": {"ipRules": []}, "adminUserEnabled": False}
    found, outputs, inputs = plugin.bring_in(REGISTRY, identity)
    assert found == identity
    assert outputs["azureApiVersion"] == "2023-01-01-preview"
    assert inputs == {
        "resourceGroupName": "rg",
        "registryName": "registry1",
        "location": "westeurope",
        "sku": {"name": "Basic"},
        "tags": {"a": "b", "keep": "me"},
        "publicNetworkAccess": "Enabled",
        "adminUserEnabled": False,
        "policies": {"retentionPolicy": {"days": 7, "status": "disabled"}},
    }


def test_an_import_takes_ids_in_any_case(plugin: Plugin, arm: ArmDouble) -> None:
    identity, _, _ = _created(plugin, arm)
    shouted = identity.replace("resourceGroups", "RESOURCEGROUPS").replace("registries", "Registries")
    assert plugin.bring_in(REGISTRY, shouted)[2]["registryName"] == "registry1"


def test_string_sets_become_lists(plugin: Plugin, arm: ArmDouble) -> None:
    inputs = {
        "resourceGroupName": "rg",
        "workspaceName": "ws1",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": ["/one", "/two"]},
    }
    identity, _ = plugin.create(WORKSPACE, inputs)
    sent = arm.sent("PUT")[0].body
    assert sent == {"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/one": {}, "/two": {}}}}
    live = arm.resources[identity.lower()]["identity"]
    live["userAssignedIdentities"] = {key: {"clientId": "c", "principalId": "p"} for key in ("/one", "/two")}
    _, outputs, imported = plugin.bring_in(WORKSPACE, identity)
    assert outputs["identity"]["userAssignedIdentities"]["/one"] == {"clientId": "c", "principalId": "p"}
    assert imported["identity"] == inputs["identity"]


def test_a_foreign_id_is_refused(plugin: Plugin, arm: ArmDouble) -> None:
    foreign = f"/subscriptions/{plugin.subscription}/resourceGroups/rg"
    arm.script("GET", foreign, Scripted(200, {"id": foreign}))
    with pytest.raises(grpc.RpcError, match="unable to parse resource ID"):
        plugin.stub.Read(provider_pb2.ReadRequest(urn=plugin.urn(REGISTRY), id=foreign), timeout=300)
