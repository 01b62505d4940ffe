"""The local Azure's simulated fleet: agents over real MQTT that report as edgeAgent does, and no container for them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import ConfigurationContent

from localazure.fleet import state
from localazure.fleet.state import Device, is_chosen, running_of
from tests.services.cloud import Cloud, cloud
from tests.waiting import until

IMAGE = f"registry.example/scorer@sha256:{'0' * 64}"


def desired(version: int, image: str = IMAGE, schema: str = "1.1") -> dict[str, Any]:
    system = {"type": "docker", "settings": {"image": "mcr.microsoft.com/azureiotedge-agent:1.5"}}
    module = {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": image}}
    return {
        "schemaVersion": schema,
        "runtime": {"type": "docker", "settings": {}},
        "systemModules": {"edgeAgent": system, "edgeHub": {**system, "status": "running", "restartPolicy": "always"}},
        "modules": {"scorer": module},
        "$version": version,
    }


def code(report: dict[str, Any]) -> int:
    return int(report["lastDesiredStatus"]["code"])


def test_a_device_reports_what_edge_agent_would() -> None:
    device = Device("a")
    empty = device.take({"$version": 1}, fails=False)
    assert (code(empty), empty["lastDesiredVersion"]) == (417, 1)
    assert code(device.take(desired(2, schema="2.0"), fails=False)) == 412
    report = device.take(desired(3), fails=False)
    assert (code(report), report["lastDesiredVersion"]) == (200, 3)
    assert report["modules"]["scorer"]["runtimeStatus"] == "running"
    assert report["systemModules"]["edgeHub"]["runtimeStatus"] == "running"


def test_a_failing_device_keeps_what_it_ran_and_takes_that_again() -> None:
    device = Device("a")
    device.shown = device.take(desired(1), fails=False)
    failed = device.take(desired(2, f"{IMAGE[:-1]}1"), fails=True)
    assert code(failed) == 500 and "cannot pull" in failed["lastDesiredStatus"]["description"]
    assert failed["modules"] == device.shown["modules"], "edgeAgent then reports the two fields only"
    device.shown = failed
    assert code(device.take(desired(3), fails=True)) == 200, "nothing to pull"
    assert running_of(device.take(desired(3), fails=False), desired(3)) == device.running
    assert running_of(failed, desired(3)) == {}


def test_the_same_devices_fail_each_time_and_about_as_many_as_asked_for() -> None:
    ids = [f"press-{number:04}" for number in range(2000)]
    five = {name for name in ids if is_chosen(name, 0.05)}
    assert 70 <= len(five) <= 130
    assert five < {name for name in ids if is_chosen(name, 0.1)}
    assert not [name for name in ids if is_chosen(name, 0)] and all(is_chosen(name, 1) for name in ids)
    assert state.is_chosen("x", 0.3) is state.is_chosen("x", 0.3)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("fleet")) as made:
        made.hub("fleethub")
        yield made


@pytest.fixture(scope="module")
def connection(azure: Cloud) -> str:
    return azure.azure.command("connection-string", "fleethub").stdout.strip()


@pytest.fixture(scope="module")
def hub(connection: str) -> IoTHubRegistryManager:
    return IoTHubRegistryManager.from_connection_string(connection)


def fleet(azure: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(azure.azure.command("status", "--json").stdout)["fleet"]
    return found


def machines(azure: Cloud) -> list[str]:
    """The devices with containers."""
    return [one["name"] for one in json.loads(azure.azure.command("status", "--json").stdout)["devices"]]


def test_new_identities_are_light_agents(azure: Cloud, hub: IoTHubRegistryManager) -> None:
    azure.azure.command("fleet", "3", "--match", "press-.*")
    for number in range(4):
        hub.create_device_with_sas(f"press-{number}", None, None, "enabled", iot_edge=True)
    until(lambda: fleet(azure)["connected"] == 3)
    until(lambda: machines(azure))
    assert machines(azure) == ["press-3"], "the fleet has no room for it"
    hub.delete_device("press-3")
    shown = azure.azure.command("fleet").stdout
    assert "simulated fleet: 3 of at most 3 devices, 3 connected, ids like press-.*, 1 processes" in shown
    twin = hub.get_module_twin("press-0", "$edgeAgent")
    assert twin.connection_state == "Connected"
    assert until(lambda: reported(hub, "press-0").get("lastDesiredStatus"))["code"] == 417, "as every new device"


def reported(hub: IoTHubRegistryManager, device_id: str) -> dict[str, Any]:
    return dict(hub.get_module_twin(device_id, "$edgeAgent").properties.reported)


def test_they_take_deployments_and_fail_when_told_to(azure: Cloud, hub: IoTHubRegistryManager, connection: str) -> None:
    configurations = IoTHubConfigurationManager.from_connection_string(connection)

    def apply(image: str) -> None:
        agent = {key: value for key, value in desired(0, image).items() if key != "$version"}
        edge_hub = {"schemaVersion": "1.1", "routes": {}, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}
        content = {"$edgeAgent": {"properties.desired": agent}, "$edgeHub": {"properties.desired": edge_hub}}
        configurations.apply_configuration_on_edge_device("press-0", ConfigurationContent(modules_content=content))

    def outcome() -> tuple[int, bool]:
        twin = hub.get_module_twin("press-0", "$edgeAgent").properties
        return code(twin.reported), twin.reported["lastDesiredVersion"] == twin.desired["$version"]

    apply(IMAGE)
    until(lambda: outcome() == (200, True))
    azure.azure.command("fleet", "--fail", "100%")
    apply(f"{IMAGE[:-1]}1")
    until(lambda: outcome() == (500, True))
    assert until(lambda: fleet(azure)["failing"]) == 1
    azure.azure.command("fleet", "--fail", "0%")
    until(lambda: outcome() == (200, True))


def test_they_are_back_after_the_death_of_a_process_and_of_the_daemon(azure: Cloud, hub: IoTHubRegistryManager) -> None:
    [process] = fleet(azure)["processes"]
    os.kill(process, signal.SIGKILL)
    until(lambda: fleet(azure)["processes"] not in ([], [process]))
    until(lambda: fleet(azure)["connected"] == 3)
    azure.azure.stop()
    azure.azure.start()
    until(lambda: fleet(azure)["connected"] == 3)
    assert machines(azure) == [], "none became a device with containers"


def test_off_the_air_and_gone(azure: Cloud, hub: IoTHubRegistryManager) -> None:
    azure.azure.command("fleet", "0")
    until(lambda: hub.get_module_twin("press-0", "$edgeAgent").connection_state == "Disconnected")
    assert fleet(azure)["devices"] == 3, "they stay the fleet's"
    for number in range(3):
        hub.delete_device(f"press-{number}")
    assert fleet(azure)["devices"] == 0


@pytest.mark.parametrize("arguments", [["-1"], ["10001"], ["5", "--match", "("], ["--fail", "101%"]])
def test_what_cannot_be(azure: Cloud, arguments: list[str]) -> None:
    done = azure.azure.command("fleet", *arguments, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
