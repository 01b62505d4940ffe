"""POST /devices through unmodified azure-iot-hub."""

from __future__ import annotations

from typing import Any

import pytest
from azure.iot.hub.models import (
    AuthenticationMechanism,
    DeviceCapabilities,
    ExportImportDevice,
    PropertyContainer,
    SymmetricKey,
)

from localazure.hub.policies import new_key
from tests.hub.live import Live
from tests.hub.test_service_sdk import refused


def entry(name: str, mode: str | None = "create", **fields: Any) -> ExportImportDevice:
    return ExportImportDevice(id=name, import_mode=mode, status="enabled", **fields)


def run(azure: Live, *entries: ExportImportDevice) -> list[tuple[str, str]]:
    """(device, error code) of what failed."""
    result = azure.registry().bulk_create_or_update_devices(list(entries))
    assert result.is_successful is not bool(result.errors)
    return [(error.device_id, error.error_code) for error in result.errors]


def test_life(azure: Live) -> None:
    registry = azure.registry()
    first, second = new_key(), new_key()
    keys = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=first, secondary_key=second))
    edge = DeviceCapabilities(iot_edge=True)
    properties = PropertyContainer(desired={"speed": 1}, reported={"not": "ours"})
    created = entry("life1", authentication=keys, capabilities=edge, tags={"ring": 1}, properties=properties)
    assert run(azure, created, entry("life2"), entry("life2", module_id="m", tags={"x": 1})) == []
    device = registry.get_device("life1")
    assert device.authentication.symmetric_key.primary_key == first
    assert {module.module_id for module in registry.get_modules("life1")} == {"$edgeAgent", "$edgeHub"}
    twin = registry.get_twin("life1")
    assert twin.tags == {"ring": 1}
    assert twin.properties.desired["speed"] == 1
    assert "not" not in twin.properties.reported
    assert registry.get_module_twin("life2", "m").tags == {"x": 1}
    assert [event[2] for event in azure.edge_events if event[1] == "life1"] == [first]
    assert run(azure, entry("life1", "updateTwin", tags={"env": "prod"}), entry("life2", "update")) == []
    assert registry.get_twin("life1").tags == {"ring": 1, "env": "prod"}
    assert run(azure, entry("life3", None, tags={"a": 1})) == []
    assert run(azure, entry("life3", None, tags={"b": 2})) == []
    assert registry.get_twin("life3").tags == {"a": 1, "b": 2}
    assert run(azure, *(entry(f"life{number}", "delete") for number in (1, 2, 3))) == []
    refused(404, "DeviceNotFound", lambda: registry.get_device("life1"))
    assert [event[2] for event in azure.edge_events if event[1] == "life1"] == [first, None]


def test_one_failure_does_not_stop_the_others(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("there", "", "", "enabled")
    tag = registry.get_device("there").etag
    failed = run(
        azure,
        entry("there"),
        entry("fine"),
        entry("bad name"),
        entry("absent", "update"),
        entry("gone", "delete"),
        entry("fine"),
        entry("half", tags={"$bad": 1}),
        entry("odd", "createIfMatchETag", e_tag=tag),
        entry("odder", "explode"),
    )
    assert failed == [
        ("there", "DeviceAlreadyExists"),
        ("bad name", "ArgumentInvalid"),
        ("absent", "DeviceNotFound"),
        ("gone", "DeviceNotFound"),
        ("fine", "DeviceDefinedMultipleTimes"),
        ("half", "ArgumentInvalid"),
        ("odd", "ArgumentInvalid"),
        ("odder", "ArgumentInvalid"),
    ]
    assert registry.get_device("fine").status == "enabled"
    refused(404, "DeviceNotFound", lambda: registry.get_device("half"))  # all of an entry or nothing


def test_etags(azure: Live) -> None:
    registry = azure.registry()
    old = registry.create_device_with_sas("tagged", "", "", "enabled").etag
    tag = registry.update_device_with_sas("tagged", old, "", "", "enabled").etag
    twin = registry.get_twin("tagged").etag
    for mode, stale in (
        ("updateIfMatchETag", {"e_tag": old}),
        ("deleteIfMatchETag", {"e_tag": old}),
        ("updateTwinIfMatchETag", {"twin_etag": "AAAAAAAAAAk=", "tags": {"x": 1}}),
        ("createOrUpdateIfMatchETag", {"e_tag": old}),
    ):
        assert run(azure, entry("tagged", mode, **stale)) == [("tagged", "PreconditionFailed")], mode
    assert run(azure, entry("tagged", "updateIfMatchETag")) == [("tagged", "ArgumentInvalid")]
    assert run(azure, entry("tagged", "updateTwinIfMatchETag", twin_etag=twin, tags={"x": 1})) == []
    assert registry.get_twin("tagged").tags == {"x": 1}
    assert run(azure, entry("tagged", "deleteIfMatchETag", e_tag=f'"{tag}"')) == []


def test_no_list_and_too_long_a_list(azure: Live) -> None:
    refused(413, "TooManyDevices", lambda: run(azure, *(entry(f"n{number}") for number in range(101))))
    refused(404, "DeviceNotFound", lambda: azure.registry().get_device("n0"))
    with azure.http() as http:
        for body in ({}, [], [1], {"devices": [{"id": "x"}]}):
            answer = http.post("/devices", json=body)
            assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "ArgumentInvalid"), body
        answer = http.post("/devices", json=[{"importMode": "create"}])
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["errorCode"] == "ArgumentInvalid"


@pytest.mark.parametrize("policy", ["registryRead", "service", "device"])
def test_rights(azure: Live, policy: str) -> None:
    registry = azure.registry(policy)
    refused(401, "IotHubUnauthorizedAccess", lambda: registry.bulk_create_or_update_devices([entry("x")]))
