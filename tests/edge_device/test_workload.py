"""The workload API over real sockets, and the device's configuration."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from localazure.edge import sas
from localazure.edge.config import ConfigError, load
from localazure.edge.workload import Signer, WorkloadServer

KEY = base64.b64encode(b"k" * 32).decode()
ORDER = {"keyId": "primary", "algo": "HMACSHA256", "data": base64.b64encode(b"to sign").decode()}


def with_socket(folder: Path, body: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        bundle = folder / "ca.pem"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_text("PEM")
        server = WorkloadServer(folder / "m", "m", bundle, lambda: Signer("g1", KEY))
        await server.start()
        try:
            assert _mode(server.folder / "workload.sock") == 0o666
            # By way of the folder's descriptor, as the server binds: the path may be too long for an address.
            descriptor = os.open(server.folder, os.O_RDONLY)
            transport = httpx.AsyncHTTPTransport(uds=f"/proc/self/fd/{descriptor}/workload.sock")
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                await body(client)
            os.close(descriptor)
        finally:
            await server.stop()

    asyncio.run(asyncio.wait_for(run(), 300))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_signs_for_its_own_module_only(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        async def sign(path: str, order: object = ORDER) -> int:
            return (await client.post(path, json=order)).status_code

        answer = await client.post("/modules/m/genid/g1/sign?api-version=2020-07-07", json=ORDER)
        expected = hmac.new(b"k" * 32, b"to sign", hashlib.sha256).digest()
        assert base64.b64decode(answer.json()["digest"]) == expected
        assert await sign("/modules/m/genid/g2/sign?api-version=1") == 404
        assert await sign("/modules/other/genid/g1/sign?api-version=1") == 403
        assert await sign("/modules/m/genid/g1/sign") == 400
        assert await sign("/modules/m/genid/g1/sign?api-version=1", {**ORDER, "algo": "MD5"}) == 400
        assert await sign("/modules/m/genid/g1/sign?api-version=1", {**ORDER, "keyId": "secondary"}) == 400
        wrong: list[object] = [{}, [], "x", {**ORDER, "data": "%%"}, {**ORDER, "data": 7}]
        for bad in wrong:
            assert await sign("/modules/m/genid/g1/sign?api-version=1", bad) == 422
        trust = await client.get("/trust-bundle?api-version=1")
        assert trust.json() == {"certificate": "PEM"}
        assert (await client.get("/trust-bundle")).status_code == 400

    with_socket(tmp_path, body)


def test_folder_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.get("/trust-bundle?api-version=1")).status_code == 200

    with_socket(tmp_path / ("x" * 120) / ("y" * 120), body)


CONFIG = """
trust_bundle_cert = "file:///ca.pem"
[provisioning]
source = "manual"
iothub_hostname = "127.0.0.5:20500"
device_id = "Edge-1"
[provisioning.authentication]
method = "sas"
device_id_pk = {pk}
[agent.env]
CoolOffTimeUnitInSecs = "1"
[edge_ca]
cert = "file:///a%20b/hub.pem"
pk = "file:///hub.key"
[localazure]
gateway = "172.20.0.1"
network = "n"
"""


def test_config(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    (tmp_path / "raw key").write_bytes(b"k" * 32)
    uri = (tmp_path / "raw key").as_uri()
    for pk in (f'{{ value = "{KEY}" }}', f'{{ uri = "{uri}" }}'):
        file.write_text(CONFIG.replace("{pk}", pk))
        config = load(file)
        assert config.primary_key == KEY
        assert KEY not in repr(config)
        assert (config.hub_address, config.hostname, config.folder) == ("127.0.0.5", "edge-1", tmp_path)
        assert config.certificate == Path("/a b/hub.pem")
        assert config.agent_env == {"CoolOffTimeUnitInSecs": "1"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("manual", "dps", "provisioning.source"),
        ('"sas"', '"x509"', "authentication.method"),
        ("{pk}", '{ value = "%" }', "base64"),
        ("{pk}", "{ }", "device_id_pk"),
        ("{pk}", '{ uri = "file:///nowhere/key" }', "device_id_pk"),
        ('device_id = "Edge-1"', "", "device_id"),
        ("[edge_ca]", "[edge]", "edge_ca"),
        ("file:///hub.key", "/hub.key", "file URI"),
        ("[provisioning]", "[provisioning", "config.toml"),
    ],
)
def test_config_that_is_none(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.replace(old, new).replace("{pk}", f'{{ value = "{KEY}" }}'))
    with pytest.raises(ConfigError, match=message):
        load(file)


def test_sas() -> None:
    other = base64.b64encode(b"o" * 32).decode()
    token = sas.token("h:1/devices/d", KEY, 100)
    assert sas.refusal(token, "h:1/devices/d", [other, KEY]) is None
    assert "signature" in str(sas.refusal(token, "h:1/devices/d", [other]))
    assert "another" in str(sas.refusal(token, "h:1/devices/e", [KEY]))
    assert "expired" in str(sas.refusal(sas.token("r", KEY, -1), "r", [KEY]))
    stretched = token.replace(token.rpartition("se=")[2], "99999999999")
    assert "signature" in str(sas.refusal(stretched, "h:1/devices/d", [KEY]))
    for broken in ("", "SharedAccessSignature", "Bearer x", "SharedAccessSignature sr=r&sig=s&se=x"):
        assert sas.refusal(broken, "r", [KEY])
