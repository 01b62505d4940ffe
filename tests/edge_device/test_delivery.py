"""Nothing that was acknowledged is lost: edge hub restarts, an absent module, an absent hub."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho  # type: ignore[import-untyped]
import pytest
import requests
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message

from localazure.edge import sas
from localazure.edge.messages import MAX_SIZE
from localazure.edge.send import _Hub
from tests.edge_device.place import Place, module
from tests.waiting import until

pytestmark = pytest.mark.docker

COUNT = 40


@pytest.fixture(scope="module")
def device(place: Place) -> str:
    """A device without containers: `a` and `b` are module identities that the tests connect as."""
    place.make_device("edge")
    routes = {
        "to-b": 'FROM /messages/modules/a/outputs/tob INTO BrokeredEndpoint("/modules/b/inputs/x")',
        "only-hot": 'FROM /messages/modules/a/outputs/hot WHERE $body.t > 20 AND kind = "k" INTO BrokeredEndpoint("/modules/b/inputs/hot")',
        "up": {"route": "FROM /messages/modules/a/outputs/up INTO $upstream", "priority": 0, "timeToLiveSecs": 600},
        "short": {
            "route": 'FROM /messages/modules/a/outputs/short INTO BrokeredEndpoint("/modules/b/inputs/x")',
            "timeToLiveSecs": 1,
        },
    }
    modules = {name: module("127.0.0.1/none", status="stopped", imagePullPolicy="never") for name in ("a", "b")}
    version = place.deploy("edge", place.manifest(modules, routes=routes))
    # The image does not exist, so no container comes to stand in the tests' way.
    place.wait_reported("edge", lambda state: state["lastDesiredVersion"] == version)
    place.wait_reported("edge", lambda state: state["lastDesiredStatus"]["code"] == 200, module="$edgeHub")
    return "edge"


class Client:
    """A module of the tests, outside of a container, on the real SDK."""

    def __init__(self, place: Place, device: str, name: str) -> None:
        gateway = json.loads((place.folder(device) / "gateway.json").read_text())
        key = place.service.get_module(device, name).authentication.symmetric_key.primary_key
        self.sdk = IoTHubModuleClient.create_from_connection_string(
            f"HostName={place.host};DeviceId={device};ModuleId={name};SharedAccessKey={key};GatewayHostName={gateway['address']}",
            server_verification_cert=Path(gateway["ca"]).read_text(),
            connection_retry_interval=1,
        )
        self.received: list[Any] = []

    def listen(self) -> None:
        self.sdk.on_message_received = self.received.append
        self.sdk.connect()

    def send(self, output: str, body: Any, **properties: str) -> None:
        message = Message(
            json.dumps(body), message_id=f"m{body}", content_type="application/json", content_encoding="utf-8"
        )
        message.custom_properties = properties
        self.sdk.send_message_to_output(message, output)

    def bodies(self) -> list[Any]:
        return [json.loads(message.data) for message in self.received]


@contextlib.contextmanager
def connected(place: Place, device: str, name: str) -> Iterator[Client]:
    client = Client(place, device, name)
    try:
        yield client
    finally:
        client.sdk.shutdown()


def kill(place: Place, device: str) -> None:
    """As the power fails: the edge hub's process without a word. Returns when the next one runs."""
    entry = place.devices._entries[place.folder(device)]
    assert entry.process
    old = entry.process.pid
    os.kill(old, signal.SIGKILL)
    until(lambda: entry.process is not None and entry.process.pid != old)


def test_messages_wait_for_their_module_in_order_and_over_a_kill(place: Place, device: str) -> None:
    with connected(place, device, "a") as a:
        for number in range(COUNT):
            a.send("tob", number)
    kill(place, device)
    with connected(place, device, "b") as b:
        until(lambda: _try(b.listen))
        until(lambda: len(b.received) >= COUNT)
        # The SDK's handlers run four at a time, so neighbours may swap places between its queue and ours.
        assert sorted(b.bodies()) == list(range(COUNT))
        first = next(message for message in b.received if message.message_id == "m0")
        assert (first.input_name, first.content_type, first.content_encoding) == ("x", "application/json", "utf-8")
        assert (first.custom_properties["$.cdid"], first.custom_properties["$.cmid"]) == (device, "a")
    with connected(place, device, "b") as b:
        b.listen()
        time.sleep(0.5)
        assert b.received == []  # acknowledged ones are gone


def test_edge_hub_killed_under_traffic_loses_nothing(place: Place, device: str) -> None:
    with connected(place, device, "a") as a, connected(place, device, "b") as b:
        a.sdk.connect()
        b.listen()
        for number in range(COUNT):
            if number == COUNT // 2:
                kill(place, device)
            until(partial(_try, partial(a.send, "tob", number)))
        until(lambda: set(b.bodies()) >= set(range(COUNT)))


def test_condition_and_properties(place: Place, device: str) -> None:
    with connected(place, device, "a") as a, connected(place, device, "b") as b:
        b.listen()
        a.send("hot", {"t": 30}, kind="k", odd="a b/c&=?#%ü")
        a.send("hot", {"t": 10}, kind="k")
        a.send("hot", {"t": 30}, kind="other")
        a.send("nowhere", {"t": 30})
        until(lambda: b.received)
        time.sleep(0.3)
        assert b.bodies() == [{"t": 30}]
        assert b.received[0].input_name == "hot"
        assert b.received[0].custom_properties["odd"] == "a b/c&=?#%ü"


def test_time_to_live_is_over(place: Place, device: str) -> None:
    with connected(place, device, "a") as a:
        a.send("short", 1)
        a.send("tob", 2)
    time.sleep(1.2)
    with connected(place, device, "b") as b:
        b.listen()
        until(lambda: b.received)
        assert b.bodies() == [2]


def test_messages_for_the_hub_wait_while_it_is_away(place: Place, device: str) -> None:
    hub = _Hub(place.connection_string, str(place.instance.ca))

    def came() -> list[dict[str, Any]]:
        with contextlib.suppress(requests.RequestException):  # the hub is only just coming back
            return list(hub.events(since, time.monotonic()))
        return []

    since = hub.last_sequence()
    with connected(place, device, "a") as a:
        a.send("up", 1, colour="blue")
        until(came)
        place.do(place.hubs.stop())
        for number in (2, 3, 4):
            a.send("up", number)
    kill(place, device)
    place.do(place.hubs.start())
    until(lambda: len(came()) >= 4)
    found = came()
    bodies = [event["bodyJson"] for event in found]
    assert list(dict.fromkeys(bodies)) == [1, 2, 3, 4]
    assert found[0]["messageId"] == "m1"
    assert (found[0]["deviceId"], found[0]["moduleId"], found[0]["outputName"]) == (device, "a", "up")
    assert found[0]["properties"] == {"colour": "blue"}
    assert (found[0]["contentType"], found[0]["contentEncoding"]) == ("application/json", "utf-8")


def test_strangers_are_refused(place: Place, device: str) -> None:
    with connected(place, device, "a") as a:
        until(partial(_try, a.sdk.connect))  # the edge hub was killed above: it listens again
    gateway = json.loads((place.folder(device) / "gateway.json").read_text())
    place.service.create_device_with_sas("stranger", "", "", "enabled")
    key = place.service.get_device("stranger").authentication.symmetric_key.primary_key
    own = place.service.get_module(device, "a").authentication.symmetric_key.primary_key
    for parts in (f"DeviceId=stranger;SharedAccessKey={key}", f"DeviceId={device};SharedAccessKey={own}"):
        client = IoTHubDeviceClient.create_from_connection_string(
            f"HostName={place.host};{parts};GatewayHostName={gateway['address']}",
            server_verification_cert=Path(gateway["ca"]).read_text(),
        )
        with pytest.raises(Exception, match="Credentials"):
            client.connect()
        client.shutdown()


def _try(function: Any) -> bool:
    try:
        function()
    except Exception:
        return False
    return True


def test_module_may_only_speak_for_itself(place: Place, device: str) -> None:
    gateway = json.loads((place.folder(device) / "gateway.json").read_text())
    key = place.service.get_module(device, "a").authentication.symmetric_key.primary_key
    for topic, payload in (
        (f"devices/{device}/modules/b/messages/events/", b"{}"),
        (f"devices/{device}/messages/events/", b"{}"),
        (f"devices/{device}/modules/a/inputs/x", b"{}"),
        (f"devices/{device}/modules/a/messages/events/", b"x" * (MAX_SIZE + 1)),
    ):
        client = paho.Client(f"{device}/a", clean_session=True)
        client.tls_set(gateway["ca"])
        resource = f"{place.host}/devices/{device}/modules/a"
        client.username_pw_set(f"{place.host}/{device}/a/?api-version=2019-10-01", sas.token(resource, key))
        granted: list[int] = []
        ended: list[int] = []
        acknowledged: list[int] = []
        client.on_subscribe = lambda _c, _u, _m, codes, granted=granted: granted.extend(codes)
        client.on_disconnect = lambda _c, _u, code, ended=ended: ended.append(code)
        client.on_publish = lambda _c, _u, mid, acknowledged=acknowledged: acknowledged.append(mid)
        client.reconnect_delay_set(60)
        client.connect(gateway["address"], 8883)
        client.loop_start()
        client.subscribe(
            [(f"devices/{device}/modules/b/inputs/#", 1), ("#", 1), (f"devices/{device}/modules/a/inputs/#", 1)]
        )
        until(granted.copy)
        assert granted == [0x80, 0x80, 1]
        client.publish(topic, payload, qos=1)
        until(ended.copy)
        assert acknowledged == []
        client.loop_stop()
