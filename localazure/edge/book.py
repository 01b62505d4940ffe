"""The identities that the device knows: its modules and the leaf devices it is a gateway for, with their keys.

Kept over restarts, so that modules can still prove who they are while the hub is away (as edgeHub's DeviceScopeIdentitiesCache).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from localazure.edge.identities import EDGE_HUB, HubError, HubRest, Identity
from localazure.edge.memory import Memory

log = logging.getLogger("localazure.edge.identities")

_SHORTEST_INTERVAL = 0.5


class IdentityBook:
    """`on_change` functions are called after each refresh that changed something."""

    def __init__(self, rest: HubRest, memory: Memory, device_id: str) -> None:
        self._rest = rest
        self._memory = memory
        self._device_id = device_id
        self._known = {
            identity.client_id: identity for identity in (Identity(**entry) for entry in memory.read("identities", []))
        }
        self._lock = asyncio.Lock()
        self._refreshed = 0.0
        self.on_change: list[Callable[[], None]] = []

    def get(self, client_id: str) -> Identity | None:
        """By `device` or `device/module`."""
        return self._known.get(client_id)

    def module(self, name: str) -> Identity | None:
        return self._known.get(f"{self._device_id}/{name}")

    async def refresh(self) -> None:
        """Ask the hub now, but at most twice a second however many want it. Raises HubError; what was known stays known then."""
        called = time.monotonic()
        async with self._lock:
            if self._refreshed > called:
                return  # somebody else asked after we wanted to know
            await asyncio.sleep(max(0.0, self._refreshed + _SHORTEST_INTERVAL - time.monotonic()))
            began = time.monotonic()
            found = {identity.client_id: identity for identity in (await self._rest.modules()).values()}
            edge_hub = found.get(f"{self._device_id}/{EDGE_HUB}")
            if edge_hub:
                found |= {identity.client_id: identity for identity in await self._rest.scope(edge_hub)}
            self._refreshed = began
            self._take(found)

    async def ensure_module(self, name: str) -> Identity:
        """The module's identity, made at the hub if there is none. Raises HubError."""
        if not self.module(name):
            await self.refresh()
        identity = self.module(name)
        if identity is None:
            log.info("module %s has no identity yet: making one", name)
            identity = await self._rest.create_module(name)
            self._take({**self._known, identity.client_id: identity})
        return identity

    async def try_refresh(self) -> bool:
        """False when the hub does not answer: then what is known has to do."""
        try:
            await self.refresh()
        except HubError as error:
            log.warning("identities not refreshed: %s", error)
            return False
        return True

    def _take(self, found: dict[str, Identity]) -> None:
        if found == self._known:
            return
        self._known = found
        self._memory.write("identities", [identity.as_dict() for identity in found.values()])
        for function in self.on_change:
            function()
