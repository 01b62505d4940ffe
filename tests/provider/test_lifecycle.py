"""Create, update, delete over gRPC against the recording ARM: the requests sent, what goes into the state, and every way to fail."""

from __future__ import annotations

import threading
from typing import Any, Literal

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]

from tests.provider.arm_double import ArmDouble, Recorded, Scripted
from tests.provider.conftest import Plugin, init_failed
from tests.waiting import until

REGISTRY = "azure-native:containerregistry:Registry"
VAULT = "azure-native:keyvault:Vault"
ACCOUNT = "azure-native:storage:StorageAccount"
GROUP = "azure-native:resources:ResourceGroup"
COMPONENT = "azure-native:applicationinsights:Component"

INPUTS: dict[str, Any] = {
    "resourceGroupName": "rg",
    "registryName": "registry1",
    "location": "westeurope",
    "sku": {"name": "Basic"},
    "adminUserEnabled": True,
    "azureApiVersion": "2023-01-01-preview",
    "__createBeforeDelete": True,
}


def _id(plugin: Plugin, rest: str = "providers/Microsoft.ContainerRegistry/registries/registry1") -> str:
    return f"/subscriptions/{plugin.subscription}/resourceGroups/rg/{rest}"


@pytest.mark.parametrize("style", ["sync", "async", "location"])
def test_create_asks_first_then_puts_then_reads(
    plugin: Plugin, arm: ArmDouble, style: Literal["sync", "async", "location"]
) -> None:
    arm.style = style
    arm.added = {"loginServer": "registry1.example", "unheardOf": 1, "dataEndpointHostNames": [], "encryption": None}

    identity, outputs = plugin.create(REGISTRY, INPUTS)

    assert identity == _id(plugin)
    assert outputs == {
        "id": identity,
        "name": "registry1",
        "type": "Microsoft.Double/things",
        "location": "westeurope",
        "sku": {"name": "Basic"},
        "adminUserEnabled": True,
        "loginServer": "registry1.example",
        "provisioningState": "Succeeded",
        "dataEndpointHostNames": [],
        "azureApiVersion": "2023-01-01-preview",
    }
    resource = [one for one in arm.requests if "/operations/" not in one.path]
    assert [one.method for one in resource][:2] == ["GET", "PUT"]
    assert resource[-1].method == "GET"
    assert arm.sent("PUT") == [
        Recorded(
            "PUT",
            identity,
            {"api-version": "2023-01-01-preview"},
            {"location": "westeurope", "sku": {"name": "Basic"}, "properties": {"adminUserEnabled": True}},
        )
    ]


def test_long_operations_are_waited_for(plugin: Plugin, arm: ArmDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localazure.provider.arm.POLL_SECONDS", 3600)  # but Retry-After: 0 is taken at its word
    arm.style = "async"
    plugin.create(REGISTRY, INPUTS)
    polls = [one for one in arm.requests if "/operations/" in one.path]
    assert len(polls) == 2  # InProgress, Succeeded


def test_create_refuses_what_exists(plugin: Plugin, arm: ArmDouble) -> None:
    plugin.create(REGISTRY, INPUTS)
    arm.requests.clear()
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, {**INPUTS, "registryName": "Registry1"})
    wanted = _id(plugin).replace("registry1", "Registry1")
    assert caught.value.details() == f"cannot create already existing resource '{wanted}'"
    assert caught.value.code() == grpc.StatusCode.UNKNOWN
    assert init_failed(caught.value) is None
    assert [one.method for one in arm.requests] == ["GET"]


def test_an_empty_object_is_not_a_resource(plugin: Plugin, arm: ArmDouble) -> None:
    arm.script("GET", _id(plugin), Scripted(200, {}))
    assert plugin.create(REGISTRY, INPUTS)[0] == _id(plugin)


def test_existence_that_cannot_be_checked_is_an_error(plugin: Plugin, arm: ArmDouble) -> None:
    arm.script("GET", _id(plugin), Scripted(403, {"error": {"code": "AuthorizationFailed", "message": "no"}}))
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, INPUTS)
    assert caught.value.details().startswith(f"cannot check existence of resource '{_id(plugin)}': status code 403, ")
    assert arm.sent("PUT") == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"error": {"code": "InvalidSku", "message": "The sku is wrong."}},
            'Status=400 Code="InvalidSku" Message="The sku is wrong."',
        ),
        (
            {"code": "400001", "httpStatusCode": "BadRequest", "message": "hub"},
            'Status=400 Code="400001" Message="{"code": "400001", "httpStatusCode": "BadRequest", "message": "hub"}"',
        ),
        ({"whatever": 1}, 'Status=400 Message="{"whatever": 1}"'),
    ],
)
def test_a_refused_put_leaves_nothing_in_the_state(
    plugin: Plugin, arm: ArmDouble, body: dict[str, Any], text: str
) -> None:
    arm.script("PUT", _id(plugin), Scripted(400, body))
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, INPUTS)
    assert caught.value.details() == text
    assert init_failed(caught.value) is None


@pytest.mark.parametrize(("style", "status"), [("async", 200), ("location", 409)])
def test_an_accepted_put_that_fails_later_is_in_the_state(
    plugin: Plugin, arm: ArmDouble, style: Literal["async", "location"], status: int
) -> None:
    arm.style, arm.failure = style, {"code": "QuotaExceeded", "message": "Too many."}
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, INPUTS)
    text = f'Status={status} Code="QuotaExceeded" Message="Too many."'
    assert caught.value.details() == text
    detail = init_failed(caught.value)
    assert detail
    assert detail.id == _id(plugin)
    assert list(detail.reasons) == [text]
    assert detail.properties["adminUserEnabled"] is True
    assert "azureApiVersion" not in detail.properties
    assert detail.inputs["registryName"] == "registry1"


def test_what_cannot_be_read_after_it_failed_is_in_the_state_with_its_inputs(plugin: Plugin, arm: ArmDouble) -> None:
    arm.style, arm.failure = "async", {"code": "Broken", "message": "No."}
    gone = Scripted(404, {"error": {"code": "ResourceNotFound", "message": "gone"}})
    arm.script("GET", _id(plugin), gone, gone)
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, INPUTS)
    assert caught.value.details() == (
        'resource created but read failed Status=404 Code="ResourceNotFound" Message="gone": '
        'Status=200 Code="Broken" Message="No."'
    )
    detail = init_failed(caught.value)
    assert detail
    assert not detail.HasField("properties")
    assert detail.inputs["sku"]["name"] == "Basic"


def test_custom_timeouts_end_the_wait(plugin: Plugin, arm: ArmDouble) -> None:
    arm.style, arm.hanging = "async", True
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, INPUTS, timeout=1)
    assert caught.value.details() == "operation timed out"
    assert init_failed(caught.value)


def test_cancel_ends_the_wait(unconfigured: Plugin, arm: ArmDouble) -> None:
    plugin = unconfigured
    plugin.configure()
    arm.style, arm.hanging = "location", True

    def cancel() -> None:
        until(lambda: any("/operations/" in one.path for one in arm.requests))
        plugin.stub.Cancel(empty_pb2.Empty())

    canceling = threading.Thread(target=cancel)
    canceling.start()
    with pytest.raises(grpc.RpcError) as caught:
        plugin.create(REGISTRY, INPUTS)
    canceling.join()
    assert "context canceled" in caught.value.details()
    detail = init_failed(caught.value)
    assert detail
    assert detail.id == _id(plugin)


def test_a_read_that_fails_after_a_write_is_no_failure(plugin: Plugin, arm: ArmDouble) -> None:
    missing = Scripted(404, {"error": {"code": "ResourceNotFound", "message": "not yet"}})
    arm.script("GET", _id(plugin), missing, missing)
    identity, outputs = plugin.create(REGISTRY, INPUTS)
    assert identity == _id(plugin)
    assert outputs["adminUserEnabled"] is True  # of the PUT's answer


def test_update_puts_everything_again(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state = plugin.create(REGISTRY, INPUTS)
    new = {name: value for name, value in INPUTS.items() if name != "adminUserEnabled"} | {"tags": {"a": "b"}}
    outputs = plugin.update(REGISTRY, identity, state, INPUTS, new)
    body = arm.sent("PUT")[-1].body
    assert body == {"location": "westeurope", "sku": {"name": "Basic"}, "tags": {"a": "b"}}
    assert "adminUserEnabled" not in outputs
    assert outputs["tags"] == {"a": "b"}
    assert outputs["azureApiVersion"] == "2023-01-01-preview"


def test_an_update_that_fails_later_keeps_the_resource(plugin: Plugin, arm: ArmDouble) -> None:
    identity, state = plugin.create(REGISTRY, INPUTS)
    arm.style, arm.failure = "async", {"code": "Busy", "message": "later"}
    with pytest.raises(grpc.RpcError) as caught:
        plugin.update(REGISTRY, identity, state, INPUTS, {**INPUTS, "tags": {"a": "b"}})
    detail = init_failed(caught.value)
    assert detail
    assert detail.inputs["tags"]["a"] == "b"


def test_vault_access_policies_are_the_services_own_unless_named(plugin: Plugin, arm: ArmDouble) -> None:
    inputs = {
        "resourceGroupName": "rg",
        "vaultName": "vault1",
        "location": "westeurope",
        "properties": {"tenantId": "t", "sku": {"family": "A", "name": "standard"}},
    }
    identity, state = plugin.create(VAULT, inputs)
    assert arm.sent("PUT")[0].body["properties"]["accessPolicies"] == []

    policies = [{"tenantId": "t", "objectId": "o", "permissions": {"keys": ["get"]}}]
    arm.resources[identity.lower()]["properties"]["accessPolicies"] = policies
    state = plugin.update(VAULT, identity, state, inputs, inputs)
    assert arm.sent("PUT")[-1].body["properties"]["accessPolicies"] == policies

    _, outputs, refreshed = plugin.refresh(VAULT, identity, state, inputs)
    assert outputs["properties"]["accessPolicies"] == policies
    assert refreshed == inputs

    named = {**inputs, "properties": {**inputs["properties"], "accessPolicies": []}}  # type: ignore[dict-item]
    plugin.update(VAULT, identity, state, inputs, named)
    assert arm.sent("PUT")[-1].body["properties"]["accessPolicies"] == []


def test_removed_network_rules_of_an_account_go_back_to_open(plugin: Plugin, arm: ArmDouble) -> None:
    inputs = {
        "resourceGroupName": "rg",
        "accountName": "account1",
        "location": "westeurope",
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"iPAddressOrRange": "1.2.3.4"}]},
    }
    identity, state = plugin.create(ACCOUNT, inputs)
    assert arm.sent("PUT")[0].body["properties"] == {
        "networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}]}
    }
    assert state["networkRuleSet"] == inputs["networkRuleSet"]
    new = {name: value for name, value in inputs.items() if name != "networkRuleSet"}
    plugin.update(ACCOUNT, identity, state, inputs, new)
    assert arm.sent("PUT")[-1].body["properties"]["networkAcls"] == {
        "bypass": "AzureServices",
        "defaultAction": "Allow",
        "ipRules": [],
        "virtualNetworkRules": [],
    }


@pytest.mark.parametrize("style", ["sync", "location"])
def test_delete_waits_and_sends_nothing_but_the_version(
    plugin: Plugin, arm: ArmDouble, style: Literal["sync", "location"]
) -> None:
    identity, _ = plugin.create(REGISTRY, INPUTS)
    arm.style = style
    plugin.delete(REGISTRY, identity)
    assert arm.sent("DELETE") == [Recorded("DELETE", identity, {"api-version": "2023-01-01-preview"}, None)]
    assert arm.resources == {}
    assert arm.requests[-1].path.startswith("/subscriptions/s/operations/" if style == "location" else identity)


@pytest.mark.parametrize("status", [204, 404])
def test_delete_of_what_is_gone_is_success(plugin: Plugin, arm: ArmDouble, status: int) -> None:
    arm.script("DELETE", _id(plugin), Scripted(status))
    plugin.delete(REGISTRY, _id(plugin))
    assert len(arm.sent("DELETE")) == 1


def test_delete_that_loses_its_operation_is_success(plugin: Plugin, arm: ArmDouble) -> None:
    operation = "/subscriptions/s/operations/location/DELETE/x"
    location = f"https://{plugin.provider._cloud.resource_manager.partition('//')[2]}{operation}"  # type: ignore[union-attr]
    arm.script("DELETE", _id(plugin), Scripted(202, headers={"Location": location, "Retry-After": "0"}))
    arm.script("GET", operation, Scripted(404, {"error": {"code": "NotFound", "message": "gone"}}))
    plugin.delete(REGISTRY, _id(plugin))


def test_a_refused_delete_is_an_error(plugin: Plugin, arm: ArmDouble) -> None:
    arm.script("DELETE", _id(plugin), Scripted(409, {"error": {"code": "ScopeLocked", "message": "locked"}}))
    with pytest.raises(grpc.RpcError) as caught:
        plugin.delete(REGISTRY, _id(plugin))
    assert caught.value.details() == 'Status=409 Code="ScopeLocked" Message="locked"'


def test_busy_and_throttled_arm_is_asked_again(plugin: Plugin, arm: ArmDouble) -> None:
    busy = {"error": {"code": "AnotherOperationInProgress", "message": "wait"}}
    arm.script(
        "PUT",
        _id(plugin),
        Scripted(409, busy, {"Retry-After": "0"}),
        Scripted(429, {"error": {"code": "TooManyRequests", "message": "slow"}}, {"Retry-After": "0"}),
        Scripted(503, {}, {"Retry-After": "0"}),
    )
    plugin.create(REGISTRY, INPUTS)
    assert len(arm.sent("PUT")) == 4


def test_names_are_escaped_in_paths_and_scopes_are_not(plugin: Plugin, arm: ArmDouble) -> None:
    scope = f"/subscriptions/{plugin.subscription}/resourceGroups/rg"
    inputs = {
        "scope": scope,
        "roleAssignmentName": "5d5aa6c5-2b1c-4b7e-9b0e-000000000000",
        "principalId": "p",
        "principalType": "ServicePrincipal",
        "roleDefinitionId": "r",
    }
    identity, outputs = plugin.create("azure-native:authorization:RoleAssignment", inputs)
    name = inputs["roleAssignmentName"]
    assert identity == f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
    assert arm.sent("PUT")[0].body == {
        "properties": {"principalId": "p", "principalType": "ServicePrincipal", "roleDefinitionId": "r"}
    }
    assert outputs["principalType"] == "ServicePrincipal"
    plugin.create(GROUP, {"resourceGroupName": "rg (two)", "location": "westeurope"})
    assert arm.sent("PUT")[1].path == f"/subscriptions/{plugin.subscription}/resourcegroups/rg (two)"


def test_component_is_written_and_read_in_its_own_spelling(plugin: Plugin, arm: ArmDouble) -> None:
    arm.added = {"InstrumentationKey": "k", "ConnectionString": "InstrumentationKey=k", "AppId": "a"}
    inputs = {
        "resourceGroupName": "rg",
        "resourceName": "insights1",
        "location": "westeurope",
        "kind": "web",
        "applicationType": "web",
        "workspaceResourceId": "/w",
        "publicNetworkAccessForQuery": "Enabled",
    }
    _, outputs = plugin.create(COMPONENT, inputs)
    assert arm.sent("PUT")[0].body == {
        "kind": "web",
        "location": "westeurope",
        "properties": {
            "Application_Type": "web",
            "WorkspaceResourceId": "/w",
            "publicNetworkAccessForQuery": "Enabled",
        },
    }
    assert outputs["instrumentationKey"] == "k"
    assert outputs["connectionString"] == "InstrumentationKey=k"
    assert outputs["applicationType"] == "web"
