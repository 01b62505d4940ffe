"""What the SDKs do not show: the If-Match table, hostile bodies, and answers outside the contract."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.hub.live import Live
from tests.hub.manifest import manifest

STALE = '"AAAAAAAAAAA="'
DEVICE, TWIN, CONFIGURATION, MODULE = "/devices/t", "/twins/t", "/configurations/t", "/devices/t/modules/m"

# (method, path, If-Match, status when it exists, status when it does not); "{}" stands for the current tag.
IF_MATCH = [
    ("PUT", DEVICE, None, 409, 200),
    ("PUT", DEVICE, "*", 200, 404),
    ("PUT", DEVICE, '"*"', 200, 404),
    ("PUT", DEVICE, '"{}"', 200, None),
    ("PUT", DEVICE, "{}", 409, None),  # without quotes it is no tag
    ("PUT", DEVICE, STALE, 412, 404),
    ("DELETE", DEVICE, None, 412, 404),
    ("DELETE", DEVICE, "*", 204, 404),
    ("DELETE", DEVICE, '"*"', 204, 404),
    ("DELETE", DEVICE, '"{}"', 204, None),
    ("DELETE", DEVICE, STALE, 412, 404),
    ("PUT", MODULE, None, 409, 201),
    ("PUT", MODULE, '"*"', 200, 404),
    ("PUT", MODULE, '"{}"', 200, None),
    ("PUT", MODULE, STALE, 412, 404),
    ("DELETE", MODULE, None, 412, 404),
    ("DELETE", MODULE, '"*"', 204, 404),
    ("DELETE", MODULE, STALE, 412, 404),
    ("PATCH", TWIN, None, 200, 404),
    ("PATCH", TWIN, "*", 200, 404),
    ("PATCH", TWIN, '"*"', 200, 404),
    ("PATCH", TWIN, '"{}"', 200, None),
    ("PATCH", TWIN, STALE, 412, 404),
    ("PATCH", TWIN, "AAAAAAAAAAA=", 200, 404),  # Azure/azure-iot-sdk-node#606
    ("PUT", TWIN, '"{}"', 200, None),
    ("PUT", TWIN, STALE, 412, 404),
    ("PUT", CONFIGURATION, None, 409, 201),
    ("PUT", CONFIGURATION, "{}", 409, None),  # Azure/azure-iot-hub-python#2
    ("PUT", CONFIGURATION, '"{}"', 200, None),
    ("PUT", CONFIGURATION, "*", 200, 404),
    ("PUT", CONFIGURATION, '"*"', 200, 404),
    ("PUT", CONFIGURATION, STALE, 412, 404),
    ("DELETE", CONFIGURATION, "*", 204, 404),
    ("DELETE", CONFIGURATION, '"*"', 204, 404),
    ("DELETE", CONFIGURATION, '"{}"', 204, None),
    ("DELETE", CONFIGURATION, STALE, 412, 404),
]
BODIES: dict[str, Any] = {
    DEVICE: {"deviceId": "t"},
    MODULE: {"deviceId": "t", "moduleId": "m"},
    TWIN: {"tags": {"x": 1}},
    CONFIGURATION: {"id": "t", "content": {"modulesContent": manifest()}},
}


def reset(http: httpx.Client, path: str, present: bool) -> str:
    """The resource's current tag, or '' once it is gone."""
    for other in (CONFIGURATION, DEVICE):
        http.delete(other, headers={"If-Match": "*"})
    if path == MODULE or (present and path != CONFIGURATION):
        http.put(DEVICE, json=BODIES[DEVICE]).raise_for_status()
    if present and path in (MODULE, CONFIGURATION):
        http.put(path, json=BODIES[path]).raise_for_status()
    if not present:
        return ""
    answer = http.get(path)
    assert answer.headers["etag"] == f'"{answer.json()["etag"]}"'
    return answer.json()["etag"]


@pytest.mark.parametrize(("method", "path", "if_match", "existing", "absent"), IF_MATCH)
def test_if_match(azure: Live, method: str, path: str, if_match: str | None, existing: int, absent: int | None) -> None:
    with azure.http() as http:
        for present, expected in ((True, existing), (False, absent)):
            if expected is None:
                continue
            tag = reset(http, path, present)
            headers = {"If-Match": if_match.replace("{}", tag)} if if_match else {}
            body = None if method == "DELETE" else BODIES[path]
            answer = http.request(method, path, json=body, headers=headers)
            assert answer.status_code == expected, answer.text
            if expected >= 400:
                name = answer.headers["iothub-errorcode"]
                assert answer.json()["Message"].startswith(f"ErrorCode:{name};")
            if expected == 412:
                assert http.get(path).json()["etag"] == tag  # nothing changed
            if expected == 200:
                assert http.get(path).json()["etag"] == answer.json()["etag"] != tag


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"tags": NaN}', 400),
        (b'{"tags": {"a": Infinity}}', 400),
        (b'{"tags": {"a": "\\ud800"}}', 400),
        (b'{"tags": {"a": "\xff"}}', 400),
        (b'{"tags": 1}', 400),
        (b'{"properties": []}', 400),
        (b'{"properties": {"desired": []}}', 400),
        (b'{"tags":' * 5000 + b"1" + b"}" * 5000, 400),
        (b"[" * 200_000, 400),
        (b'{"tags": {"a": ' + b"9" * 5000 + b"}}", 400),
        (b'{"tags": {"a": 1e400}}', 400),
        (b'{"tags": "' + b"x" * 600_000 + b'"}', 413),
        (b'{"tags": {"a": "\xc3\xbc\xf0\x9f\x92\xa1"}}', 200),
    ],
)
def test_hostile_bodies(azure: Live, body: bytes, status: int) -> None:
    with azure.http() as http:
        http.put("/devices/hostile", json={"deviceId": "hostile"})
        answer = http.patch("/twins/hostile", content=body)
        assert answer.status_code == status, answer.text[:300]
        assert http.get("/twins/hostile").status_code == 200


def test_outside_of_the_contract(azure: Live) -> None:
    with azure.http() as http:
        for method, path, status, name in (
            ("GET", "/nothing", 404, "GenericNotFound"),
            ("PATCH", "/devices/x", 405, "GenericMethodNotAllowed"),
            ("GET", "/jobs/v2/query", 501, "NotImplemented"),
            ("GET", "/devices?top=x", 400, "ArgumentInvalid"),
            ("GET", "/messages/events?since=-1", 400, "ArgumentInvalid"),
            ("GET", "/messages/events?timeout=nan", 400, "ArgumentInvalid"),
        ):
            answer = http.request(method, path, params={"api-version": "2021-04-12", **httpx.URL(path).params})
            assert (answer.status_code, answer.headers["iothub-errorcode"]) == (status, name), path
        for version in ("", "2099-01-01"):
            answer = http.get("/devices", params={"api-version": version})
            assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "InvalidProtocolVersion")


def test_the_number_of_modules_is_limited(azure: Live) -> None:
    with azure.http() as http:
        http.put("/devices/many", json={"deviceId": "many", "capabilities": {"iotEdge": True}})
        content = {"modulesContent": manifest(*(f"m{n}" for n in range(48)))}
        assert http.post("/devices/many/applyConfigurationContent", json=content).status_code == 204
        answer = http.put("/devices/many/modules/extra", json={"moduleId": "extra"})
        assert (answer.status_code, answer.headers["iothub-errorcode"]) == (413, "TooManyModulesOnDevice")
        assert len(http.get("/devices/many/modules").json()) == 50
