"""DeviceFleet: many identities as one resource. They are agents of the simulated fleet, so that no container starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin

from components import device_secret
from components.device_fleet import DeviceFleetProvider
from components.services import bulk
from components.services.errors import ServiceError
from tests.components.life import Life
from tests.services.cloud import HUB, Cloud
from tests.support import ROOT, run

COUNT = 230


@pytest.fixture(scope="module")
def devices_hub(azure: Cloud) -> Iterator[str]:
    hub_id = azure.make(HUB, "deviceshub", {"sku": {"name": "S1", "capacity": 50}})
    azure.azure.command("fleet", "1000", "--match", "(press|mill)-.*")
    yield hub_id
    azure.delete(hub_id)
    azure.azure.command("fleet", "0")


@pytest.fixture
def hub(devices_hub: str, azure: Cloud) -> IoTHubRegistryManager:
    string = azure.azure.command("connection-string", devices_hub.rpartition("/")[2]).stdout.strip()
    return IoTHubRegistryManager.from_connection_string(string)


@pytest.fixture
def life() -> Iterator[Life]:
    made = Life(DeviceFleetProvider())
    yield made
    if made.id:
        made.destroy()


def inputs(hub_id: str, devices: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"hubId": hub_id, "name": "devices", "owner": "p/dev", "devices": devices, **other}


def presses(count: int = COUNT, **tags: str) -> dict[str, Any]:
    return {f"press-{number:03}": {"tags": {"site": "lab", **tags}} for number in range(count)}


def test_the_life_of_many_devices(
    life: Life, devices_hub: str, hub: IoTHubRegistryManager, capsys: pytest.CaptureFixture[str]
) -> None:
    assert life.up(inputs(devices_hub, presses())) == "create"
    assert f"devices devices: register: {COUNT} of {COUNT}" in capsys.readouterr().out
    one = hub.get_device("press-229")
    assert one.capabilities.iot_edge and one.status_reason == "managed by aml-edge, p/dev/devices"
    assert hub.get_twin("press-229").tags == {"site": "lab", "managedBy": "p/dev", "deviceFleet": "p/dev/devices"}
    keys = [one.authentication.symmetric_key.primary_key, one.authentication.symmetric_key.secondary_key]
    assert len({*keys}) == 2 and not [key for key in keys if key in json.dumps(life.outs)]
    assert life.refresh() and life.up(inputs(devices_hub, presses())) == "same"

    wanted = presses(COUNT - 1)
    wanted["press-000"] = {"tags": {"floor": "2"}}
    wanted["press-001"] = {"tags": {"site": "lab"}, "status": "disabled"}
    wanted["mill-1"] = {"tags": {}}
    assert life.up(inputs(devices_hub, wanted)) == "update"
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "devices devices: register: 1 of 1",
        "devices devices: tag: 1 of 1",
        "devices devices: press-001 is disabled",
        "devices devices: delete: 1 of 1",
    ], "only what changed is touched"
    tags = hub.get_twin("press-000").tags
    assert "site" not in tags and tags["floor"] == "2" and tags["managedBy"] == "p/dev"
    disabled = hub.get_device("press-001")
    assert disabled.status == "disabled"
    assert disabled.status_reason == one.status_reason, "it stays ours"
    assert life.refresh() and life.up(inputs(devices_hub, wanted)) == "same"
    life.destroy()
    assert hub.get_device_registry_statistics().total_device_count == 0


def test_an_interrupted_run_is_continued(
    life: Life, devices_hub: str, hub: IoTHubRegistryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed_at_200(line: str) -> None:
        if "200" in line:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("components.device_fleet._say", lambda props: killed_at_200)
        with pytest.raises(KilledError):
            life.up(inputs(devices_hub, presses()))
    assert hub.get_device_registry_statistics().total_device_count == 200
    before = hub.get_device("press-000").authentication.symmetric_key.primary_key
    with monkeypatch.context() as patched:  # the hub's queries are behind: they do not show the newest hundred
        find = bulk.find
        patched.setattr(bulk, "find", lambda hub, ids: [one for one in find(hub, ids) if one.device_id < "press-197"])
        assert life.up(inputs(devices_hub, presses())) == "create"
    assert hub.get_device_registry_statistics().total_device_count == COUNT
    assert hub.get_device("press-000").authentication.symmetric_key.primary_key == before


def test_foreign_devices_are_refused_before_anything_is_done(
    life: Life, devices_hub: str, hub: IoTHubRegistryManager
) -> None:
    hub.create_device_with_sas("mill-7", None, None, "enabled", iot_edge=True)
    try:
        with pytest.raises(ServiceError, match="has 1 of these ids already, which this resource did not make: mill-7"):
            life.up(inputs(devices_hub, {**presses(3), "mill-7": {"tags": {}}}))
        assert hub.get_device_registry_statistics().total_device_count == 1
        assert life.up(inputs(devices_hub, presses(3))) == "create"
        with pytest.raises(ServiceError, match="did not make: press-000"):
            Life(DeviceFleetProvider()).up(inputs(devices_hub, presses(1), name="others"))
    finally:
        hub.delete_device("mill-7")


def test_drift_is_seen_and_mended(life: Life, devices_hub: str, hub: IoTHubRegistryManager) -> None:
    life.up(inputs(devices_hub, presses(4)))
    hub.delete_device("press-000")
    hub.update_twin("press-001", Twin(tags={"site": "hall", "owner": "somebody"}), "*")
    assert life.refresh()
    assert set(life.outs["devices"]) == {"press-001", "press-002", "press-003"}
    assert life.outs["devices"]["press-001"] == {"tags": {"site": "hall"}}
    assert life.up(inputs(devices_hub, presses(4))) == "update"
    tags = hub.get_twin("press-001").tags
    assert (tags["site"], tags["owner"]) == ("lab", "somebody"), "tags of others are left alone"
    assert hub.get_device("press-000").status == "enabled"


def test_one_devices_connection_string(
    life: Life, devices_hub: str, hub: IoTHubRegistryManager, azure: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    life.up(inputs(devices_hub, presses(1)))
    key = hub.get_device("press-000").authentication.symmetric_key.primary_key
    command = [sys.executable, "-m", "components.device_secret", devices_hub, "press-000"]
    shown = run(command, ROOT, azure.azure.env).stdout
    assert shown.startswith("HostName=") and shown.endswith(f";DeviceId=press-000;SharedAccessKey={key}\n")
    capsys.readouterr()
    assert device_secret.main([devices_hub, "press-000", "--config-toml"]) == 0
    assert 'device_id = "press-000"' in capsys.readouterr().out
    assert device_secret.main([devices_hub, "press-999"]) == 1
    assert "could not read the device press-999: 404" in capsys.readouterr().err
