"""A local ARM behind its real TLS listener, in a thread of its own, for synchronous clients (httpx, azure-mgmt).

The container registries and hubs behind it are the one fake that these tests allow themselves: they belong to other rooms.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from starlette.types import ASGIApp

from localazure import certs
from localazure.arm import ArmService
from localazure.arm.model import Hubs, Registries
from localazure.arm.providers.containerregistry_tasks import Tasks
from localazure.arm.throttle import Throttle
from localazure.identity import Tokens
from localazure.instance import ARM_PORT, load_or_create
from localazure.server import HttpServer
from localazure.store import Store

T = TypeVar("T")
LOCATION = "westeurope"
PATIENCE_SECONDS = 120  # for what comes at once, unless the machine is busy
VERSIONS = {
    "microsoft.storage": "2024-01-01",
    "microsoft.keyvault": "2024-11-01",
    "microsoft.operationalinsights": "2023-09-01",
    "microsoft.insights": "2020-02-02",
    "microsoft.containerregistry": "2023-01-01-preview",
    "microsoft.machinelearningservices": "2025-12-01",
    "microsoft.devices": "2023-06-30",
    "microsoft.authorization": "2022-04-01",
    "microsoft.managedidentity": "2023-01-31",
}


class FakeRegistries:
    """The registry room's door; `broken` makes the next calls of that name fail."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.broken: set[str] = set()

    async def create(self, name: str) -> str:
        self._fail("create")
        self.made.setdefault(name, {"admin": False, "passwords": ["one", "two"]})
        return f"127.0.0.1:{20700 + len(self.made)}"

    async def delete(self, name: str) -> None:
        self._fail("delete")
        self.made.pop(name, None)

    def set_admin(self, name: str, enabled: bool) -> None:
        self.made[name]["admin"] = enabled

    def passwords(self, name: str) -> tuple[str, str]:
        first, second = self.made[name]["passwords"]
        return first, second

    async def regenerate(self, name: str, which: str) -> None:
        self.made[name]["passwords"][0 if which == "password" else 1] += "-new"

    def _fail(self, step: str) -> None:
        if step in self.broken:
            raise RuntimeError(f"{step}: no free port")


class FakeHubs:
    """The hub room's door."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    async def create(self, name: str, sku: str = "S1", units: int = 1) -> str:
        self.made.add(name)
        return "127.0.0.1:20500"

    async def delete(self, name: str) -> None:
        self.made.remove(name)

    def names(self) -> list[str]:
        return sorted(self.made)

    def set_policies(self, name: str, policies: list[dict[str, str]]) -> None:
        raise AssertionError("the fake keeps its policies")

    def usage(self, name: str) -> tuple[int, int]:
        return 3, 5

    def keys(self, name: str) -> list[dict[str, str]]:
        rights = {"iothubowner": "RegistryWrite, ServiceConnect, DeviceConnect", "service": "ServiceConnect"}
        return [
            {"keyName": key, "primaryKey": f"{name}-1", "secondaryKey": f"{name}-2", "rights": right}
            for key, right in rights.items()
        ]


class Cloud:
    """`request` and its short forms speak to ARM as an authenticated client; paths are below the subscription."""

    def __init__(self, folder: Path, *, delay: float = 0.05) -> None:
        self.instance = load_or_create(folder)
        certs.ensure(self.instance)
        self.tokens = Tokens(self.instance)
        self.registries, self.hubs = FakeRegistries(), FakeHubs()
        self.delay = delay
        self.throttle: Throttle | None = None
        """Instead of that of the instance's settings; set before the start."""
        self.subscription = f"/subscriptions/{self.instance.subscription_id}"
        self.http = self._client()
        self.service: ArmService
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._thread: threading.Thread

    # --- the daemon's part

    def start(self) -> None:
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS), "the listener did not come up"

    def begin_stop(self) -> None:
        self.http.close()  # else the server waits for the kept-alive connection
        self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        self.begin_stop()
        self.wait_stopped()
        self.http = self._client()

    def wait_stopped(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _client(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.instance.ca))
        return httpx.Client(base_url=self.instance.arm_url, verify=trust, timeout=PATIENCE_SECONDS)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        store = Store(self.instance.database)
        registries, hubs = await self.start_backends(store)
        tasks = self.registry_tasks
        more: dict[str, Any] = {"delay": self.delay, "tasks": tasks, "throttle": self.throttle}
        self.service = ArmService(self.instance, store, self.tokens, registries, hubs, **more)
        tls = (self.instance.pki / "server.pem", self.instance.pki / "server.key")
        server = HttpServer(self.front(self.service.app), self.instance.address, ARM_PORT, tls)
        await self.service.start()
        await server.start()
        self._ready.set()
        await self._stopping.wait()
        await server.stop()
        await self.service.stop()
        await self.stop_backends()
        store.close()

    async def start_backends(self, store: Store) -> tuple[Registries, Hubs]:
        return self.registries, self.hubs

    @property
    def registry_tasks(self) -> Tasks | None:
        """What registries do by themselves; asked for when the backends run."""
        return None

    def front(self, arm: ASGIApp) -> ASGIApp:
        return arm

    async def stop_backends(self) -> None:
        """Nothing behind the fakes."""

    def inside(self, work: Callable[[], T]) -> T:
        """Run something in the event loop's thread, where the store may be touched."""

        async def run() -> T:
            return work()

        coroutine: Coroutine[Any, Any, T] = run()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Operations that begin inside the block end after it, however long the block takes."""
        opened = asyncio.Event()
        workers = self.service._operations.workers
        real = dict(workers)

        def holding(work: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
            async def wait_and_work(resource_id: str) -> None:
                await opened.wait()
                await work(resource_id)

            return wait_and_work

        self.inside(lambda: workers.update({name: holding(work) for name, work in real.items()}))
        try:
            yield
        finally:
            self.inside(lambda: workers.update(real))
            self.inside(opened.set)

    # --- the client's part

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.issue('https://management.azure.com/')}"}

    def group_id(self, name: str = "rg") -> str:
        return f"{self.subscription}/resourceGroups/{name}"

    def id(self, kind: str, name: str, group: str = "rg") -> str:
        return f"{self.group_id(group)}/providers/{kind}/{name}"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> httpx.Response:
        if "api-version" not in path:
            namespace = path.rpartition("/providers/")[2].split("/")[0].lower()
            query = {"api-version": VERSIONS.get(namespace, "2024-03-01")} | (query or {})
        content: dict[str, Any] = {} if body is None else {"json": body}
        url = httpx.URL(path)
        return self.http.request(
            method, url.copy_merge_params(query or {}), headers=self.bearer | (headers or {}), **content
        )

    def get(self, path: str, query: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, query=query)

    def put(self, path: str, body: Any) -> httpx.Response:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Any) -> httpx.Response:
        return self.request("PATCH", path, body)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.request("POST", path, body)

    def delete(self, path: str, query: dict[str, str] | None = None) -> httpx.Response:
        return self.request("DELETE", path, query=query)

    def finish(self, first: httpx.Response) -> httpx.Response:
        """Follow an operation to its end: the last answer of its status URL, or `first` when it has none."""
        url = first.headers.get("azure-asyncoperation") or first.headers.get("location")
        if not url:
            return first
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self.get(url)
            running = answer.status_code == 202 or (
                "azure-asyncoperation" in first.headers
                and answer.json()["status"] not in ("Succeeded", "Failed", "Canceled")
            )
            if not running:
                return answer
            time.sleep(0.02)
        raise AssertionError(f"still running: {url}")

    def settled(self, resource_id: str) -> dict[str, Any]:
        """The resource once its provisioningState is final."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            body = self.get(resource_id).json()
            if body["properties"].get("provisioningState", "Succeeded") in ("Succeeded", "Failed"):
                return body
            time.sleep(0.02)
        raise AssertionError(f"never settled: {body}")

    def make(self, kind: str, name: str, body: dict[str, Any], group: str = "rg") -> dict[str, Any]:
        """PUT and wait; the resource as GET answers it."""
        resource_id = self.id(kind, name, group)
        first = self.put(resource_id, {"location": LOCATION} | body)
        assert first.status_code in (200, 201, 202), first.text
        self.finish(first)
        body = self.settled(resource_id)
        assert body["properties"]["provisioningState"] == "Succeeded", body
        return body

    def make_group(self, name: str = "rg") -> None:
        made = self.put(self.group_id(name), {"location": LOCATION})
        assert made.status_code in (200, 201), made.text
