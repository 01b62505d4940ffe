"""Hubs come and go, restart on their ports, and lose nothing that was acknowledged when the process is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from localazure import certs
from localazure.hub import HubService
from localazure.hub.policies import new_key
from localazure.hub.sas import make
from localazure.instance import HUB_PORTS, MQTT_PORT, Instance, InstanceError, load_or_create
from localazure.mqtt.packets import Puback, Publish
from localazure.store import Store
from tests.hub.live import VERSION, Live, certs_context, live
from tests.hub.manifest import manifest
from tests.mqtt.client import Client
from tests.waiting import PATIENCE

_SERVER = """
import asyncio, json, sys
from pathlib import Path
from localazure import certs
from localazure.hub import HubService
from localazure.instance import load_or_create
from localazure.store import Store

async def main():
    instance = load_or_create(Path(sys.argv[1]))
    certs.ensure(instance)
    service = HubService(instance, Store(instance.database))
    await service.start()
    host = await service.create("kill-hub")
    print(json.dumps({"host": host, "key": service.keys("kill-hub")[0]["primaryKey"]}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def start(folder: Path) -> tuple[subprocess.Popen[str], httpx.Client]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout
    told = json.loads(process.stdout.readline())
    token = make(told["host"], told["key"], "iothubowner")
    client = httpx.Client(
        base_url=f"https://{told['host']}",
        verify=certs_context(load_or_create(folder)),
        headers={"Authorization": token},
        params=VERSION,
        timeout=PATIENCE,
    )
    return process, client


def test_kill_loses_nothing(tmp_path: Path) -> None:
    process, client = start(tmp_path)
    try:
        device = client.put("/devices/d", json={"deviceId": "d", "capabilities": {"iotEdge": True}}).json()
        content = {"modulesContent": manifest("one")}
        assert client.post("/devices/d/applyConfigurationContent", json=content).status_code == 204
        client.put("/configurations/c", json={"id": "c", "content": content}).raise_for_status()
        twin = client.patch("/twins/d", json={"tags": {"n": 99}}).json()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        url = client.base_url
        process, client = start(tmp_path)
        assert client.base_url == url
        assert client.get("/devices/d").json() == device
        assert client.get("/twins/d").json() == twin
        assert len(client.get("/devices/d/modules").json()) == 3
        desired = client.get("/twins/d/modules/%24edgeAgent").json()["properties"]["desired"]
        assert set(desired["modules"]) == {"one"}
        assert client.get("/configurations/c").json()["content"] == content
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_kill_loses_no_acknowledged_message(tmp_path: Path) -> None:
    process, client = start(tmp_path)
    try:
        device = client.put("/devices/d", json={"deviceId": "d"}).json()
        host = client.base_url.netloc.decode()
        token = make(f"{host}/devices/d", device["authentication"]["symmetricKey"]["primaryKey"])
        user = f"{host}/d/?api-version=2019-10-01"
        acknowledged = asyncio.run(_send_until_killed(load_or_create(tmp_path), user, token, process))
        process.wait(PATIENCE)
        process, client = start(tmp_path)
        stored = {
            line["messageId"]
            for line in map(json.loads, client.get("/messages/events", params={"timeout": 0}).text.splitlines())
        }
        assert len(acknowledged) >= 300
        assert acknowledged <= stored
    finally:
        process.kill()
        process.wait(PATIENCE)


async def _send_until_killed(instance: Instance, user: str, token: str, process: subprocess.Popen[str]) -> set[str]:
    """The ids of the messages whose PUBACK came before the process, killed while busy, was gone."""
    raw = Client(*await asyncio.open_connection(instance.address, MQTT_PORT, ssl=certs_context(instance)))
    await raw.connect("d", username=user, password=token.encode())
    acknowledged: set[str] = set()

    async def send() -> None:
        for number in range(1, 20_000):
            await raw.send(Publish(f"devices/d/messages/events/%24.mid={number}", b"x", 1, number))

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                packet = await raw.receive()
                assert isinstance(packet, Puback)
                acknowledged.add(str(packet.packet_id))
                if len(acknowledged) == 300:
                    os.kill(process.pid, signal.SIGKILL)
    except (EOFError, OSError):
        return acknowledged
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        raw.writer.close()


def test_hubs_come_and_go(tmp_path: Path) -> None:
    with live(tmp_path, "first") as azure:
        service = azure.service
        second = azure.run(lambda: service.create("second"))
        assert {azure.host, second} == {f"{azure.instance.address}:{port}" for port in HUB_PORTS[:2]}
        assert azure.run(lambda: service.create("FIRST")) == azure.host
        assert azure.call(lambda: [key["keyName"] for key in service.keys("Second")]) == [
            "iothubowner",
            "service",
            "device",
            "registryRead",
            "registryReadWrite",
        ]
        rights = {key["keyName"]: key["rights"] for key in azure.call(lambda: service.keys("second"))}
        assert rights["iothubowner"] == "RegistryWrite, ServiceConnect, DeviceConnect"
        with azure.http() as http:
            http.put("/devices/d", json={"deviceId": "d", "capabilities": {"iotEdge": True}}).raise_for_status()
        token = make(second, azure.key())  # the first hub's key on the second
        with httpx.Client(verify=certs_context(azure.instance), timeout=PATIENCE) as other:
            answer = other.get(f"https://{second}/devices", params=VERSION, headers={"Authorization": token})
            assert answer.status_code == 401
        with pytest.raises(KeyError, match="third"):
            azure.call(lambda: service.keys("third"))
        with pytest.raises(KeyError, match="policy"):
            azure.call(lambda: service.regenerate("first", "nothing", "primary"))
        azure.run(lambda: service.delete("First"))
        assert [(event[1], event[2] is None) for event in azure.edge_events] == [("d", False), ("d", True)]
        with pytest.raises(KeyError):
            azure.call(lambda: service.keys("first"))
        with socket.socket() as probe:
            assert probe.connect_ex((azure.instance.address, HUB_PORTS[0])) != 0
        azure.hub, azure.host = "first", azure.run(lambda: service.create("first"))
        with azure.http() as http:
            assert http.get("/devices").json() == []


def test_restart_keeps_ports_and_keys_and_tells_edge_devices(tmp_path: Path) -> None:
    with live(tmp_path) as azure:
        azure.run(lambda: azure.service.create("another"))
        host, key, edge = azure.host, azure.key(), new_key()
        azure.registry().create_device_with_sas("e", edge, new_key(), "enabled", iot_edge=True)
        azure.run(lambda: azure.service.delete("another"))
    with live(tmp_path) as azure:
        assert (azure.host, azure.key()) == (host, key)
        assert azure.edge_events == [(host, "e", edge)]
        assert azure.registry().get_device("e").connection_state == "Disconnected"


def test_a_taken_port_is_passed_over_or_named(tmp_path: Path) -> None:
    instance = load_or_create(tmp_path)
    certs.ensure(instance)
    with socket.socket() as squatter:
        squatter.bind((instance.address, HUB_PORTS[0]))
        squatter.listen()

        async def create() -> str:
            service = HubService(instance, Store(instance.database))
            try:
                await service.start()
                return await service.create("h")
            finally:
                await service.stop()

        assert asyncio.run(create()) == f"{instance.address}:{HUB_PORTS[1]}"
    with socket.socket() as squatter:
        squatter.bind((instance.address, HUB_PORTS[1]))
        squatter.listen()
        with pytest.raises(InstanceError, match=f"'h'.*{HUB_PORTS[1]}"):
            asyncio.run(create())
    with socket.socket() as squatter:
        squatter.bind((instance.address, MQTT_PORT))
        squatter.listen()
        with pytest.raises(InstanceError, match=str(MQTT_PORT)):
            asyncio.run(create())


def test_a_deleted_hub_lets_go_of_its_streams(tmp_path: Path) -> None:
    long = {
        "timeout": 10 * PATIENCE
    }  # the client reads no answer that is silent for PATIENCE: this one ends before its time
    with (
        live(tmp_path) as azure,
        azure.http() as http,
        http.stream("GET", "/messages/events", params=long) as stream,
    ):
        azure.run(lambda: azure.service.delete(azure.hub))
        assert list(stream.iter_lines()) == []


def test_a_full_disk_is_an_error_and_no_more(tmp_path: Path) -> None:
    with live(tmp_path) as azure, azure.http() as http:
        store = azure.service._store
        device = http.put("/devices/d", json={"deviceId": "d"}).json()
        fields = {
            "username": f"{azure.host}/d/?api-version=2019-10-01",
            "password": make(
                f"{azure.host}/devices/d", device["authentication"]["symmetricKey"]["primaryKey"]
            ).encode(),
        }
        pages = azure.call(lambda: store.all("PRAGMA page_count"))[0][0]
        azure.call(lambda: store.execute(f"PRAGMA max_page_count = {pages}"))
        big = {"tags": {f"k{number}": "x" * 3000 for number in range(2)}, "properties": {"desired": {"a": "x" * 4000}}}
        answers = [http.put(f"/devices/n{number}", json={"deviceId": f"n{number}"}) for number in range(20)]
        assert answers[-1].status_code == 500
        assert answers[-1].headers["iothub-errorcode"] == "ServerError"
        assert http.patch("/twins/d", json=big).status_code == 500
        assert asyncio.run(_publish(azure, fields, b"x" * 20_000)) is False
        azure.call(lambda: store.execute("PRAGMA max_page_count = 1000000"))
        twin = http.get("/twins/d").json()
        assert (twin["tags"], twin["properties"]["desired"]["$version"]) == ({}, 1)
        assert len(http.get("/devices").json()) == 1 + sum(answer.status_code == 200 for answer in answers)
        assert http.patch("/twins/d", json=big).status_code == 200
        assert asyncio.run(_publish(azure, fields, b"x" * 20_000)) is True
        assert len(http.get("/messages/events", params={"timeout": 0}).text.splitlines()) == 1


async def _publish(azure: Live, fields: dict[str, Any], payload: bytes) -> bool:
    """Whether the message was acknowledged; if not, the hub has closed the connection."""
    raw = Client(*await asyncio.open_connection(azure.instance.address, MQTT_PORT, ssl=certs_context(azure.instance)))
    try:
        await raw.connect("d", **fields)
        await raw.send(Publish("devices/d/messages/events/", payload, 1, 1))
        return await raw.receive() == Puback(1)
    except (EOFError, OSError):
        return False
    finally:
        raw.writer.close()
