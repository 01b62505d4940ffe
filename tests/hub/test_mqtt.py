"""The MQTT front with raw clients: what the device SDK would never do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from localazure.hub import front, messages
from localazure.hub.policies import new_key
from localazure.hub.sas import make
from localazure.instance import MQTT_PORT
from localazure.mqtt.packets import Connack, Disconnect, Puback, Publish, Return, Suback
from tests.hub.live import Live, certs_context
from tests.mqtt.client import Client
from tests.waiting import PATIENCE, until

VERSION = "?api-version=2019-10-01"
EVENTS = "/messages/events/"


@pytest.fixture(scope="module", autouse=True)
def identities(azure: Live) -> None:
    registry = azure.registry()
    for name in ("a", "b"):
        registry.create_device_with_sas(name, "", "", "enabled", iot_edge=True)
        registry.create_module_with_sas(name, "m", "me", "", "")


def key_of(azure: Live, device: str, module: str = "") -> str:
    registry = azure.registry()
    identity = registry.get_module(device, module) if module else registry.get_device(device)
    return identity.authentication.symmetric_key.primary_key


def credentials(azure: Live, device: str, module: str = "", **changes: Any) -> dict[str, Any]:
    client_id = f"{device}/{module}" if module else device
    resource = f"{azure.host}/devices/{device}" + (f"/modules/{module}" if module else "")
    token = make(changes.pop("resource", resource), changes.pop("key", "") or key_of(azure, device, module), **changes)
    return {"client_id": client_id, "username": f"{azure.host}/{client_id}/{VERSION}", "password": token.encode()}


def talk(azure: Live, main: Callable[[Callable[[], Awaitable[Client]]], Awaitable[Any]]) -> Any:
    """Run `main` with a function that opens raw connections; they are closed in the end."""

    async def run() -> Any:
        opened = []

        async def connect() -> Client:
            tls = certs_context(azure.instance)
            opened.append(Client(*await asyncio.open_connection(azure.instance.address, MQTT_PORT, ssl=tls)))
            return opened[-1]

        try:
            async with asyncio.timeout(2 * PATIENCE):
                return await main(connect)
        finally:
            for client in opened:
                client.writer.close()

    return asyncio.run(run())


def test_who_may_connect(azure: Live) -> None:
    owner, service, device_policy = (azure.key(name) for name in ("iothubowner", "service", "device"))
    good = credentials(azure, "a")
    module = credentials(azure, "a", "m")
    whole, a = azure.host, f"{azure.host}/devices/a"
    cases: list[tuple[dict[str, Any], bool]] = [
        (good, True),
        (module, True),
        (credentials(azure, "a", resource=whole, key=device_policy, policy="device"), True),
        (credentials(azure, "a", "m", resource=a, key=owner, policy="iothubowner"), True),
        (credentials(azure, "b", resource=a, key=device_policy, policy="device"), False),
        (credentials(azure, "a", resource=whole, key=service, policy="service"), False),
        (credentials(azure, "a", key=key_of(azure, "b")), False),
        (credentials(azure, "a", key=key_of(azure, "a", "m")), False),
        (credentials(azure, "a", "m", key=key_of(azure, "a")), False),
        (
            credentials(azure, "a", "m", key=key_of(azure, "a"), resource=a),
            False,
        ),  # the device's key is not its modules'
        (credentials(azure, "a", resource=f"{azure.host}/devices/b"), False),
        (credentials(azure, "a", resource="127.0.0.1:1/devices/a"), False),
        (credentials(azure, "a", resource=whole), False),
        (credentials(azure, "a", lifetime=-1), False),
        (credentials(azure, "none", key=new_key()), False),
        ({**good, "client_id": "b"}, False),
        ({**good, "username": good["username"].replace("/a/", "/b/"), "client_id": "b"}, False),
        ({**good, "username": good["username"].replace(VERSION, "")}, False),
        ({**good, "username": good["username"].replace(VERSION, "?api-version=latest")}, False),
        ({**good, "username": good["username"].replace(azure.host, azure.instance.address)}, False),
        ({**good, "username": good["username"].replace(azure.host, "127.0.0.1:20500")}, False),
        ({**good, "password": b"\xff"}, False),
        ({**good, "password": None}, False),
        ({**good, "username": None, "password": None}, False),
    ]

    async def main(connect: Any) -> None:
        for number, (fields, allowed) in enumerate(cases):
            client = await connect()
            answer = await client.connect(**fields)
            assert answer == Connack(False, Return.ACCEPTED if allowed else Return.NOT_AUTHORIZED), number
            client.writer.close()

    talk(azure, main)


def test_topics_of_others(azure: Live) -> None:
    fields = {name: credentials(azure, *name.split("/")) for name in ("a", "a/m", "a/$edgeHub")}
    filters = {
        "a": ["$iothub/twin/res/#", "devices/a/messages/devicebound/#"],
        "a/m": ["$iothub/methods/POST/#", "devices/a/modules/m/inputs/#"],
    }
    forbidden = {
        "a": [
            "#",
            "$iothub/#",
            "devices/b/messages/devicebound/#",
            "devices/a/modules/m/inputs/#",
            "devices/+/messages/events/#",
        ],
        "a/m": [
            "devices/a/messages/devicebound/#",
            "devices/b/modules/m/inputs/#",
            "devices/a/modules/$edgeHub/inputs/#",
        ],
    }
    topics = {
        "a": [
            "devices/b/messages/events/",
            "devices/a/modules/m/messages/events/",
            "devices/a/messages/devicebound/x",
            "x",
            "$iothub/x",
        ],
        "a/$edgeHub": ["devices/a/messages/events/", "devices/a/modules/m/messages/events/"],
        "a/m": ["devices/a/messages/events/", "devices/b/modules/m/messages/events/", "devices/a/modules/m/inputs/x"],
    }

    async def main(connect: Any) -> None:
        for who in filters:
            client = await connect()
            await client.connect(**fields[who])
            assert await client.subscribe(*filters[who], *forbidden[who]) == (1, 1, *[0x80] * len(forbidden[who]))
        for who, refused in topics.items():
            for topic in refused:
                client = await connect()
                await client.connect(**fields[who])
                await client.send(Publish(topic, b"{}", 1, 1))
                assert await client.closed(), topic

    talk(azure, main)


def test_twin_requests(azure: Live) -> None:
    fields = credentials(azure, "b", "m")

    async def main(connect: Any) -> None:
        client = await connect()
        await client.connect(**fields)
        await client.subscribe("$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#", qos=0)

        async def ask(topic: str, payload: bytes) -> tuple[str, bytes]:
            await client.send(Publish(topic, payload))
            answer = await client.receive()
            assert isinstance(answer, Publish)
            return answer.topic, answer.payload

        topic, body = await ask("$iothub/twin/GET/?$rid=1", b"")
        assert topic == "$iothub/twin/res/200/?$rid=1"
        assert json.loads(body) == {"desired": {"$version": 1}, "reported": {"$version": 1}}
        report = "$iothub/twin/PATCH/properties/reported/?$rid=r-2"
        assert await ask(report, b'{"a": {"b": 1}}') == ("$iothub/twin/res/204/?$rid=r-2&$version=2", b"")
        for payload in (b"", b"[]", b"{", b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"$x": 1}'):
            assert (await ask(report, payload))[0] == "$iothub/twin/res/400/?$rid=r-2"
        await client.send(Publish("$iothub/twin/GET/", b""))
        assert await client.closed()

    talk(azure, main)


def test_an_answer_goes_to_one_client_only(azure: Live) -> None:
    fields = [credentials(azure, "a"), credentials(azure, "b")]

    async def main(connect: Any) -> None:
        clients = [await connect(), await connect()]
        for client, who in zip(clients, fields, strict=True):
            await client.connect(**who)
            await client.subscribe("$iothub/twin/res/#")
        await clients[0].send(Publish("$iothub/twin/GET/?$rid=1", b""))
        assert isinstance(await clients[0].receive(), Publish)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await clients[1].receive()

    talk(azure, main)


def test_the_connection_ends_with_the_token(azure: Live) -> None:
    """A token too short for this machine to connect with is refused: then a longer one is tried."""

    async def main(connect: Any) -> None:
        for lifetime in (2, 10, 60):
            began = time.time()
            fields = await asyncio.to_thread(credentials, azure, "a", lifetime=lifetime)
            client = await connect()
            if await client.connect(**fields) == Connack(False, Return.ACCEPTED):
                assert await client.closed()
                assert time.time() - began > lifetime - 1, "se counts whole seconds"
                return
        raise AssertionError("no token was accepted")

    talk(azure, main)


def test_messages_are_bounded(azure: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "RETENTION", 50)
    fields = credentials(azure, "b")

    async def main(connect: Any) -> None:
        client = await connect()
        await client.connect(**fields)
        for start in range(1, 301, 50):
            await client.send(*(Publish(f"devices/b{EVENTS}", b"%d" % n, 1, n) for n in range(start, start + 50)))
            for n in range(start, start + 50):
                assert await client.receive() == Puback(n)
        await client.send(Publish(f"devices/b{EVENTS}", b"x" * (messages.MAX_BYTES + 1), 1, 1))
        assert await client.closed()

    talk(azure, main)
    with azure.http() as http:
        lines = http.get("/messages/events", params={"timeout": 0}).text.splitlines()
    assert 50 <= len(lines) < 150
    assert json.loads(lines[-1])["bodyJson"] == 300


def test_a_client_that_ignores_its_patches_is_closed(azure: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_MAX_WAITING", 15)
    fields = credentials(azure, "b", "m")

    async def main(connect: Any) -> None:
        client = await connect()
        await client.connect(**fields)
        assert await client.subscribe("$iothub/twin/PATCH/properties/desired/#") == (1,)

        def write() -> None:
            with azure.http() as http:
                for number in range(16):
                    http.patch("/twins/b/modules/m", json={"properties": {"desired": {"n": number}}}).raise_for_status()

        await asyncio.to_thread(write)
        got = [await client.receive() for _ in range(10)]
        assert [json.loads(packet.payload)["n"] for packet in got if isinstance(packet, Publish)] == list(range(10))
        assert await client.closed()

    talk(azure, main)


def test_subscriptions_are_kept(azure: Live) -> None:
    fields = credentials(azure, "a", "m")

    async def main(connect: Any) -> None:
        client = await connect()
        await client.connect(**fields, clean_session=False)
        assert isinstance(await _subscribed(client), Suback)
        await client.send(Disconnect())
        assert await client.closed()
        again = await connect()
        assert (await again.connect(**fields, clean_session=False)).session_present
        await again.send(Publish("$iothub/twin/GET/?$rid=1", b""))
        assert isinstance(await again.receive(), Publish)
        await again.send(Disconnect())
        fresh = await connect()
        assert not (await fresh.connect(**fields, clean_session=True)).session_present

    talk(azure, main)
    until(lambda: azure.registry().get_module("a", "m").connection_state == "Disconnected")


async def _subscribed(client: Client) -> Any:
    from localazure.mqtt.packets import Subscribe

    await client.send(Subscribe(1, (("$iothub/twin/res/#", 0),)))
    return await client.receive()
