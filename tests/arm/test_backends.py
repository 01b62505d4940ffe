"""ARM with the real registry and hub services behind it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localazure.arm.model import Hubs, Registries
from localazure.hub import HubService
from localazure.registry import RegistryService
from localazure.store import Store
from tests.arm.bodies import HUB, REGISTRY, hub, registry
from tests.arm.cloud import Cloud


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
        return httpx.get(f"https://{host}/v2/", auth=("Acr12345", password), verify=trust).status_code

    held = [one["value"] for one in real.post(f"{target}/listCredentials").json()["passwords"]]
    assert [login(one) for one in held] == [200, 200]
    new = real.post(f"{target}/regenerateCredential", {"name": "password"}).json()["passwords"][0]["value"]
    assert [login(held[0]), login(new), login(held[1])] == [401, 200, 200]
    real.patch(target, {"properties": {"adminUserEnabled": False}})
    assert login(new) == 401
    real.finish(real.delete(target))
    with pytest.raises(httpx.ConnectError):
        login(new)


def test_hub_comes_with_its_keys_and_goes(real: RealCloud) -> None:
    made = real.make(HUB, "hub-1", hub())
    host = made["properties"]["hostName"]
    assert host.startswith(f"{real.instance.address}:205")
    keys = {one["keyName"] for one in real.post(f"{made['id']}/listkeys").json()["value"]}
    assert keys == {"iothubowner", "service", "device", "registryRead", "registryReadWrite"}
    owner = real.post(f"{made['id']}/IotHubKeys/iothubowner/listkeys").json()
    assert set(owner) == {"keyName", "primaryKey", "secondaryKey", "rights"}
    trust = ssl.create_default_context(cafile=str(real.instance.ca))
    assert httpx.get(f"https://{host}/devices?api-version=2021-04-12", verify=trust).status_code == 401
    real.finish(real.delete(real.group_id()))
    assert real.inside(lambda: real.real_hubs.names()) == []
