"""POST /devices/query through unmodified azure-iot-hub, and what it refuses."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import pytest
from azure.iot.hub.models import QuerySpecification, Twin, TwinProperties

from localazure.hub.identities import Key
from tests.hub.live import Live
from tests.hub.test_service_sdk import refused


@pytest.fixture(scope="module", autouse=True)
def _devices(azure: Live) -> None:
    registry = azure.registry()
    hub = azure.service._get(azure.hub)
    for number in range(7):
        name = f"d{number}"
        registry.create_device_with_sas(name, "", "", "enabled" if number else "disabled", iot_edge=number > 4)
        tags = {"site": "munich" if number % 2 else "rome", "floor": number}
        registry.update_twin(name, Twin(tags=tags, properties=TwinProperties(desired={"speed": number})))
        azure.call(partial(hub.report, Key(name), {"temperature": number * 1.5}))
        registry.create_module_with_sas(name, "m", "me", "", "")


def page(azure: Live, query: str, token: str | None = None, size: int | None = None) -> Any:
    return azure.registry().query_iot_hub(QuerySpecification(query=query), token, str(size) if size else None)


def raw(azure: Live, query: str, **headers: str) -> tuple[list[Any], Any]:
    with azure.http() as http:
        answer = http.post("/devices/query", json={"query": query}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json(), answer.headers


def test_twins_are_those_of_the_twin_operation(azure: Live) -> None:
    registry = azure.registry()
    found = page(azure, "SELECT * FROM devices WHERE tags.site = 'rome'")
    assert found.type == "Twin"
    assert found.continuation_token is None
    assert [twin.device_id for twin in found.items] == ["d0", "d2", "d4", "d6"]
    for twin in found.items:
        assert twin.as_dict() == registry.get_twin(twin.device_id).as_dict()
    modules = page(azure, "SELECT * FROM devices.modules WHERE deviceId = 'd6'").items
    assert [module.module_id for module in modules] == ["$edgeAgent", "$edgeHub", "m"]
    assert modules[2].as_dict() == registry.get_module_twin("d6", "m").as_dict()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT deviceId FROM devices WHERE tags.site = 'munich'", "d1 d3 d5"),
        ("select deviceId from devices where capabilities.iotEdge = true", "d5 d6"),
        ("SELECT deviceId FROM devices WHERE status = 'disabled'", "d0"),
        ("SELECT deviceId FROM devices WHERE connectionState = 'Connected'", ""),
        (
            "SELECT deviceId FROM devices WHERE properties.reported.temperature > 6 AND properties.desired.speed < 6",
            "d5",
        ),
        ("SELECT deviceId FROM devices WHERE deviceId IN ['d1', 'd9', 'd3']", "d1 d3"),
        ("SELECT TOP 2 deviceId FROM devices WHERE IS_DEFINED(tags.floor)", "d0 d1"),
        ("SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent'", "d5 d6"),
    ],
)
def test_conditions(azure: Live, query: str, names: str) -> None:
    items, headers = raw(azure, query)
    assert headers["x-ms-item-type"] == "Raw"
    assert items == [{"deviceId": name} for name in names.split()]


def test_projections_and_groups(azure: Live) -> None:
    assert raw(azure, "SELECT tags.floor, tags.none, deviceId AS name FROM devices WHERE tags.floor = 3")[0] == [
        {"floor": 3, "name": "d3"}
    ]
    groups = raw(
        azure, "SELECT tags.site AS site, COUNT() AS number, MAX(tags.floor) AS highest FROM devices GROUP BY tags.site"
    )
    assert groups[0] == [{"site": "rome", "number": 4, "highest": 6}, {"site": "munich", "number": 3, "highest": 5}]
    numbers = "SELECT COUNT() AS n, SUM(tags.floor) AS s, AVG(tags.floor) AS a, MIN(tags.site) AS none FROM devices"
    assert raw(azure, numbers)[0] == [{"n": 7, "s": 21, "a": 3.0}]
    assert raw(azure, "SELECT COUNT() AS n FROM devices WHERE tags.floor > 99")[0] == [{"n": 0}]
    assert raw(azure, "SELECT COUNT() AS n FROM devices WHERE tags.floor > 99 GROUP BY tags.site")[0] == []


@pytest.mark.parametrize(
    ("query", "size", "pages"),
    [
        ("SELECT * FROM devices", 3, [3, 3, 1]),
        ("SELECT * FROM devices", 7, [7]),
        ("SELECT TOP 4 * FROM devices", 3, [3, 1]),
        ("SELECT TOP 3 * FROM devices", 3, [3]),
        ("SELECT TOP 0 * FROM devices", 3, [0]),
        ("SELECT * FROM devices WHERE tags.site = 'rome'", 2, [2, 2]),
        ("SELECT * FROM devices.modules", 4, [4, 4, 3]),
        ("SELECT tags.floor, COUNT() AS n FROM devices GROUP BY tags.floor", 4, [4, 3]),
        ("SELECT * FROM devices WHERE tags.none = 1", 4, [0]),
    ],
)
def test_pages(azure: Live, query: str, size: int, pages: list[int]) -> None:
    sizes, items, token = [], [], None
    for _ in range(10):
        got = page(azure, query, token, size)
        sizes.append(len(got.items))
        items += [json.dumps(item.as_dict(), sort_keys=True) + str(item.additional_properties) for item in got.items]
        token = got.continuation_token
        if not token:
            break
    assert sizes == pages
    assert len(set(items)) == len(items)


def test_a_page_survives_changes(azure: Live) -> None:
    """The token names the last device, not a position."""
    registry = azure.registry()
    registry.create_device_with_sas("a0", "", "", "enabled")
    first = page(azure, "SELECT * FROM devices", None, 2)
    assert [twin.device_id for twin in first.items] == ["a0", "d0"]
    registry.delete_device("a0")
    second = page(azure, "SELECT * FROM devices", first.continuation_token, 2)
    assert [twin.device_id for twin in second.items] == ["d1", "d2"]


def test_refusals(azure: Live) -> None:
    message = refused(400, "ArgumentInvalid", lambda: page(azure, "SELECT * FROM devices WHERE tags.a = "))
    assert "expected" in message
    refused(501, "NotImplemented", lambda: page(azure, "SELECT * FROM devices.jobs"))
    token = page(azure, "SELECT * FROM devices", None, 2).continuation_token
    decoded = json.loads(base64.urlsafe_b64decode(token))
    broken = [
        "x",
        "é",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(json.dumps([decoded[0], 1, 2, 3]).encode()).decode(),
        base64.b64encode(json.dumps([*decoded[:3], -1]).encode()).decode(),
    ]
    for one in broken:
        with azure.http() as http:
            headers = {b"x-ms-continuation": one.encode()}
            answer = http.post("/devices/query", json={"query": "SELECT * FROM devices"}, headers=headers)
            assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "ArgumentInvalid"), one
    refused(400, "ArgumentInvalid", lambda: page(azure, "SELECT * FROM devices.modules", token))
    for size in ("0", "-1", "x", "1.5"):
        refused(
            400,
            "ArgumentInvalid",
            lambda s=size: azure.registry().query_iot_hub(QuerySpecification(query="SELECT * FROM devices"), None, s),
        )
    with azure.http() as http:
        bodies: tuple[Any, ...] = ({}, {"query": 1}, {"query": ""}, {"query": "x" * 70000}, [])
        for body in bodies:
            assert http.post("/devices/query", json=body).status_code == 400
