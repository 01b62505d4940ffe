"""A registry service of a throw-away instance, and clients that speak to it as real ones do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from localazure import certs
from localazure.instance import Instance, load_or_create
from localazure.registry import RegistryService
from localazure.store import Store

NAME = "Contoso01"


@dataclass
class Setting:
    instance: Instance
    registries: RegistryService
    login_server: str
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"https://{self.login_server}"

    async def get(self, path: str, password: str, user: str = NAME) -> int:
        return (await self.client.get(f"{self.url}{path}", auth=(user, password))).status_code

    async def token(self, password: str, scope: str = "") -> str:
        query = {"service": self.login_server, **({"scope": scope} if scope else {})}
        answer = await self.client.get(f"{self.url}/oauth2/token", params=query, auth=(NAME, password))
        answer.raise_for_status()
        return str(answer.json()["access_token"])


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[Instance, RegistryService]]:
    instance = load_or_create(folder)
    certs.ensure(instance)
    store = Store(instance.database)
    registries = RegistryService(instance, store)
    await registries.start()
    try:
        yield instance, registries
    finally:
        await registries.stop()
        store.close()


def with_registry(folder: Path, body: Callable[[Setting], Awaitable[None]], *, seconds: float = 300) -> None:
    """One registry with its admin user on."""

    async def run() -> None:
        async with service(folder) as (instance, registries), client_of(instance) as client:
            login_server = await registries.create(NAME)
            registries.set_admin(NAME, True)
            await body(Setting(instance, registries, login_server, client))

    asyncio.run(asyncio.wait_for(run(), seconds))


@asynccontextmanager
async def client_of(instance: Instance) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(instance.ca))
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=120) as client:
        yield client


async def push_blob(setting: Setting, repository: str, content: bytes, auth: tuple[str, str]) -> str:
    """An upload in the two steps of the distribution API; the digest."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    begun = await setting.client.post(f"{setting.url}/v2/{repository}/blobs/uploads/", auth=auth)
    assert begun.status_code == 202, begun.text
    target = httpx.URL(setting.url).join(begun.headers["location"])
    answer = await setting.client.put(target.copy_add_param("digest", digest), content=content, auth=auth)
    assert answer.status_code == 201, answer.text
    return digest


async def push_image(setting: Setting, repository: str, tag: str, auth: tuple[str, str]) -> str:
    """The smallest image; the manifest's digest."""
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    configuration = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(configuration),
            "digest": await push_blob(setting, repository, configuration.encode(), auth),
        },
        "layers": [],
    }
    answer = await setting.client.put(
        f"{setting.url}/v2/{repository}/manifests/{tag}",
        content=json.dumps(manifest),
        headers={"Content-Type": kind},
        auth=auth,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["docker-content-digest"])


async def docker(home: Path, *arguments: str, stdin: str | None = None) -> tuple[int, str]:
    """The real docker CLI with a configuration of its own: exit code and all it said."""
    process = await asyncio.create_subprocess_exec(
        "docker",
        *arguments,
        env={**os.environ, "DOCKER_CONFIG": str(home / "docker-config")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(stdin.encode() if stdin else None), 300)
    assert process.returncode is not None
    return process.returncode, output.decode()
