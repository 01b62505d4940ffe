"""ARM with the real registry and hub services behind it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.mgmt.iothub import IotHubClient
from msrest.exceptions import HttpOperationError

from localazure.arm.model import Hubs, Registries
from localazure.hub import HubService
from localazure.hub.policies import new_key
from localazure.registry import RegistryService
from localazure.store import Store
from tests.arm.bodies import HUB, REGISTRY, hub, registry
from tests.arm.cloud import LOCATION, PATIENCE_SECONDS, Cloud
from tests.arm.test_sdk import Credential


class RealCloud(Cloud):
    async def start_backends(self, store: Store) -> tuple[Registries, Hubs]:
        self.real_registries = RegistryService(self.instance, store)
        self.real_hubs = HubService(self.instance, store)
        await self.real_registries.start()
        await self.real_hubs.start()
        return self.real_registries, self.real_hubs

    async def stop_backends(self) -> None:
        await self.real_hubs.stop()
        await self.real_registries.stop()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealCloud]:
    running = RealCloud(tmp_path / "azure")
    running.start()
    try:
        running.make_group()
        yield running
    finally:
        running.stop()
        running.http.close()


def test_admin_user_opens_and_closes_the_real_registry(real: RealCloud) -> None:
    made = real.make(REGISTRY, "Acr12345", registry(admin=True))
    target, host = made["id"], made["properties"]["loginServer"]
    assert host.startswith(f"{real.instance.address}:207")
    trust = ssl.create_default_context(cafile=str(real.instance.ca))

    def login(password: str) -> int:
        return httpx.get(
            f"https://{host}/v2/", auth=("Acr12345", password), verify=trust, timeout=PATIENCE_SECONDS
        ).status_code

    held = [one["value"] for one in real.post(f"{target}/listCredentials").json()["passwords"]]
    assert [login(one) for one in held] == [200, 200]
    new = real.post(f"{target}/regenerateCredential", {"name": "password"}).json()["passwords"][0]["value"]
    assert [login(held[0]), login(new), login(held[1])] == [401, 200, 200]
    real.patch(target, {"properties": {"adminUserEnabled": False}})
    assert login(new) == 401
    real.finish(real.delete(target))
    with pytest.raises(httpx.ConnectError):
        login(new)


def test_keys_of_a_hub_are_renewed_as_azure_cli_does(real: RealCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(real.instance.ca))
    host = real.make(HUB, "hub-1", hub())["properties"]["hostName"]
    login = {"credential": Credential(real), "subscription_id": real.instance.subscription_id}

    def devices(key: str) -> int:
        text = f"HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={key}"
        try:
            IoTHubRegistryManager.from_connection_string(text).get_devices()
        except HttpOperationError as error:
            return int(error.response.status_code)
        return 200

    scopes = ["https://management.azure.com/.default"]
    with IotHubClient(**login, base_url=real.instance.arm_url, credential_scopes=scopes) as client:
        description = client.iot_hub_resource.get("rg", "hub-1")
        assert description.properties.authorization_policies is None
        before = list(client.iot_hub_resource.list_keys("rg", "hub-1"))
        description.properties.authorization_policies = [key for key in before if key.key_name != "registryRead"]
        (owner,) = [key for key in before if key.key_name == "iothubowner"]
        old, owner.primary_key = owner.primary_key, new_key()
        assert devices(old) == 200
        client.iot_hub_resource.begin_create_or_update("rg", "hub-1", description, if_match=description.etag).result(
            PATIENCE_SECONDS
        )
        after = {key.key_name: key for key in client.iot_hub_resource.list_keys("rg", "hub-1")}
        assert set(after) == {"iothubowner", "service", "device", "registryReadWrite"}
        assert (after["iothubowner"].primary_key, after["iothubowner"].secondary_key) == (
            owner.primary_key,
            owner.secondary_key,
        )
        assert [devices(old), devices(owner.primary_key), devices(str(owner.secondary_key))] == [401, 200, 200]
        shown = real.get(real.id(HUB, "hub-1")).text
        assert not [key for key in (owner.primary_key, owner.secondary_key, "authorizationPolicies") if key in shown]
    body = {"location": LOCATION} | hub()
    for policy in (
        {"keyName": "x y", "rights": "ServiceConnect"},
        {"keyName": "x", "rights": "Everything"},
        {"keyName": "x", "rights": "ServiceConnect", "primaryKey": "short"},
        {"keyName": "x"},
        "x",
    ):
        refused = real.put(real.id(HUB, "hub-1"), body | {"properties": {"authorizationPolicies": [policy]}})
        assert (refused.status_code, refused.json()["code"]) == (400, "BadRequest"), policy
    real.finish(real.put(real.id(HUB, "hub-1"), body))  # without policies: they stay
    assert devices(str(owner.primary_key)) == 200


def test_hub_comes_with_its_keys_and_goes(real: RealCloud) -> None:
    made = real.make(HUB, "hub-1", hub())
    host = made["properties"]["hostName"]
    assert host.startswith(f"{real.instance.address}:205")
    keys = {one["keyName"] for one in real.post(f"{made['id']}/listkeys").json()["value"]}
    assert keys == {"iothubowner", "service", "device", "registryRead", "registryReadWrite"}
    owner = real.post(f"{made['id']}/IotHubKeys/iothubowner/listkeys").json()
    assert set(owner) == {"keyName", "primaryKey", "secondaryKey", "rights"}
    trust = ssl.create_default_context(cafile=str(real.instance.ca))
    assert (
        httpx.get(f"https://{host}/devices?api-version=2021-04-12", verify=trust, timeout=PATIENCE_SECONDS).status_code
        == 401
    )
    real.finish(real.delete(real.group_id()))
    assert real.inside(lambda: real.real_hubs.names()) == []
