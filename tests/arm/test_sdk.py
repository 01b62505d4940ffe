"""The unmodified azure-mgmt clients against the live listener."""

from __future__ import annotations

import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.containerregistry import ContainerRegistryManagementClient
from azure.mgmt.iothub import IotHubClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient

from tests.arm.cloud import LOCATION, PATIENCE_SECONDS, Cloud
from tests.waiting import until


class Credential:
    """What azure-identity is to these clients: a token for the scope that they ask for."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        audience = scopes[0].removesuffix("/.default")
        return AccessToken(self._cloud.tokens.issue(audience), int(time.time()) + 3600)


@pytest.fixture
def settings(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keyword arguments of every management client."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.instance.ca))
    return {
        "credential": Credential(cloud),
        "subscription_id": cloud.instance.subscription_id,
        "base_url": cloud.instance.arm_url,
        "credential_scopes": ["https://management.azure.com/.default"],
    }


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many seconds the client meant to sleep, each time it did."""
    asked: list[float] = []

    def sleep(_: RequestsTransport, seconds: float) -> None:
        asked.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(RequestsTransport, "sleep", sleep)
    return asked


def test_resource_groups(settings: dict[str, Any]) -> None:
    with ResourceManagementClient(**settings) as client:
        made = client.resource_groups.create_or_update("sdk", {"location": "West Europe", "tags": {"a": "b"}})
        assert (made.name, made.location, made.properties.provisioning_state) == ("sdk", LOCATION, "Succeeded")
        assert client.resource_groups.check_existence("sdk") is True
        assert client.resource_groups.check_existence("nowhere") is False
        assert {group.name for group in client.resource_groups.list()} == {"rg", "sdk"}
        client.resource_groups.begin_delete("sdk").result(PATIENCE_SECONDS)
        with pytest.raises(ResourceNotFoundError) as caught:
            client.resource_groups.get("sdk")
        assert caught.value.error.code == "ResourceGroupNotFound"
        assert client.providers.register("Microsoft.Storage").registration_state == "Registered"


def test_storage(cloud: Cloud, settings: dict[str, Any], paused: list[float]) -> None:
    with StorageManagementClient(**settings) as client:
        with cloud.held():
            creation = client.storage_accounts.begin_create(
                "rg", "account1", {"location": LOCATION, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
            )
            until(lambda: paused)
        made = creation.result(PATIENCE_SECONDS)
        assert max(paused) <= 1  # azure-core's own interval is 30 seconds
        assert made.provisioning_state == "Succeeded"
        assert made.primary_endpoints.blob.startswith("https://127.")
        assert [key.key_name for key in client.storage_accounts.list_keys("rg", "account1").keys] == ["key1", "key2"]
        new = client.storage_accounts.regenerate_key("rg", "account1", {"key_name": "key1"}).keys
        assert new[0].value == client.storage_accounts.list_keys("rg", "account1").keys[0].value
        check = client.storage_accounts.check_name_availability({"name": "account1"})
        assert (check.name_available, check.reason) == (False, "AlreadyExists")
        assert [one.name for one in client.storage_accounts.list()] == ["account1"]
        client.storage_accounts.delete("rg", "account1")
        assert list(client.storage_accounts.list_by_resource_group("rg")) == []


def test_key_vault(cloud: Cloud, settings: dict[str, Any], paused: list[float]) -> None:
    with KeyVaultManagementClient(**settings) as client:
        properties = {
            "tenant_id": cloud.instance.tenant_id,
            "sku": {"family": "A", "name": "standard"},
            "access_policies": [],
        }
        with cloud.held():
            creation = client.vaults.begin_create_or_update(
                "rg", "vault-1", {"location": LOCATION, "properties": properties}
            )
            until(lambda: paused)
        made = creation.result(PATIENCE_SECONDS)
        assert max(paused) <= 1
        assert made.properties.provisioning_state == "Succeeded"
        client.vaults.delete("rg", "vault-1")
        assert [one.name for one in client.vaults.list_deleted()] == ["vault-1"]
        with pytest.raises(ResourceExistsError) as caught:
            client.vaults.begin_create_or_update("rg", "vault-1", {"location": LOCATION, "properties": properties})
        assert caught.value.error.code == "ConflictError"
        client.vaults.begin_purge_deleted("vault-1", LOCATION).result(PATIENCE_SECONDS)
        assert list(client.vaults.list_deleted()) == []


def test_container_registry(settings: dict[str, Any]) -> None:
    with ContainerRegistryManagementClient(**settings) as client:
        made = client.registries.begin_create(
            "rg", "acr12345", {"location": LOCATION, "sku": {"name": "Basic"}}
        ).result(PATIENCE_SECONDS)
        assert made.login_server.startswith("127.")
        with pytest.raises(HttpResponseError) as caught:
            client.registries.list_credentials("rg", "acr12345")
        assert (caught.value.status_code, caught.value.error.code) == (400, "UnAuthorizedForCredentialOperations")
        client.registries.begin_update("rg", "acr12345", {"admin_user_enabled": True}).result(PATIENCE_SECONDS)
        held = client.registries.list_credentials("rg", "acr12345")
        assert (held.username, [one.name for one in held.passwords]) == ("acr12345", ["password", "password2"])
        new = client.registries.regenerate_credential("rg", "acr12345", {"name": "password"})
        assert new.passwords[0].value != held.passwords[0].value
        client.registries.begin_delete("rg", "acr12345").result(PATIENCE_SECONDS)
        assert list(client.registries.list()) == []


def test_iot_hub(settings: dict[str, Any]) -> None:
    with IotHubClient(**settings) as client:
        description = {"location": LOCATION, "sku": {"name": "S1", "capacity": 1}}
        made = client.iot_hub_resource.begin_create_or_update("rg", "hub-1", description).result(PATIENCE_SECONDS)
        assert (made.properties.state, made.properties.host_name) == ("Active", "127.0.0.1:20500")
        key = client.iot_hub_resource.get_keys_for_key_name("rg", "hub-1", "iothubowner")
        assert key.primary_key == "hub-1-1"
        assert {key.key_name for key in client.iot_hub_resource.list_keys("rg", "hub-1")} == {"iothubowner", "service"}
        tagged = client.iot_hub_resource.begin_update("rg", "hub-1", {"tags": {"a": "b"}}).result(PATIENCE_SECONDS)
        assert tagged.tags == {"a": "b"}
        with pytest.raises(HttpResponseError) as caught:
            client.iot_hub_resource.begin_create_or_update(
                "rg", "hub-1", description | {"sku": {"name": "F1", "capacity": 1}}
            )
        assert caught.value.status_code == 400
        client.iot_hub_resource.begin_delete("rg", "hub-1").result(PATIENCE_SECONDS)
        assert list(client.iot_hub_resource.list_by_subscription()) == []


def test_role_assignments(cloud: Cloud, settings: dict[str, Any]) -> None:
    with AuthorizationManagementClient(**settings) as client:
        role = "/providers/Microsoft.Authorization/roleDefinitions/7f951dda-4ed3-4680-a7ca-43fe172d538d"
        name = "5f2d4a3e-1c5b-4c5a-9e3d-2b1a0f9e8d7c"
        made = client.role_assignments.create(
            cloud.group_id(), name, {"role_definition_id": role, "principal_id": cloud.tokens.object_id}
        )
        assert made.id == f"{cloud.group_id()}/providers/Microsoft.Authorization/roleAssignments/{name}"
        assert [one.name for one in client.role_assignments.list_for_scope(cloud.group_id())] == [name]
        assert client.role_assignments.delete(cloud.group_id(), name).name == name
