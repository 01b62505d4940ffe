"""Throttles of a SKU and its units, and the settings of an instance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure.iot.hub.models import Configuration, ConfigurationContent

from localazure.hub.errors import HubError
from localazure.hub.plan import Operation, Plan
from localazure.hub.settings import HubSettings, load
from localazure.hub.throttle import Throttle
from localazure.instance import InstanceError
from tests.hub.live import live
from tests.hub.test_service_sdk import refused


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("sku", "units", "operation", "per_minute"),
    [
        ("F1", 1, Operation.REGISTRY, 100),
        ("S1", 3, Operation.REGISTRY, 300),
        ("S3", 2, Operation.REGISTRY, 10_000),
        ("S2", 2, Operation.QUERY, 40),
        ("S3", 1, Operation.QUERY, 1000),
        ("S1", 1, Operation.CONFIGURATION, 20),
        ("S3", 2, Operation.CONFIGURATION, 40),
        ("S1", 5, Operation.TWIN_READ, 100 * 60),
        ("S2", 20, Operation.TWIN_READ, 200 * 60),
        ("S3", 2, Operation.TWIN_READ, 1000 * 60),
        ("S2", 1, Operation.TWIN_WRITE, 50 * 60),
        ("S1", 1, Operation.METHOD, 40 * 60),
        ("S2", 1, Operation.METHOD, 120 * 60),
    ],
)
def test_rates(sku: str, units: int, operation: Operation, per_minute: float) -> None:
    """The table of learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling."""
    assert Plan(sku, units).rate(operation).per_second * 60 == pytest.approx(per_minute)


def test_bucket() -> None:
    clock = Clock()
    throttle = Throttle(Plan("S1", 1), clock=clock)
    for _ in range(20):
        throttle.take(Operation.CONFIGURATION)
    with pytest.raises(HubError) as caught:
        throttle.take(Operation.CONFIGURATION)
    assert (caught.value.status, caught.value.name, caught.value.headers) == (
        429,
        "ThrottlingException",
        {"Retry-After": "3"},
    )
    throttle.take(Operation.QUERY)  # a bucket of its own
    clock.now += 3.0
    throttle.take(Operation.CONFIGURATION)
    with pytest.raises(HubError):
        throttle.take(Operation.CONFIGURATION)
    clock.now += 3600
    for _ in range(20):
        throttle.take(Operation.CONFIGURATION)
    with pytest.raises(HubError):
        throttle.take(Operation.CONFIGURATION)
    throttle.change(Plan("S1", 2))
    for _ in range(40):
        throttle.take(Operation.CONFIGURATION)
    free = Throttle(Plan(), None, clock)
    for _ in range(1000):
        free.take(Operation.CONFIGURATION)
    slow = Throttle(Plan(), 0.001, clock)
    slow.take(Operation.CONFIGURATION)
    with pytest.raises(HubError):
        slow.take(Operation.CONFIGURATION)


def test_on_the_wire(tmp_path: Path) -> None:
    with live(tmp_path, settings=HubSettings()) as azure:
        configurations = azure.configurations()
        for _ in range(20):
            configurations.get_configurations()
        wanted = Configuration(id="c", content=ConfigurationContent(device_content={"properties.desired.x": 1}))
        with azure.http() as http:  # the SDK would wait for three rounds of Retry-After
            for number in range(100):  # a slow machine earns one more every three seconds
                answer = http.put(f"/configurations/c{number}", json={**wanted.serialize(), "id": f"c{number}"})
                if answer.status_code != 201:
                    break
        assert (answer.status_code, answer.headers["iothub-errorcode"]) == (429, "ThrottlingException")
        assert 1 <= int(answer.headers["Retry-After"]) <= 3
        assert "Operation type: Configuration" in answer.json()["Message"]
        azure.registry().create_device_with_sas("d", "", "", "enabled")
        refused(404, "DeviceNotFound", lambda: azure.registry().get_twin("none"))
        azure.run(lambda: azure.service.create(azure.hub, "S1", 2))
        configurations.create_configuration(wanted)


def test_settings(tmp_path: Path) -> None:
    assert load(tmp_path) == HubSettings(throttling=True, throttling_factor=1, evaluation_delay=0)
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"other": 1, "hub": {"throttling": False, "evaluationDelaySeconds": 300}}))
    assert load(tmp_path) == HubSettings(throttling=False, evaluation_delay=300)
    assert load(tmp_path).factor is None
    path.write_text(json.dumps({"hub": {"throttlingFactor": 10}}))
    assert load(tmp_path).factor == 10


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"hub": []}',
        '{"hub": {"throtling": true}}',
        '{"hub": {"throttling": "no"}}',
        '{"hub": {"throttlingFactor": 0}}',
        '{"hub": {"throttlingFactor": true}}',
        '{"hub": {"evaluationDelaySeconds": -1}}',
        '{"hub": {"evaluationDelaySeconds": "5"}}',
    ],
)
def test_wrong_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InstanceError, match=r"settings\.json"):
        load(tmp_path)
