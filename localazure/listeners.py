"""What stands round every listener of the daemon: the request log, the faults, and on hubs the role assignments."""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp

from localazure.arm import ArmService
from localazure.faults import FaultBook, FaultyApp, Place
from localazure.guards import HubGuard
from localazure.hub import HubService
from localazure.hub.access import AUDIENCE as HUB_AUDIENCE
from localazure.hub.identities import Key
from localazure.identity import Tokens
from localazure.instance import HUB_PORTS, IDENTITY_PORT, REGISTRY_PORTS, Instance
from localazure.requests import LoggedApp, RequestLog
from localazure.storage.service import CONTAINERS


class Registries(Protocol):
    def describe(self) -> list[dict[str, object]]: ...


class Listeners:
    """`wrap(app, "address:port")` for `server.wrapped`. The services are given by `know`: some are made while listeners already are."""

    def __init__(self, instance: Instance, log: RequestLog, book: FaultBook, tokens: Tokens) -> None:
        self._instance, self._log, self._book, self._tokens = instance, log, book, tokens
        self._arm: ArmService | None = None
        self._hubs: HubService | None = None
        self._registries: Registries | None = None

    def know(self, arm: ArmService, hubs: HubService, registries: Registries) -> None:
        self._arm, self._hubs, self._registries = arm, hubs, registries

    def wrap(self, app: ASGIApp, listener: str) -> ASGIApp:
        port = int(listener.rpartition(":")[2])
        if port in HUB_PORTS and self._arm:
            app = HubGuard(app, self._arm.access, self._tokens, [HUB_AUDIENCE], lambda: self._hub_id(listener))
        faulty = FaultyApp(app, self._book, lambda path: self.place(listener, path), self.disconnect)
        return LoggedApp(faulty, self._log, listener)

    def place(self, listener: str, path: str) -> Place:
        """The service behind a path of a listener."""
        port = int(listener.rpartition(":")[2])
        if port in HUB_PORTS:
            return Place("hub", self._hub_name(listener))
        if port in REGISTRY_PORTS:
            return Place("registry", self._registry_name(listener))
        first = path.lstrip("/").partition("/")[0].lower()
        if port == IDENTITY_PORT or first == self._instance.tenant_id:
            return Place("identity")
        if first in CONTAINERS:
            return Place("blob")
        return Place("ml" if first in ("discovery", "modelmanagement", "artifact") else "arm")

    def disconnect(self, device_id: str) -> int:
        """Drop the MQTT sessions of a device and its modules, at whichever hub. Returns how many there were."""
        front = self._hubs._front if self._hubs else None  # the hub room has no door for this yet
        if front is None or front.server is None:
            return 0
        count = 0
        for session in front.server.sessions:
            key = getattr(session.identity, "key", None)
            if isinstance(key, Key) and key.device_id == device_id:
                session.close("a fault of the local Azure was asked for")
                count += 1
        return count

    def _hub_name(self, listener: str) -> str:
        hubs = self._hubs
        return next((name for name in hubs.names() if hubs.host_name(name) == listener), "") if hubs else ""

    def _hub_id(self, listener: str) -> str | None:
        return self._arm.named("Microsoft.Devices/IotHubs", self._hub_name(listener)) if self._arm else None

    def _registry_name(self, listener: str) -> str:
        described = self._registries.describe() if self._registries else []
        return next((str(one["name"]) for one in described if one["loginServer"] == listener), "")
