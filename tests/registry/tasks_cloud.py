"""ARM, blobs, registries and ACR Tasks behind one real listener, in a thread of their own."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from localazure.arm.model import Hubs, Registries
from localazure.front import Front
from localazure.registry import RegistryService
from localazure.registry.tasks import TaskService
from localazure.storage import BlobService
from localazure.store import Store
from tests.arm.bodies import REGISTRY, registry
from tests.arm.cloud import Cloud

FINAL = ("Succeeded", "Failed", "Canceled", "Error", "Timeout")
RUNS = {"api-version": "2019-06-01-preview"}


class TasksCloud(Cloud):
    """`acr(name)` is the id of a registry that is made when first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._made: dict[str, str] = {}

    async def start_backends(self, store: Store) -> tuple[Registries, Hubs]:
        self.blobs = BlobService(self.instance, store)
        self.real_registries = RegistryService(self.instance, store)
        self.tasks = TaskService(self.instance, store, self.blobs, self.real_registries)
        await self.blobs.start()
        await self.real_registries.start()
        await self.tasks.start()
        return self.real_registries, self.hubs

    @property
    def registry_tasks(self) -> TaskService:
        return self.tasks

    def front(self, arm: ASGIApp) -> ASGIApp:
        return Front([(["subscriptions"], arm), (["acrtasks"], self.blobs.app)])

    async def stop_backends(self) -> None:
        await self.tasks.stop()
        await self.real_registries.stop()

    def acr(self, name: str, *, admin: bool = True, group: str = "rg") -> str:
        if name not in self._made:
            self.make_group(group)
            self._made[name] = self.make(REGISTRY, name, registry(admin=admin), group)["id"]
        return self._made[name]

    def host(self, name: str) -> str:
        return str(self.get(self.acr(name)).json()["properties"]["loginServer"])

    def password(self, name: str) -> str:
        return self.inside(lambda: self.real_registries.passwords(name)[0])

    def upload(self, acr: str, files: dict[str, str], *members: tarfile.TarInfo) -> str:
        """A source; its relativePath."""
        place = self.post(f"{acr}/listBuildSourceUploadUrl").json()
        answer = self.http.put(
            place["uploadUrl"], content=source(files, *members), headers={"x-ms-blob-type": "BlockBlob"}
        )
        assert answer.status_code == 201, answer.text
        return str(place["relativePath"])

    def schedule(self, acr: str, location: str, **changes: Any) -> httpx.Response:
        body = {
            "type": "DockerBuildRequest",
            "imageNames": ["app:one"],
            "isPushEnabled": True,
            "sourceLocation": location,
            "platform": {"os": "Linux", "architecture": "amd64"},
            "dockerFilePath": "Dockerfile",
        }
        return self.request("POST", f"{acr}/scheduleRun", body | changes, query=RUNS)

    def run(self, acr: str, run_id: str) -> dict[str, Any]:
        answer = self.request("GET", f"{acr}/runs/{run_id}", query=RUNS)
        assert answer.status_code == 200, answer.text
        properties: dict[str, Any] = answer.json()["properties"]
        return properties

    def ended(self, acr: str, run_id: str, seconds: float = 180) -> dict[str, Any]:
        """The properties of a run once it has ended."""
        return self.until(acr, run_id, FINAL, seconds)

    def until(self, acr: str, run_id: str, statuses: tuple[str, ...], seconds: float = 180) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (found := self.run(acr, run_id))["status"] not in statuses:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def log(self, acr: str, run_id: str) -> str:
        link = self.post(f"{acr}/runs/{run_id}/listLogSasUrl").json()["logLink"]
        return self.http.get(link).text


def source(files: dict[str, str], *members: tarfile.TarInfo) -> bytes:
    """A tar.gz as azure-cli makes it: a root entry without a name, then the files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        root = tarfile.TarInfo("")
        root.type, root.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(root)
        for member in members:
            tar.addfile(member)
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(buffer.getvalue(), mtime=0)
