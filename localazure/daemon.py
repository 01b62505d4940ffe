"""The daemon: one process and one event loop that hold every service of a local Azure."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import faulthandler
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from localazure import certs, control, instance, server
from localazure.arm import ArmService
from localazure.edge import DeviceSupervisor
from localazure.endpoints import metadata_app
from localazure.faults import FaultBook
from localazure.fleet import FleetService
from localazure.front import Front
from localazure.guards import MlGuard
from localazure.hub import HubService
from localazure.identity import Tokens, arm_audiences
from localazure.instance import ARM_PORT, IDENTITY_PORT
from localazure.listeners import Listeners
from localazure.login import ADFS, login_app
from localazure.managed_identity import identity_app
from localazure.ml import MlService
from localazure.owner import OwnerApi
from localazure.principals import Principals
from localazure.registry import RegistryService
from localazure.registry.tasks import TaskService
from localazure.requests import RequestLog
from localazure.storage import BlobService
from localazure.storage.service import CONTAINERS
from localazure.store import Store

_log = logging.getLogger(__name__)

_SERVICE_STOP_SECONDS = 45.0  # modules are stopped as `docker stop` does


class Service(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def main(folder: Path) -> None:
    """Run until SIGTERM or SIGINT.

    Raises ControlError when the folder has a daemon already, InstanceError when its address cannot be used.
    """
    _configure_logging()
    control.hold(folder)
    asyncio.run(Daemon(folder).run())


class Daemon:
    """Makes the services, starts them, mounts them, and stops them in the opposite order."""

    def __init__(self, folder: Path) -> None:
        self.instance = instance.load_or_create(folder)
        certs.ensure(self.instance)
        self._started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._failures: dict[str, str] = {}
        self._edge_devices: set[tuple[str, str]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_unhandled)
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        async with contextlib.AsyncExitStack() as stack:
            store = Store(self.instance.database)
            stack.callback(store.close)
            tokens, book = Tokens(self.instance), FaultBook(store)
            listeners = Listeners(self.instance, RequestLog(self.instance.folder), book, tokens)
            stack.enter_context(server.wrapped(self.instance.address, listeners.wrap))
            await self._serve(stopping, store, tokens, book, listeners)
        _log.info("stopped")

    async def _serve(
        self, stopping: asyncio.Event, store: Store, tokens: Tokens, book: FaultBook, listeners: Listeners
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            principals = Principals(store, tokens)
            self._registries = RegistryService(self.instance, store)
            self._devices = DeviceSupervisor(self.instance)
            self._hubs = HubService(self.instance, store)
            blobs = BlobService(self.instance, store)
            tasks = TaskService(self.instance, store, blobs, self._registries)
            arm = ArmService(
                self.instance, store, tokens, self._registries, self._hubs, principals=principals, tasks=tasks
            )
            listeners.know(arm, self._hubs, self._registries)
            ml = MlService(self.instance, store, tokens, arm.get, self._registries, blobs)
            arm.on_gone(
                "Microsoft.MachineLearningServices/workspaces", lambda properties: ml.forget(properties["workspaceId"])
            )
            self._fleet = FleetService(self.instance, store, self._hubs, self._have_device)
            self._hubs.on_edge_devices(self._fleet.on_edge_device)
            services: tuple[tuple[str, Service], ...] = (
                ("blobs", blobs),
                ("registries", self._registries),
                ("registry tasks", tasks),
                ("hubs", self._hubs),
                ("devices", self._devices),  # after the hubs that they connect to
                ("fleet", self._fleet),
                ("arm", arm),
                ("ml", ml),
            )
            for name, service in services:
                await self._start(name, service, stack)
            owner = OwnerApi(tokens, book, principals, arm, self._hubs, self._fleet, listeners.disconnect)
            guarded = MlGuard(ml.app, arm.access, tokens, [*arm_audiences(self.instance), "https://ml.azure.com"])
            login = login_app(self.instance, tokens, principals)
            front = self._front(arm.app, guarded, blobs.app, login, owner)
            pki = self.instance.pki
            tls = (pki / "server.pem", pki / "server.key")
            for listener in (
                server.HttpServer(
                    identity_app(self.instance, tokens, principals), self.instance.address, IDENTITY_PORT
                ),
                server.HttpServer(
                    front, self.instance.address, ARM_PORT, tls
                ),  # last: who gets an answer finds everything
            ):
                await listener.start()  # without these two nothing works: an error ends the daemon
                stack.push_async_callback(listener.stop)
            _log.info(
                "ready: %s, identity %s, process %d", self.instance.arm_url, self.instance.identity_url, os.getpid()
            )
            await stopping.wait()
            _log.info("stopping")

    def _front(self, arm: ASGIApp, ml: ASGIApp, blobs: ASGIApp, login: ASGIApp, owner: OwnerApi) -> Front:
        own = Router([Route("/localazure/status", self._answer_status, methods=["GET"]), *owner.routes])
        return Front(
            [
                (["subscriptions", "providers", "tenants"], arm),
                (["metadata"], metadata_app(self.instance)),
                (["discovery", "modelmanagement", "artifact"], ml),
                (CONTAINERS, blobs),
                ([self.instance.tenant_id, ADFS], login),
                (["localazure"], own),
            ]
        )

    async def _start(self, name: str, service: Service, stack: contextlib.AsyncExitStack) -> None:
        """One service that does not start leaves the others running: `up` and `status` show it, daemon.log has its traceback."""
        stack.push_async_callback(self._stop, name, service)
        try:
            await service.start()
        except Exception as error:
            _log.exception("the service '%s' did not start", name)
            self._failures[name] = f"{type(error).__name__}: {error}"

    async def _stop(self, name: str, service: Service) -> None:
        try:
            async with asyncio.timeout(_SERVICE_STOP_SECONDS):
                await service.stop()
        except Exception:
            _log.exception("the service '%s' did not stop cleanly", name)

    async def _answer_status(self, request: Request) -> JSONResponse:
        return JSONResponse(self.status())

    def status(self) -> dict[str, Any]:
        """No secrets: everybody on this machine may read it."""
        return {
            "folder": str(self.instance.folder),
            "address": self.instance.address,
            "arm": self.instance.arm_url,
            "pid": os.getpid(),
            "startedAt": self._started_at,
            "failures": self._failures,
            "registries": self._registries.describe(),
            "hubs": [{"name": name, "hostName": self._hubs.host_name(name)} for name in sorted(self._hubs.names())],
            "devices": [{"name": device, "hub": host} for host, device in sorted(self._edge_devices)],
            "fleet": self._fleet.describe(),
        }

    def _have_device(self, host_name: str, device_id: str, primary_key: str | None) -> None:
        """One with containers of its own."""
        self._devices.on_edge_device(host_name, device_id, primary_key)
        if primary_key is None:
            self._edge_devices.discard((host_name, device_id))
        else:
            self._edge_devices.add((host_name, device_id))


def _configure_logging() -> None:
    faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore", "uvicorn.error", "docker", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Clients keep idle connections; that they are cut at the end is no error.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "timeout graceful shutdown exceeded" not in record.getMessage()
    )


def _log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A background task that dies must be seen, and must not end the daemon."""
    _log.error("unhandled in the event loop: %s", context.get("message"), exc_info=context.get("exception"))
