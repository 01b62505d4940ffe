"""A HubService on real sockets in a thread of its own, so that the synchronous SDKs can be used against it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager

from localazure import certs
from localazure.hub import HubService
from localazure.hub.sas import make
from localazure.hub.settings import HubSettings
from localazure.instance import Instance, load_or_create
from localazure.store import Store
from tests.waiting import PATIENCE

T = TypeVar("T")
UNTHROTTLED = HubSettings(throttling=False)
VERSION = {"api-version": "2021-04-12"}


@dataclass
class Live:
    instance: Instance
    service: HubService
    loop: asyncio.AbstractEventLoop
    hub: str = "test-hub"
    host: str = ""
    edge_events: list[tuple[str, str, str | None]] = field(default_factory=list)
    managers: dict[tuple[Any, str], Any] = field(default_factory=dict)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await in the service's loop."""

        async def main() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(main(), self.loop).result(PATIENCE)

    def call(self, work: Callable[[], T]) -> T:
        """Call in the service's thread."""

        async def main() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(main(), self.loop).result(PATIENCE)

    def key(self, policy: str = "iothubowner", which: str = "primaryKey") -> str:
        keys = self.call(lambda: self.service.keys(self.hub))
        return next(key[which] for key in keys if key["keyName"] == policy)

    def connection_string(self, policy: str = "iothubowner") -> str:
        return f"HostName={self.host};SharedAccessKeyName={policy};SharedAccessKey={self.key(policy)}"

    def registry(self, policy: str = "iothubowner") -> IoTHubRegistryManager:
        return self._manager(IoTHubRegistryManager, policy)

    def configurations(self) -> IoTHubConfigurationManager:
        return self._manager(IoTHubConfigurationManager, "iothubowner")

    def _manager(self, kind: Any, policy: str) -> Any:
        """One for each kind and key, so that connections are used again."""
        key = (kind, self.connection_string(policy))
        if key not in self.managers:
            self.managers[key] = self.trusting(kind.from_connection_string(key[1]))
        return self.managers[key]

    def trusting(self, manager: Any) -> Any:
        manager.protocol.config.connection.verify = str(self.instance.ca)
        return manager

    def token(self, policy: str = "iothubowner", resource: str | None = None, lifetime: int = 600) -> str:
        return make(resource or self.host, self.key(policy), policy, lifetime)

    def http(self, token: str | None = None) -> httpx.Client:
        """A client with this token (default: the owner's) and the API version."""
        return httpx.Client(
            base_url=f"https://{self.host}",
            verify=certs_context(self.instance),
            headers={"Authorization": self.token() if token is None else token},
            params=VERSION,
            timeout=PATIENCE,
        )


def certs_context(instance: Instance) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(instance.ca))


@contextlib.contextmanager
def live(folder: Path, hub: str = "test-hub", settings: HubSettings = UNTHROTTLED) -> Iterator[Live]:
    instance = load_or_create(folder)
    certs.ensure(instance)
    ready: list[Live] = []
    begun, failed = threading.Event(), []

    async def main() -> None:
        store = Store(instance.database)
        service = HubService(instance, store, settings)
        stop = asyncio.Event()
        try:
            await service.start()
            one = Live(instance, service, asyncio.get_running_loop(), hub)
            service.on_edge_devices(lambda *event: one.edge_events.append(event))
            one.host = await service.create(hub)
            one.stop = stop  # type: ignore[attr-defined]
            ready.append(one)
            begun.set()
            await stop.wait()
        except BaseException as error:
            failed.append(error)
            begun.set()
            raise
        finally:
            await service.stop()
            store.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert begun.wait(PATIENCE)
    if failed:
        raise failed[0]
    try:
        yield ready[0]
    finally:
        ready[0].loop.call_soon_threadsafe(ready[0].stop.set)  # type: ignore[attr-defined]
        thread.join(PATIENCE)
        assert not thread.is_alive()
