"""Unmodified azure-iot-device against the live MQTT listener."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse
from azure.iot.device.exceptions import ClientError, ConnectionFailedError, CredentialError
from azure.iot.hub.models import CloudToDeviceMethod, ConfigurationContent, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from localazure.hub.policies import new_key
from tests.hub.live import Live
from tests.hub.manifest import manifest
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.filterwarnings("ignore")


@contextlib.contextmanager
def client(azure: Live, device: str, module: str = "", key: str = "", **options: Any) -> Iterator[Any]:
    """Connected with the identity's own key (or `key`)."""
    registry = azure.registry()
    identity = registry.get_module(device, module) if module else registry.get_device(device)
    key = key or identity.authentication.symmetric_key.primary_key
    parts = [f"HostName={azure.host}", f"DeviceId={device}", *([f"ModuleId={module}"] if module else [])]
    text = ";".join([*parts, f"SharedAccessKey={key}", f"GatewayHostName={azure.instance.address}"])
    kind: Any = IoTHubModuleClient if module else IoTHubDeviceClient
    made = kind.create_from_connection_string(text, server_verification_cert=azure.instance.ca.read_text(), **options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.connect()
        yield made
    finally:
        made.shutdown()


def test_the_agent_gets_its_deployment_and_reports(azure: Live) -> None:
    registry, configurations = azure.registry(), azure.configurations()
    registry.create_device_with_sas("agent", "", "", "enabled", iot_edge=True)
    with client(azure, "agent", "$edgeAgent") as agent:
        assert registry.get_module("agent", "$edgeAgent").connection_state == "Connected"
        assert registry.get_module_twin("agent", "$edgeAgent").connection_state == "Connected"
        assert registry.get_device("agent").connection_state == "Disconnected"
        assert agent.get_twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
        patches: list[dict[str, Any]] = []
        agent.on_twin_desired_properties_patch_received = patches.append
        apply = configurations.apply_configuration_on_edge_device
        apply("agent", ConfigurationContent(modules_content=manifest("one", "two")))
        first = until(lambda: patches and patches[0])
        assert first == {**manifest("one", "two")["$edgeAgent"]["properties.desired"], "$version": 2}
        apply("agent", ConfigurationContent(modules_content=manifest("two")))
        second = until(lambda: len(patches) > 1 and patches[1])
        assert second["modules"]["one"] is None  # a client that merges patches must lose it
        assert second["modules"]["two"] == first["modules"]["two"]
        assert agent.get_twin()["desired"] == {**manifest("two")["$edgeAgent"]["properties.desired"], "$version": 3}

        agent.patch_twin_reported_properties({"lastDesiredVersion": 3, "modules": {"two": {"x": 1}, "y": 2}})
        before = registry.get_module_twin("agent", "$edgeAgent")
        agent.patch_twin_reported_properties({"modules": {"two": None}})
        after = registry.get_module_twin("agent", "$edgeAgent")
        assert after.properties.reported["modules"] == {"y": 2}
        assert after.properties.reported["$version"] == before.properties.reported["$version"] + 1
        assert after.etag == before.etag
        assert after.version == before.version + 1
    until(lambda: registry.get_module("agent", "$edgeAgent").connection_state == "Disconnected")


def test_too_large_reported_properties_are_refused(azure: Live) -> None:
    azure.registry().create_device_with_sas("verbose", "", "", "enabled")
    with client(azure, "verbose") as device:
        for patch, status in (
            ({f"k{i}": "x" * 4000 for i in range(9)}, 403),
            ({"v": "x" * 5000}, 400),
            ({"a.b": 1}, 400),
        ):
            with pytest.raises(ClientError) as caught:
                device.patch_twin_reported_properties(patch)
            assert str(status) in str(caught.value.__cause__)
        assert device.get_twin()["reported"] == {"$version": 1}


def test_messages_reach_the_stream(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("sender", "", "", "enabled", iot_edge=True)
    azure.configurations().apply_configuration_on_edge_device(
        "sender", ConfigurationContent(modules_content=manifest("scorer"))
    )
    with azure.http(azure.token("service")) as http:
        start = _last(http)
        with client(azure, "sender", "scorer") as module:
            message = Message('{"score": 1}')
            message.message_id, message.correlation_id = "m-1", "c-1"
            message.content_type, message.content_encoding = "application/json", "utf-8"
            message.custom_properties["level"] = "a b/c+ü&=%"
            module.send_message_to_output(message, "amlOutput")
            module.send_message(b"\x00\xff")
        with client(azure, "sender") as device:
            device.send_message("text")
        lines = _read(http, start, 3)
    assert [line["sequence"] for line in lines] == sorted({line["sequence"] for line in lines})
    first, second, third = lines
    assert {name: first[name] for name in ("deviceId", "moduleId", "outputName", "messageId", "correlationId")} == {
        "deviceId": "sender",
        "moduleId": "scorer",
        "outputName": "amlOutput",
        "messageId": "m-1",
        "correlationId": "c-1",
    }
    assert (first["contentType"], first["contentEncoding"]) == ("application/json", "utf-8")
    assert (first["bodyJson"], first["properties"]) == ({"score": 1}, {"level": "a b/c+ü&=%"})
    assert (second["body"], second["outputName"]) == ("AP8=", None)
    assert "bodyJson" not in second
    assert (third["deviceId"], third["moduleId"], third["body"]) == ("sender", None, "dGV4dA==")


def test_the_stream_waits_for_messages(azure: Live) -> None:
    azure.registry().create_device_with_sas("later", "", "", "enabled")
    with azure.http() as http, client(azure, "later") as device:
        start = _last(http)
        # The client reads no answer that is silent for PATIENCE: what comes, comes long before the stream ends.
        with http.stream("GET", "/messages/events", params={"since": start, "timeout": 10 * PATIENCE}) as stream:
            lines = stream.iter_lines()
            device.send_message("1")
            assert json.loads(next(lines))["bodyJson"] == 1
            device.send_message("2")
            assert json.loads(next(lines))["bodyJson"] == 2
        began = time.monotonic()
        assert http.get("/messages/events", params={"since": start + 1000, "timeout": 0.5}).text == ""
        assert time.monotonic() - began > 0.4


def test_direct_method(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("callee", "", "", "enabled")
    method = CloudToDeviceMethod(method_name="ping", payload={"a": 1}, response_timeout_in_seconds=60)
    with pytest.raises(HttpOperationError) as offline:
        registry.invoke_device_method("callee", method)
    assert offline.value.response.headers["iothub-errorcode"] == "DeviceNotOnline"
    patient = CloudToDeviceMethod(
        method_name="ping", payload="early", response_timeout_in_seconds=60, connect_timeout_in_seconds=60
    )
    early = ThreadPoolExecutor(1).submit(lambda: azure.registry().invoke_device_method("callee", patient))
    with client(azure, "callee") as device:

        def answer(request: Any) -> None:
            if request.name == "ping":
                device.send_method_response(
                    MethodResponse.create_from_method_request(request, 201, {"pong": request.payload})
                )

        device.on_method_request_received = answer
        result = registry.invoke_device_method("callee", method)
        assert (result.status, result.payload) == (201, {"pong": {"a": 1}})
        assert early.result(PATIENCE).payload == {"pong": "early"}
        silent = CloudToDeviceMethod(method_name="silence", payload=None, response_timeout_in_seconds=5)
        with pytest.raises(HttpOperationError) as late:
            registry.invoke_device_method("callee", silent)
        assert late.value.response.headers["iothub-errorcode"] == "GatewayTimeout"


def test_wrong_credentials(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("locked", "", "", "enabled")
    other = registry.create_device_with_sas("other", "", "", "enabled").authentication.symmetric_key.primary_key
    for key in (new_key(), other):
        with pytest.raises(CredentialError), client(azure, "locked", key=key, connection_retry=False):
            pass
    secondary = registry.get_device("locked").authentication.symmetric_key.secondary_key
    with client(azure, "locked", key=secondary):
        pass
    registry.update_device_with_sas("locked", None, new_key(), new_key(), "disabled")
    with pytest.raises(CredentialError), client(azure, "locked", connection_retry=False):
        pass


def test_no_trust_and_nobody_there(azure: Live) -> None:
    key = azure.registry().create_device_with_sas("apart", "", "", "enabled").authentication.symmetric_key.primary_key
    text = f"HostName={azure.host};DeviceId=apart;SharedAccessKey={key};GatewayHostName="
    ca = azure.instance.ca.read_text()
    for gateway, options, expected in (
        (azure.instance.address, {}, ClientError),  # the system's CAs do not know ours
        ("127.255.255.254", {"server_verification_cert": ca}, ConnectionFailedError),  # nobody listens
    ):
        device = IoTHubDeviceClient.create_from_connection_string(text + gateway, connection_retry=False, **options)
        try:
            with pytest.raises(expected) as caught:
                device.connect()
            if expected is ClientError:
                assert type(caught.value.__cause__).__name__ == "TlsExchangeAuthError"
        finally:
            device.shutdown()


def test_a_module_starts_from_the_environment(azure: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """EdgeHubConnectionString and EdgeModuleCACertificateFile, as VS Code's simulator sets them."""
    registry = azure.registry()
    registry.create_device_with_sas("simulated", "", "", "enabled", iot_edge=True)
    key = registry.create_module_with_sas("simulated", "m", "", "", "").authentication.symmetric_key.primary_key
    text = f"HostName={azure.host};DeviceId=simulated;ModuleId=m;SharedAccessKey={key};GatewayHostName={azure.instance.address}"
    monkeypatch.setenv("EdgeHubConnectionString", text)
    monkeypatch.setenv("EdgeModuleCACertificateFile", str(azure.instance.ca))
    module = IoTHubModuleClient.create_from_edge_environment()
    try:
        module.connect()
        assert module.get_twin()["desired"]["$version"] == 1
    finally:
        module.shutdown()


@pytest.mark.parametrize("change", ["disable", "keys", "delete"])
def test_connections_end_with_what_they_stand_on(azure: Live, change: str) -> None:
    registry = azure.registry()
    name = f"ends-{change}"
    key = registry.create_device_with_sas(name, "", "", "enabled").authentication.symmetric_key
    with client(azure, name, connection_retry=False, auto_connect=False) as device:
        if change == "delete":
            registry.delete_device(name)
        elif change == "keys":
            registry.update_device_with_sas(name, None, new_key(), new_key(), "enabled")
        else:
            registry.update_device_with_sas(name, None, key.primary_key, key.secondary_key, "disabled")
        until(lambda: not device.connected)


def test_a_dropped_connection_comes_back_with_its_subscriptions(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("back", "", "", "enabled")
    with client(azure, "back", connection_retry_interval=1) as device:
        patches: list[Any] = []
        device.on_twin_desired_properties_patch_received = patches.append
        session = azure.call(lambda: _session(azure, "back"))
        azure.call(lambda: session.close("test"))
        until(lambda: azure.call(lambda: _session(azure, "back")) not in (None, session))
        registry.update_twin("back", Twin(properties=TwinProperties(desired={"x": 1})))
        assert until(lambda: patches) == [{"x": 1, "$version": 2}]


def test_one_session_per_identity(azure: Live) -> None:
    azure.registry().create_device_with_sas("single", "", "", "enabled")
    with client(azure, "single", connection_retry=False) as first, client(azure, "single") as second:
        until(lambda: not first.connected)
        assert second.get_twin()


def _session(azure: Live, device: str) -> Any:
    server = azure.service._front.server
    assert server
    return next((session for session in server.sessions if session.client_id == device), None)


def _last(http: Any) -> int:
    lines = http.get("/messages/events", params={"timeout": 0}).text.splitlines()
    return json.loads(lines[-1])["sequence"] if lines else 0


def _read(http: Any, since: int, count: int) -> list[dict[str, Any]]:
    return until(
        lambda: (
            len(lines := http.get("/messages/events", params={"since": since, "timeout": 0}).text.splitlines()) >= count
            and [json.loads(line) for line in lines]
        )
    )
