"""Functions: path, verb, version and body of the ARM call, and the shape of the result."""

from __future__ import annotations

import grpc  # type: ignore[import-untyped]
import jwt
import pytest

from localazure.instance import Instance
from tests.provider.arm_double import ArmDouble, Recorded, Scripted
from tests.provider.conftest import Plugin


def _path(plugin: Plugin, rest: str) -> str:
    return f"/subscriptions/{plugin.subscription}/resourceGroups/rg/providers/{rest}"


def test_keys_are_asked_for_with_post(plugin: Plugin, arm: ArmDouble) -> None:
    path = _path(plugin, "Microsoft.ContainerRegistry/registries/registry1/listCredentials")
    arm.script(
        "POST", path, Scripted(200, {"username": "u", "passwords": [{"name": "password", "value": "p"}], "x": 1})
    )
    arguments = {"resourceGroupName": "rg", "registryName": "registry1"}
    result = plugin.invoke("azure-native:containerregistry:listRegistryCredentials", arguments)
    assert result == {"username": "u", "passwords": [{"name": "password", "value": "p"}]}
    assert arm.requests == [Recorded("POST", path, {"api-version": "2024-11-01-preview"}, {})]


@pytest.mark.parametrize(
    ("token", "arguments", "rest", "query"),
    [
        (
            "storage:listStorageAccountKeys",
            {"accountName": "a", "expand": "kerb"},
            "Microsoft.Storage/storageAccounts/a/listKeys",
            {"api-version": "2024-01-01", "$expand": "kerb"},
        ),
        (
            "iothub:listIotHubResourceKeys",
            {"resourceName": "h"},
            "Microsoft.Devices/IotHubs/h/listkeys",
            {"api-version": "2023-06-30"},
        ),
        (
            "iothub:listIotHubResourceKeysForKeyName",
            {"resourceName": "h", "keyName": "service"},
            "Microsoft.Devices/IotHubs/h/IotHubKeys/service/listkeys",
            {"api-version": "2023-06-30"},
        ),
        (
            "machinelearningservices:listWorkspaceKeys",
            {"workspaceName": "w"},
            "Microsoft.MachineLearningServices/workspaces/w/listKeys",
            {"api-version": "2025-12-01"},
        ),
        (
            "operationalinsights:getSharedKeys",
            {"workspaceName": "w"},
            "Microsoft.OperationalInsights/workspaces/w/sharedKeys",
            {"api-version": "2023-09-01"},
        ),
    ],
)
def test_the_request(
    plugin: Plugin, arm: ArmDouble, token: str, arguments: dict[str, str], rest: str, query: dict[str, str]
) -> None:
    path = _path(plugin, rest)
    arm.script("POST", path, Scripted(200, {}))
    assert plugin.invoke(f"azure-native:{token}", {"resourceGroupName": "rg", **arguments}) == {}
    assert arm.requests == [Recorded("POST", path, query, {})]


def test_a_getter_reads_the_resource_in_the_sdks_shape(plugin: Plugin, arm: ArmDouble) -> None:
    path = _path(plugin, "Microsoft.Storage/storageAccounts/a")
    arm.script(
        "GET",
        path,
        Scripted(200, {"id": path, "sku": {"name": "Standard_LRS"}, "properties": {"supportsHttpsTrafficOnly": True}}),
    )
    result = plugin.invoke("azure-native:storage:getStorageAccount", {"resourceGroupName": "rg", "accountName": "a"})
    assert result == {
        "id": path,
        "sku": {"name": "Standard_LRS"},
        "enableHttpsTrafficOnly": True,
        "azureApiVersion": "2024-01-01",
    }
    assert arm.requests[0].query == {"api-version": "2024-01-01"}


def test_a_refusal_names_the_request(plugin: Plugin, arm: ArmDouble) -> None:
    path = _path(plugin, "Microsoft.ContainerRegistry/registries/registry1/listCredentials")
    arm.script("POST", path, Scripted(400, {"error": {"code": "UnAuthorized", "message": "admin user is disabled"}}))
    with pytest.raises(grpc.RpcError) as caught:
        plugin.invoke(
            "azure-native:containerregistry:listRegistryCredentials",
            {"resourceGroupName": "rg", "registryName": "registry1"},
        )
    assert caught.value.details() == (
        f'request failed {path}: Status=400 Code="UnAuthorized" Message="admin user is disabled"'
    )


def test_who_am_i(plugin: Plugin, azure: Instance) -> None:
    config = plugin.invoke("azure-native:authorization:getClientConfig", {})
    token = plugin.invoke("azure-native:authorization:getClientToken", {})["token"]
    claims = jwt.decode(token, azure.signing_key, algorithms=["HS256"], options={"verify_aud": False})
    assert claims["aud"].rstrip("/") == azure.arm_url
    assert config == {
        "clientId": claims["appid"],
        "objectId": claims["oid"],
        "subscriptionId": azure.subscription_id,
        "tenantId": azure.tenant_id,
    }
    other = plugin.invoke("azure-native:authorization:getClientToken", {"endpoint": "https://graph.microsoft.com"})[
        "token"
    ]
    assert jwt.decode(other, options={"verify_signature": False})["aud"].startswith("https://graph.microsoft.com")


def test_an_unknown_function_is_named(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.invoke("azure-native:web:listWebAppSiteBackups", {})
    assert "Invoke type azure-native:web:listWebAppSiteBackups not found" in caught.value.details()
