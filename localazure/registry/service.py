"""All container registries of an instance."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from localazure.instance import Instance, InstanceError
from localazure.registry.accounts import Accounts, Registry
from localazure.registry.distribution import Distribution
from localazure.registry.gateway import Gateway
from localazure.registry.process import RegistryProcess, RegistryUnavailableError
from localazure.server import HttpServer
from localazure.store import Store

__all__ = ["RegistryService", "RegistryUnavailableError"]

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-zA-Z0-9]{5,50}")


@dataclass
class _Running:
    process: RegistryProcess
    upstream: httpx.AsyncHTTPTransport
    server: HttpServer


class RegistryService:
    """Creates, keeps running and deletes registries. Names are compared without case.

    A login server is `127.0.0.N:207xx` and stays the registry's for its life. Methods that take a registry raise KeyError when
    there is none of that name.
    """

    def __init__(self, instance: Instance, store: Store) -> None:
        self._instance = instance
        self._accounts = Accounts(store)
        self._running: dict[str, _Running] = {}
        self._lock = asyncio.Lock()  # two creates of one name must not start two processes

    async def start(self) -> None:
        """Start every registry that the database knows, on the port it had.

        Raises InstanceError or RegistryUnavailableError, naming all registries that could not be started.
        """
        failed = []
        for registry in self._accounts.all():
            try:
                await self._start(registry)
            except (InstanceError, RegistryUnavailableError) as error:
                _log.exception("container registry '%s' cannot be started", registry.name)
                failed.append(str(error))
        if failed:
            raise RegistryUnavailableError("; ".join(failed))

    async def stop(self) -> None:
        await asyncio.gather(*(self._stop(key) for key in list(self._running)))

    async def create(self, name: str) -> str:
        """The login server of a registry, made unless it exists; its admin user is off, as in ACR.

        Raises RegistryUnavailableError when docker-registry cannot be started; nothing is left of the attempt then. Raises
        ValueError for a name outside ACR's rule (Azure naming rules: 5 to 50 letters and digits).
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not a name of a container registry: 5 to 50 letters and digits")
        async with self._lock:
            existing = self._accounts.find(name)
            if existing and existing.key in self._running:
                return self.login_server(name)
            if existing:
                await self._start(existing)
                return self.login_server(name)
            refused: frozenset[int] = frozenset()
            while True:
                registry = self._accounts.add(name, refused)
                try:
                    await self._start(registry)
                except InstanceError:  # somebody else listens on the port
                    self._accounts.remove(name)
                    refused |= {registry.port}
                except BaseException:
                    self._accounts.remove(name)
                    await self._remove_data(registry.key)
                    raise
                else:
                    return self.login_server(name)

    async def delete(self, name: str) -> None:
        """Process, data and rows; deleting what is not there is no error."""
        async with self._lock:
            registry = self._accounts.find(name)
            if registry is None:
                return
            await self._stop(registry.key)
            await self._remove_data(registry.key)
            self._accounts.remove(name)

    def login_server(self, name: str) -> str:
        return f"{self._instance.address}:{self._accounts.get(name).port}"

    def set_admin(self, name: str, enabled: bool) -> None:
        """Effective with the next request to the registry, in both directions."""
        self._accounts.set_admin(name, enabled)

    def admin_enabled(self, name: str) -> bool:
        return self._accounts.get(name).admin_enabled

    def passwords(self, name: str) -> tuple[str, str]:
        """("password", "password2") of the admin user, whose name is the registry's. They exist while it is disabled, and open nothing."""
        return self._accounts.passwords(name)

    async def regenerate(self, name: str, which: str) -> None:
        """A new value for "password" or "password2"; the old one and the tokens bought with it end at once.

        Raises ValueError for another name.
        """
        self._accounts.regenerate(name, which)

    def task_login(self, name: str) -> tuple[str, str]:
        """User and password with which ACR Tasks pull from and push to their registry, the admin user on or off."""
        self._accounts.get(name)
        return self._accounts.task_login(name)

    def opens(self, login_server: str, user: str, password: str) -> str | None:
        """The name of the registry at this login server that these credentials open, or None."""
        for registry in self._accounts.all():
            if self.login_server(registry.name) == login_server:
                return registry.name if self._accounts.login(registry.name, user, password) else None
        return None

    def is_login_server(self, host: str) -> bool:
        return any(self.login_server(registry.name) == host for registry in self._accounts.all())

    def distribution(self, name: str) -> Distribution:
        """The registry's content behind its gateway, for services of this process. Raises RegistryUnavailableError."""
        running = self._running.get(self._accounts.get(name).key)
        if running is None:
            raise RegistryUnavailableError(f"the container registry '{name}' does not run; see daemon.log")
        return Distribution(name, httpx.AsyncHTTPTransport(uds=running.process.socket))

    def size(self, name: str) -> int:
        """Bytes of all that was pushed."""
        blobs = self._folder(self._accounts.get(name).key) / "data" / "docker" / "registry" / "v2" / "blobs"
        return sum(path.stat().st_size for path in blobs.rglob("data"))

    def describe(self) -> list[dict[str, Any]]:
        """For `status`: name, loginServer, adminEnabled, pid (None while docker-registry is being restarted)."""
        return [
            {
                "name": registry.name,
                "loginServer": f"{self._instance.address}:{registry.port}",
                "adminEnabled": registry.admin_enabled,
                "pid": running.process.pid if (running := self._running.get(registry.key)) else None,
            }
            for registry in self._accounts.all()
        ]

    async def _start(self, registry: Registry) -> None:
        login_server = f"{self._instance.address}:{registry.port}"
        process = RegistryProcess(self._folder(registry.key), registry.http_secret)
        try:
            await process.start()
            upstream = httpx.AsyncHTTPTransport(uds=process.socket)
            gateway = Gateway(
                name=registry.name,
                login_server=login_server,
                accounts=self._accounts,
                signing_key=self._instance.signing_key,
                upstream=upstream,
            )
            pki = self._instance.pki
            server = HttpServer(
                gateway.app, self._instance.address, registry.port, (pki / "server.pem", pki / "server.key")
            )
            await server.start()
        except BaseException:
            await process.stop()
            raise
        self._running[registry.key] = _Running(process, upstream, server)

    async def _stop(self, key: str) -> None:
        running = self._running.pop(key, None)
        if running:
            await running.server.stop()
            await running.upstream.aclose()
            await running.process.stop()

    def _folder(self, key: str) -> Path:
        return self._instance.folder / "registries" / key

    async def _remove_data(self, key: str) -> None:
        folder = self._folder(key)
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)
