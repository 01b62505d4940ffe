"""What the stack file calls existing is looked up before anything is registered; all that is wrong with it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from azure.iot.hub import IoTHubRegistryManager

from components import existing, settings
from tests.services.cloud import Cloud, environment
from tests.support import ROOT


def look_up(monkeypatch: pytest.MonkeyPatch, **values: Any) -> existing.Existing:
    monkeypatch.chdir(ROOT)
    return existing.look_up(settings.load({"model": {"path": "scoring/model.pkl"}, **values}, root=ROOT))


@pytest.fixture(scope="module")
def devices(others: IoTHubRegistryManager) -> Iterator[None]:
    others.create_device_with_sas("there-edge", None, None, "enabled", iot_edge=True)
    others.create_device_with_sas("there-plain", None, None, "enabled", iot_edge=False)
    yield
    for name in ("there-edge", "there-plain"):
        others.delete_device(name)


def called(*ids: str) -> list[dict[str, Any]]:
    return [{"id": name, "existing": True} for name in ids]


def test_devices_that_are_there_are_fine_and_no_key_is_listed(
    azure: Cloud, hub_id: str, devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with azure.azure.traffic() as seen:
        found = look_up(monkeypatch, hub={"existing": "componentshub"}, devices=called("there-edge"))
    assert found.hub_id == hub_id
    assert [line for line in [*seen[0].changes, *seen[0].reading_posts] if "/msi/token" not in line] == []


def test_all_that_is_wrong_is_said_at_once(
    azure: Cloud, workspace_id: str, hub_id: str, devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        look_up(
            monkeypatch,
            workspace={"existing": "componentsml"},
            hub={"existing": "componentshub"},
            model={"existing": "nowhere:7"},
            devices=called("there-edge", "missing-1", "there-plain"),
        )
    lines = [line for line in str(caught.value).splitlines() if line.startswith("aml-edge:")]
    assert len(lines) == 3
    model = "aml-edge:model.existing: could not find the registered model 'nowhere:7'"
    assert lines[0].startswith(f"{model}: the workspace componentsml has no")
    assert re.match(
        r"aml-edge:devices: could not find the existing device 'missing-1': 404 .*\(componentshub\)", lines[1]
    )
    assert lines[2] == "aml-edge:devices: could not use the existing device 'there-plain': it is not an IoT Edge device"
    assert "pulumi refresh" not in str(caught.value)


def test_an_id_of_something_else_is_refused_with_its_key(
    azure: Cloud, hub_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub in the registry's place would have been asked for its admin user."""
    with pytest.raises(pulumi.RunError) as caught:
        look_up(monkeypatch, registry={"existing": hub_id}, hub={"existing": "/subscriptions/x"})
    registry, hub = (line for line in str(caught.value).splitlines() if line.startswith("aml-edge:"))
    assert registry.startswith(f"aml-edge:registry.existing: could not find the container registry '{hub_id}'")
    assert hub.startswith("aml-edge:hub.existing: could not find the IoT hub '/subscriptions/x'")
    assert "Microsoft.ContainerRegistry/registries/NAME" in str(caught.value)


def test_whoever_may_not_ask_the_hub_is_told_so_and_goes_on(
    azure: Cloud, hub_id: str, devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reader reads ARM and no data; IoT Hub Data Reader reads devices."""
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    azure.azure.command("rbac", "strict")
    hub = {"name": "componentshub", "properties": azure.properties(hub_id)}
    try:
        for role, warnings in (("Reader", 1), ("IoT Hub Data Reader", 0)):
            told = azure.azure.command("principal", "add", "asker", "--role", role).stdout
            client = re.search(r"AZURE_CLIENT_ID='?([0-9a-f-]{36})", told)
            assert client
            endpoint = f"{azure.azure.env['MSI_ENDPOINT']}?client_id={client[1]}"
            with environment({**azure.azure.env, "MSI_ENDPOINT": endpoint}):
                warned.clear()
                existing._check_device(hub, "there-edge")
                assert len(warned) == warnings, warned
                if warnings:
                    assert "has the device there-edge was not checked: 401" in warned[0]
                    found = look_up(monkeypatch, hub={"existing": "componentshub"}, devices=called("missing-1"))
                    assert found.hub_id == hub_id, "`up` decides"
            azure.azure.command("principal", "remove", "asker")
    finally:
        azure.azure.command("rbac", "off")


def test_a_workspace_without_a_registry_says_what_to_do(azure: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = azure.workspace("noregistryml", None)
    try:
        with pytest.raises(pulumi.RunError, match="it is attached to none yet") as caught:
            look_up(monkeypatch, workspace={"existing": "noregistryml"})
        assert "az ml workspace update --name noregistryml --container-registry" in str(caught.value)
    finally:
        azure.delete(workspace)
