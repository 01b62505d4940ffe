"""Who may do what: the rights of policies, the scope of tokens, and devices that must keep to themselves."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from localazure.hub.rest import TABLE
from localazure.hub.sas import make
from tests.hub.live import Live
from tests.hub.manifest import manifest

# (method, path, body, the right that is needed). "None" in a body is a request without one.
OPERATIONS: list[tuple[str, str, Any, str]] = [
    ("GET", "/devices", None, "RegistryRead"),
    ("GET", "/devices/a", None, "RegistryRead"),
    ("PUT", "/devices/new", {"deviceId": "new"}, "RegistryWrite"),
    ("DELETE", "/devices/new", None, "RegistryWrite"),
    ("POST", "/devices/a/applyConfigurationContent", {"modulesContent": manifest()}, "RegistryWrite"),
    ("GET", "/devices/a/modules", None, "RegistryRead"),
    ("GET", "/devices/a/modules/m", None, "RegistryRead"),
    ("PUT", "/devices/a/modules/n", {"moduleId": "n"}, "RegistryWrite"),
    ("DELETE", "/devices/a/modules/n", None, "RegistryWrite"),
    ("GET", "/twins/a", None, "ServiceConnect"),
    ("PATCH", "/twins/a", {}, "ServiceConnect"),
    ("PUT", "/twins/a", {}, "ServiceConnect"),
    ("GET", "/twins/a/modules/m", None, "ServiceConnect"),
    ("PATCH", "/twins/a/modules/m", {}, "ServiceConnect"),
    ("PUT", "/twins/a/modules/m", {}, "ServiceConnect"),
    ("POST", "/twins/a/methods", {"methodName": "x"}, "ServiceConnect"),
    ("POST", "/twins/a/modules/m/methods", {"methodName": "x"}, "ServiceConnect"),
    ("POST", "/devices", [{"id": "new", "importMode": "delete"}], "RegistryWrite"),
    ("POST", "/devices/query", {"query": "SELECT * FROM devices"}, "ServiceConnect"),
    ("POST", "/configurations/testQueries", {"targetCondition": "*"}, "RegistryRead"),
    ("GET", "/configurations", None, "RegistryRead"),
    ("GET", "/configurations/c", None, "RegistryRead"),
    ("PUT", "/configurations/c", {"id": "c", "content": {"deviceContent": {}}}, "RegistryWrite"),
    ("DELETE", "/configurations/c", None, "RegistryWrite"),
    ("GET", "/statistics/devices", None, "RegistryRead"),
    ("GET", "/statistics/service", None, "ServiceConnect"),
    ("GET", "/messages/events?timeout=0", None, "ServiceConnect"),
]
RIGHTS = {
    "iothubowner": {"RegistryRead", "RegistryWrite", "ServiceConnect"},
    "service": {"ServiceConnect"},
    "device": set(),
    "registryRead": {"RegistryRead"},
    "registryReadWrite": {"RegistryRead", "RegistryWrite"},
}


@pytest.fixture(scope="module", autouse=True)
def identities(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("a", "", "", "enabled", iot_edge=True)
    registry.create_device_with_sas("b", "", "", "enabled", iot_edge=True)
    registry.create_module_with_sas("a", "m", "me", "", "")


def ask(azure: Live, token: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    path, _, query = path.partition("?")
    parameters = {"api-version": "2021-04-12", **dict(httpx.QueryParams(query))}
    with azure.http(token) as http:
        return http.request(method, path, json=body, headers=headers, params=parameters)


def test_every_operation_is_in_the_table(azure: Live) -> None:
    """A new route cannot be forgotten here, unless it is not built or has a test of its own below."""
    own = ("DeviceScope", "TargetDeviceScope")
    built = {
        (entry.method, entry.path)
        for entry in TABLE
        if entry.handler.__qualname__.count("<locals>") == 0 and not entry.path.endswith(own)
    }
    listed = {
        (
            method,
            path.partition("?")[0]
            .replace("/devices/a", "/devices/{device}")
            .replace("/devices/new", "/devices/{device}")
            .replace("/twins/a", "/twins/{device}")
            .replace("/modules/m", "/modules/{module}")
            .replace("/modules/n", "/modules/{module}")
            .replace("/configurations/c", "/configurations/{name}"),
        )
        for method, path, _, _ in OPERATIONS
    }
    assert built == listed


@pytest.mark.parametrize("policy", RIGHTS)
def test_rights(azure: Live, policy: str) -> None:
    token = azure.token(policy)
    for method, path, body, right in OPERATIONS:
        answer = ask(azure, token, method, path, body, **{"If-Match": "*"} if method == "DELETE" else {})
        allowed = right in RIGHTS[policy]
        assert (answer.status_code != 401) is allowed, (policy, method, path, answer.text)
        assert allowed or answer.headers["iothub-errorcode"] == "IotHubUnauthorizedAccess"


def test_bad_tokens(azure: Live) -> None:
    key = azure.key()
    good = azure.token()
    assert ask(azure, good, "GET", "/devices").status_code == 200
    assert ask(azure, make(f"{azure.host}/devices", key, "iothubowner"), "GET", "/devices/a").status_code == 200
    signature = good.partition("&sig=")[2].partition("&")[0]
    for token in (
        "",
        "Bearer",
        "Basic YTpi",
        "SharedAccessSignature",
        "SharedAccessSignature sr=x",
        good + "&skn=iothubowner",
        good.replace("iothubowner", "nobody"),
        good.replace("iothubowner", "service"),
        good.replace(f"sig={signature}", "sig=AAAA"),
        good.replace(f"sig={signature}", "sig=%%%"),
        good.replace("&se=", "&se=9"),
        good.replace("&se=", "&se=-"),
        azure.token(lifetime=-1),
        azure.token(resource="127.0.0.1:1"),
        azure.token(resource=f"{azure.host}/devices/b"),
        azure.token(resource=f"{azure.host}/twins"),
        azure.token(resource=f"{azure.host}/device"),
        make(azure.host, key),
    ):
        answer = ask(azure, token, "GET", "/devices/a")
        assert answer.status_code == 401, token.partition("&sig")[0]
        assert "IotHubUnauthorizedAccess" in answer.json()["Message"]


def own_token(azure: Live, device: str, module: str = "", resource: str = "") -> str:
    registry = azure.registry()
    identity = registry.get_module(device, module) if module else registry.get_device(device)
    path = f"{azure.host}/devices/{device}" + (f"/modules/{module}" if module else "")
    return make(resource or path, identity.authentication.symmetric_key.primary_key)


def test_a_device_manages_its_modules_and_nothing_else(azure: Live) -> None:
    token = own_token(azure, "a")
    assert ask(azure, token, "GET", "/devices/a/modules").status_code == 200
    assert ask(azure, token, "GET", "/devices/a/modules/%24edgeAgent").json()["authentication"]["symmetricKey"]
    body = {"deviceId": "a", "moduleId": "own", "managedBy": "iotEdge", "authentication": {"type": "sas"}}
    assert ask(azure, token, "PUT", "/devices/a/modules/own", body).status_code == 201
    assert ask(azure, token, "PUT", "/devices/a/modules/own", body, **{"If-Match": "*"}).status_code == 200
    assert ask(azure, token, "DELETE", "/devices/a/modules/own", **{"If-Match": "*"}).status_code == 204
    mine = {("GET", "/devices/a/modules"), ("GET", "/devices/a/modules/m"), ("PUT", "/devices/a/modules/n")}
    mine.add(("DELETE", "/devices/a/modules/n"))
    for method, path, content, _ in OPERATIONS:
        if (method, path) not in mine:
            assert ask(azure, token, method, path, content).status_code == 401, (method, path)
        if path.startswith("/devices/a"):
            theirs = path.replace("/devices/a", "/devices/b")
            assert ask(azure, token, method, theirs, content).status_code == 401, (method, theirs)


def test_a_device_cannot_widen_its_token(azure: Live) -> None:
    for resource in (
        azure.host,
        f"{azure.host}/devices",
        f"{azure.host}/devices/b",
        f"{azure.host}/devices/a/modules/m",
    ):
        token = own_token(azure, "a", resource=resource)
        for path in ("/devices/a/modules", "/devices/b/modules", "/devices/a/modules/m"):
            assert ask(azure, token, "GET", path).status_code == 401, (resource, path)


def test_a_module_has_no_registry(azure: Live) -> None:
    token = own_token(azure, "a", "m")
    for method, path, content, _ in OPERATIONS:
        assert ask(azure, token, method, path, content).status_code == 401, (method, path)


def test_a_disabled_device_has_no_access(azure: Live) -> None:
    registry = azure.registry()
    made = registry.create_device_with_sas("off", "", "", "enabled", iot_edge=True)
    token, module = own_token(azure, "off"), own_token(azure, "off", "$edgeHub")
    scope = "/devices/off/modules/%24edgeHub/devicesAndModulesInDeviceScope"
    assert ask(azure, token, "GET", "/devices/off/modules").status_code == 200
    assert ask(azure, module, "GET", scope).status_code == 200
    pair = made.authentication.symmetric_key
    registry.update_device_with_sas("off", None, pair.primary_key, pair.secondary_key, "disabled", iot_edge=True)
    assert ask(azure, token, "GET", "/devices/off/modules").status_code == 401
    assert ask(azure, module, "GET", scope).status_code == 401


def test_scope_of_an_edge_hub(azure: Live) -> None:
    registry = azure.registry()
    edge = registry.create_device_with_sas("gateway", "", "", "enabled", iot_edge=True)
    leaf = {"deviceId": "leaf", "deviceScope": edge.device_scope}
    made = ask(azure, azure.token(), "PUT", "/devices/leaf", leaf)
    assert (made.json()["deviceScope"], made.json()["parentScopes"]) == (edge.device_scope, [edge.device_scope])
    token, base = own_token(azure, "gateway", "$edgeHub"), "/devices/gateway/modules/%24edgeHub"
    whole = ask(azure, token, "GET", f"{base}/devicesAndModulesInDeviceScope?deviceCount=10&continuationToken=").json()
    assert [device["deviceId"] for device in whole["devices"]] == ["gateway", "leaf"]
    assert whole["devices"][1]["authentication"]["symmetricKey"]["primaryKey"]
    assert {(one["deviceId"], one["moduleId"]) for one in whole["modules"]} == {
        ("gateway", "$edgeAgent"),
        ("gateway", "$edgeHub"),
    }
    assert whole["continuationLink"] == ""
    body = {"pageSize": 1, "continuationLink": "", "authChain": "gateway"}
    first = ask(azure, token, "POST", f"{base}/devicesAndModulesInTargetDeviceScope", body).json()
    body["continuationLink"] = first["continuationLink"]
    second = ask(azure, token, "POST", f"{base}/devicesAndModulesInTargetDeviceScope", body).json()
    assert [one["deviceId"] for page in (first, second) for one in page["devices"]] == ["gateway", "leaf"]
    assert second["continuationLink"] == ""
    link = ask(azure, token, "GET", f"{base}/devicesAndModulesInDeviceScope?deviceCount=1").json()["continuationLink"]
    assert [device["deviceId"] for device in ask(azure, token, "GET", link).json()["devices"]] == ["leaf"]
    one = ask(azure, token, "GET", f"{base}/deviceAndModuleInDeviceScope?targetDeviceId=leaf&targetModuleId=").json()
    assert [device["deviceId"] for device in one["devices"]] == ["leaf"]
    other = ask(azure, token, "GET", f"{base}/deviceAndModuleInDeviceScope?targetDeviceId=a&targetModuleId=m").json()
    assert other == {"devices": [], "modules": [], "continuationLink": ""}
    paths = (f"{base}/devicesAndModulesInDeviceScope", f"{base}/deviceAndModuleInDeviceScope?targetDeviceId=leaf")
    strangers = (
        own_token(azure, "gateway"),
        own_token(azure, "gateway", "$edgeAgent"),
        own_token(azure, "a", "$edgeHub"),
        azure.token(),
    )
    for path in paths:
        for stranger in strangers:
            assert ask(azure, stranger, "GET", path).status_code == 401
    for bad in ("ms-azure-iot-edge://nobody-1", edge.device_scope + "0", "x"):
        refused = ask(azure, azure.token(), "PUT", "/devices/leaf2", {"deviceId": "leaf2", "deviceScope": bad})
        assert (refused.status_code, refused.headers["iothub-errorcode"]) == (400, "InvalidDeviceScope")
