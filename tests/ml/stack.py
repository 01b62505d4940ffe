"""A local Azure around the room under test: real TLS listener, identity, metadata and registries; ARM reduced to what it is asked."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router

from localazure import certs
from localazure.endpoints import metadata_app
from localazure.front import Front
from localazure.identity import Tokens
from localazure.instance import ARM_PORT, CLOUD_NAME, IDENTITY_PORT, load_or_create
from localazure.managed_identity import identity_app
from localazure.ml import MlService
from localazure.registry import RegistryService
from localazure.server import HttpServer
from localazure.storage import BlobService
from localazure.store import Store

REGISTRY = "mlroomregistry"
STORAGE = "mlroomstorage"
PROVIDER = "Microsoft.MachineLearningServices/workspaces"


class Stack:
    """Runs in a thread with an event loop of its own, so that tests may block on the SDK's processes."""

    def __init__(self, folder: Path, *, registry: bool = False, max_blob_bytes: int = 5 * 2**30) -> None:
        self.instance = load_or_create(folder)
        certs.ensure(self.instance)
        self.tokens = Tokens(self.instance)
        self.resources: dict[str, dict[str, Any]] = {}
        self._with_registry, self._max_blob_bytes = registry, max_blob_bytes
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self._start())

    # What a test needs

    def call(self, work: Coroutine[Any, Any, Any], timeout: float = 300) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def inside(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call something that touches the store, on its thread."""

        async def called() -> Any:
            return function(*arguments, **options)

        return self.call(called())

    def group(self) -> str:
        return f"/subscriptions/{self.instance.subscription_id}/resourceGroups/rg/providers"

    def workspace_id(self, name: str) -> str:
        return f"{self.group()}/{PROVIDER}/{name}"

    def add_workspace(self, name: str, *, registry: bool = True) -> str:
        """The workspace as ARM would hold it; its id."""
        identity, guid = self.workspace_id(name), str(uuid.uuid4())
        properties = {
            "workspaceId": guid,
            "discoveryUrl": f"{self.instance.arm_url}/discovery/workspaces/{guid}",
            "storageAccount": f"{self.group()}/Microsoft.Storage/storageAccounts/{STORAGE}",
            "keyVault": f"{self.group()}/Microsoft.KeyVault/vaults/v",
            "applicationInsights": f"{self.group()}/Microsoft.Insights/components/i",
            "provisioningState": "Succeeded",
            "friendlyName": name,
            "creationTime": "2026-01-01T00:00:00Z",
        }
        if registry:
            properties["containerRegistry"] = f"{self.group()}/Microsoft.ContainerRegistry/registries/{REGISTRY}"
        self.resources[identity.lower()] = {
            "id": identity,
            "name": name,
            "type": PROVIDER,
            "location": "westeurope",
            "sku": {"name": "Basic", "tier": "Basic"},
            "tags": {},
            "properties": properties,
        }
        return identity

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(
            base_url=self.instance.arm_url,
            verify=ssl.create_default_context(cafile=self.instance.ca),
            timeout=120,
            **options,
        )

    def authorised(self, audience: str = "https://management.azure.com/") -> httpx.Client:
        return self.http(headers={"Authorization": f"Bearer {self.tokens.issue(audience)}"})

    def environment(self, home: Path) -> dict[str, str]:
        """What docs/architecture.md promises to SDKs, and nothing of this process's own."""
        bundle = str(self.instance.ca_bundle)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ARM_CLOUD_METADATA_URL": f"{self.instance.arm_url}/metadata/endpoints?api-version=2019-05-01",
            "AZUREML_CURRENT_CLOUD": CLOUD_NAME,
            "MSI_ENDPOINT": self.instance.identity_url,
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "AZUREML_DEFAULT_RETRIES": "0",
            "PYTHONWARNINGS": "ignore",
        }

    def sdk(self, folder: Path, workspace: str, script: str, timeout: float = 600) -> Any:
        """Run a script with the unmodified azureml-core in a process, HOME and folder of its own; what it hands to `answer`."""
        folder.mkdir(exist_ok=True)
        home = folder / "home"
        home.mkdir(exist_ok=True)
        config = {
            "subscription_id": self.instance.subscription_id,
            "resource_group": "rg",
            "workspace_name": workspace,
        }
        (folder / "config.json").write_text(json.dumps(config))
        prologue = (
            "import json, sys\n"
            "from azureml.core import Model, Workspace\n"
            "from azureml.core.image import ContainerImage, Image\n"
            "from azureml.exceptions import WebserviceException\n"
            "def answer(value): print('ANSWER' + json.dumps(value))\n"
            "ws = Workspace.from_config()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", prologue + script],
            cwd=folder,
            env=self.environment(home),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        answers = [line.removeprefix("ANSWER") for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        assert done.returncode == 0, f"the SDK's process failed:\n{done.stdout}\n{done.stderr}"
        assert answers, done.stdout
        return json.loads(answers[-1])

    def restart(self) -> None:
        """Stop the room's service and start another one on the same database and folder."""
        self.call(self._stop_service())
        self.call(self._start_service())

    def close(self) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(120)

    # Inside the loop

    async def _start(self) -> None:
        self.store = Store(self.instance.database)
        self.registries = RegistryService(self.instance, self.store)
        self.blobs = BlobService(self.instance, self.store, max_blob_bytes=self._max_blob_bytes)
        if self._with_registry:
            login_server = await self.registries.create(REGISTRY)
            self.registries.set_admin(REGISTRY, enabled=True)
            identity = f"{self.group()}/Microsoft.ContainerRegistry/registries/{REGISTRY}"
            properties = {"loginServer": login_server, "adminUserEnabled": True}
            self.resources[identity.lower()] = {"id": identity, "name": REGISTRY, "properties": properties}
        await self._start_service()
        front = Front(
            [
                (["subscriptions"], self._arm()),
                (["metadata"], metadata_app(self.instance)),
                (["discovery", "modelmanagement", "artifact"], self._forward),
                (["azureml"], self.blobs.app),
            ]
        )
        pki = self.instance.pki
        tls = (pki / "server.pem", pki / "server.key")
        self._listeners = [
            HttpServer(front, self.instance.address, ARM_PORT, tls),
            HttpServer(identity_app(self.instance, self.tokens), self.instance.address, IDENTITY_PORT),
        ]
        for listener in self._listeners:
            await listener.start()

    async def _forward(self, *call: Any) -> None:
        await self.service.app(*call)

    async def _start_service(self) -> None:
        await self.blobs.start()
        self.service = MlService(
            self.instance,
            self.store,
            self.tokens,
            lambda identity: self.resources.get(identity.lower()),
            self.registries,
            self.blobs,
        )
        await self.service.start()

    async def _stop_service(self) -> None:
        await self.service.stop()

    async def _stop(self) -> None:
        for listener in self._listeners:
            await listener.stop()
        await self._stop_service()
        await self.registries.stop()
        self.store.close()

    def _arm(self) -> Router:
        async def subscriptions(request: Request) -> JSONResponse:
            entry = {
                "id": f"/subscriptions/{self.instance.subscription_id}",
                "subscriptionId": self.instance.subscription_id,
                "tenantId": self.instance.tenant_id,
                "displayName": "local",
                "state": "Enabled",
            }
            return JSONResponse({"value": [entry]})

        async def resource(request: Request) -> JSONResponse:
            found = self.resources.get(request.url.path.lower())
            error = {"error": {"code": "ResourceNotFound", "message": "not found"}}
            return JSONResponse(found or error, 200 if found else 404)

        return Router([Route("/subscriptions", subscriptions), Route("/{path:path}", resource)])
