"""Bodies, connections and documents that mean harm, at every listener: refused, bounded, and the daemon goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from localazure.bodies import BodyError, parse_json
from localazure.instance import ARM_PORT, IDENTITY_PORT, load_or_create
from localazure.server import HttpServer, Patience
from tests.faults.cloud import WORKSPACE, Cloud
from tests.waiting import PATIENCE

DOCUMENTS = {
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 200 + b"1" + b"}" * 200,
    "NaN": b'{"location": NaN}',
    "infinite": b'{"location": 1e999}',
    "endless number": b'{"location": ' + b"9" * 100_000 + b"}",
    "lone surrogate": b'{"location": "\\ud800"}',
    "not UTF-8": b'{"location": "\xff"}',
    "cut off": b'{"location": ',
    "no object": b"[]",
    "empty": b"",
    "two documents": b"{}{}",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_json_is_a_400_everywhere(cloud: Cloud, name: str) -> None:
    for url, token in json_doors(cloud):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with cloud.client(headers=headers) as client:
            method = "POST" if "/modelmanagement/" in url else "PUT"
            answer = client.request(method, url, content=DOCUMENTS[name])
        assert answer.status_code == 400, (url, answer.text)
        assert answer.json(), url
    assert cloud.arm("GET", f"{cloud.subscription}/resourceGroups/hostile").status_code == 404


def test_of_equal_keys_the_last_counts(cloud: Cloud) -> None:
    with cloud.client(
        headers={"Authorization": f"Bearer {cloud.tokens.issue('https://management.azure.com/')}"}
    ) as client:
        url = f"{cloud.instance.arm_url}{cloud.subscription}/resourceGroups/twice?api-version=2024-03-01"
        answer = client.put(
            url,
            content=b'{"location": "nowhere", "location": "westeurope"}',
            headers={"Content-Type": "application/json"},
        )
    assert (answer.status_code, answer.json()["location"]) == (201, "westeurope")


def test_bodies_are_limited_at_every_listener(cloud: Cloud) -> None:
    many = b" " * (6 * 2**20)
    for url, token in json_doors(cloud):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with cloud.client(headers=headers) as client:
            method = "POST" if "/modelmanagement/" in url else "PUT"
            assert client.request(method, url, content=many).status_code == 413, url
    form = {"Content-Type": "application/x-www-form-urlencoded", "Metadata": "true"}
    for url in (
        cloud.instance.identity_url,
        f"https://{cloud.login_server}/oauth2/token",
        f"{cloud.instance.arm_url}/{cloud.instance.tenant_id}/oauth2/v2.0/token",
    ):
        with cloud.client(headers=form) as client:
            assert client.post(url, content=b"a" * 100_000).status_code == 413, url
            with pytest.raises(httpx.TransportError):  # without a length: cut off
                client.post(url, content=endless())
    assert cloud.up()


def endless() -> Iterator[bytes]:
    for _ in range(10_000):
        yield b"a" * 10_000


def json_doors(cloud: Cloud) -> list[tuple[str, str]]:
    arm, hubs = (
        cloud.tokens.issue(audience) for audience in ("https://management.azure.com/", "https://iothubs.azure.net")
    )
    workspace = cloud.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
    base = cloud.instance.arm_url
    return [
        (f"{base}{cloud.subscription}/resourceGroups/hostile?api-version=2024-03-01", arm),
        (f"https://{cloud.host}/devices/hostile?api-version=2021-04-12", hubs),
        (f"{base}/modelmanagement/v1.0{workspace}/models", arm),
    ]


def test_strict_json() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, null, true, "\xc3\xbc"]}') == {"a": [1, 2.5, None, True, "ü"]}
    for text in DOCUMENTS.values():
        if text != b"[]":
            with pytest.raises(BodyError):
                parse_json(text)


def test_slow_clients_are_cut_off_and_others_served(tmp_path: Path) -> None:
    """The daemon's own listeners with less patience."""
    instance = load_or_create(tmp_path / "azure")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        await JSONResponse(len(body))(scope, receive, send)

    async def run() -> None:
        server = HttpServer(app, instance.address, IDENTITY_PORT, patience=Patience(head_seconds=1, piece_seconds=1))
        await server.start()
        try:
            silent = [
                await begin(instance.address, b""),
                await begin(instance.address, b"GET / HT"),
                await begin(instance.address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"),
                await begin_again(instance.address),
            ]
            dripping = asyncio.create_task(drip(instance.address))
            assert await served(instance.address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            for reader, writer in silent:
                await ended(reader)
                writer.close()
            await dripping
        finally:
            await server.stop()
        server = HttpServer(app, instance.address, IDENTITY_PORT, patience=Patience(connections=20))
        await server.start()
        try:
            crowd = [await begin(instance.address, b"") for _ in range(20)]
            async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
                refused = await client.get(f"http://{instance.address}:{IDENTITY_PORT}/")
            assert refused.status_code == 503
            for _, writer in crowd:
                writer.close()
        finally:
            await server.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def begin(address: str, data: bytes) -> Pair:
    reader, writer = await asyncio.open_connection(address, IDENTITY_PORT)
    writer.write(data)
    return reader, writer


async def served(address: str, request: bytes) -> Pair:
    """A connection whose first request was answered. On a machine that stands still it may be this client that is slow: then again."""
    while True:
        reader, writer = await begin(address, request)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(1) == str(len(request.partition(b"\r\n\r\n")[2])).encode()
            return reader, writer


async def begin_again(address: str) -> Pair:
    """The next request of a connection comes slowly."""
    reader, writer = await served(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.write(b"GET / HT")
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass


async def drip(address: str) -> None:
    """A header a byte at a time, for ever."""
    reader, writer = await asyncio.open_connection(address, IDENTITY_PORT)
    end = asyncio.create_task(ended(reader))
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    while not end.done():
        writer.write(b"a")
        await asyncio.sleep(0.05)


def test_the_daemon_answers_while_hundreds_of_silent_clients_hang_on(cloud: Cloud) -> None:
    address = cloud.instance.address
    sockets = [socket.create_connection((address, port)) for port in (ARM_PORT, IDENTITY_PORT) for _ in range(150)]
    try:
        for one in sockets:
            one.sendall(b"\x16")  # the beginning of a TLS greeting, or of nothing
        assert cloud.arm("GET", cloud.group).status_code == 200
        assert any(hangs(one) for one in sockets), "it answered while they hung on, not once they were cut off"
    finally:
        for one in sockets:
            one.close()


def hangs(one: socket.socket) -> bool:
    """Whether the other side has not ended the connection."""
    one.setblocking(False)
    try:
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_what_resources_lead_to_and_nobody_serves_is_501(cloud: Cloud) -> None:
    account = cloud.arm("GET", cloud.id("Microsoft.Storage/storageAccounts", "faultystorage")).json()
    vault = cloud.arm("GET", cloud.id("Microsoft.KeyVault/vaults", "faulty-vault")).json()
    places = [*account["properties"]["primaryEndpoints"].values(), f"{vault['properties']['vaultUri']}secrets/a"]
    with cloud.client() as client:
        for place in (*places, f"{cloud.instance.arm_url}/", f"{cloud.instance.arm_url}/applicationinsights/v2/track"):
            answer = client.get(place)
            assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented"), place
            assert httpx.URL(place).path in answer.json()["error"]["message"]


def test_garbage_on_every_port(cloud: Cloud) -> None:
    trust: Any = ssl.create_default_context(cafile=str(cloud.instance.ca))
    for host in (f"{cloud.instance.address}:{ARM_PORT}", cloud.host, cloud.login_server):
        name, _, port = host.partition(":")
        for data in (b"\x00" * 100, b"GET " + b"a" * 200_000, b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
            with (
                socket.create_connection((name, int(port)), timeout=PATIENCE) as raw,
                trust.wrap_socket(raw, server_hostname=name) as secure,
            ):
                try:
                    secure.sendall(data)
                    assert secure.recv(100)[:12] in (b"HTTP/1.1 400", b"")
                except (ConnectionError, ssl.SSLError):
                    pass
    for path in ("/subscriptions/%00", "/subscriptions/..%2f..%2fetc", "/%ff", "//", "/discovery/%2e%2e"):
        with cloud.client() as client:
            assert 400 <= client.get(f"{cloud.instance.arm_url}{path}").status_code < 502, path
    assert cloud.arm("GET", cloud.group).status_code == 200
