"""`$edgeHub`'s twin: where the edge hub gets its routes from and says who is connected.

Shape of what it reports: Azure/iotedge `EdgeHubConnection.cs` (schemaVersion, version, lastDesiredVersion, lastDesiredStatus, clients).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from localazure.edge import reported
from localazure.edge.deployment import CONFIG_FORMAT, OK
from localazure.edge.edge_hub import EdgeHub
from localazure.edge.expressions import RouteError
from localazure.edge.memory import Memory
from localazure.edge.routes import parse_config
from localazure.edge.twin_link import LinkError, TwinLink

log = logging.getLogger("localazure.edge.hub")

_RETRY_SECONDS = 5


class HubTwin:
    """Starts the edge hub with the first deployment; a configuration that cannot be read leaves the last good one in force."""

    def __init__(self, memory: Memory, hub: EdgeHub) -> None:
        self._memory = memory
        self._hub = hub
        self._link: TwinLink | None = None
        self._desired: dict[str, Any] | None = memory.read("hub")
        self._reported: dict[str, Any] | None = None
        self._status: dict[str, Any] = {}
        self._running = False
        self._new = self._desired is not None
        self._stopping = False

    def attach(self, link: TwinLink) -> None:
        self._link = link

    def desired_came(self, desired: dict[str, Any], reported_now: dict[str, Any] | None) -> None:
        """For the twin connection. `reported_now` is what the hub has, None if that did not change."""
        if reported_now is not None:
            self._reported = reported_now
        self._desired, self._new = desired, True
        self._hub.clients_changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._hub.clients_changed.clear()
            if self._new:
                self._new = not await self._apply()
            await self._report()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hub.clients_changed.wait(), _RETRY_SECONDS)

    async def _apply(self) -> bool:
        """False when it has to be tried again."""
        desired = self._desired or {}
        version = int(desired.get("$version", 0))
        if not any(not key.startswith("$") for key in desired):
            return True  # not deployed yet: no edge hub
        try:
            config = parse_config(desired)
        except RouteError as error:
            log.warning("the deployment of $edgeHub cannot be used: %s", error)
            self._status = {
                "lastDesiredVersion": version,
                "lastDesiredStatus": reported.status(CONFIG_FORMAT, str(error)),
            }
            return True
        self._hub.use(config)
        if not self._running:
            try:
                await self._hub.start()
            except OSError as error:
                log.warning("the edge hub cannot listen, trying again: %s", error)
                return False
            self._running = True
        self._memory.write("hub", desired)
        self._status = {"lastDesiredVersion": version, "lastDesiredStatus": reported.status(OK, "")}
        return True

    async def _report(self) -> None:
        if self._link is None or self._reported is None or not self._link.connected or not self._status:
            return
        state = {
            "schemaVersion": "1.1",
            "version": reported.AGENT_VERSION,
            **self._status,
            "clients": {_key(client): dict(entry) for client, entry in self._hub.clients.items()},
        }
        patch = reported.diff(self._reported, state)
        if patch:
            try:
                await self._link.report(patch)
            except LinkError as error:
                log.warning("reporting failed, trying again later: %s", error)
                return
            self._reported = reported.merge(self._reported, patch)


def _key(client_id: str) -> str:
    """A property's name may hold none of these (Azure docs, "device twins")."""
    return client_id.replace(".", "%2E").replace("$", "%24").replace("#", "%23").replace(" ", "%20")
