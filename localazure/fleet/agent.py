"""One simulated agent: it stays connected and takes up every change of its desired properties."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

from localazure.edge import reported
from localazure.fleet import state
from localazure.fleet.client import ConnectionEndedError, HubClient, Place

log = logging.getLogger("localazure.fleet")

_LIFETIME = 3600
_RETRY_SECONDS = 10.0  # an agent tries a failed deployment again
_LONGEST_PAUSE = 30.0
_WORK_SECONDS = (0.2, 2.0)
"""How long a device takes to apply a deployment."""

Json = dict[str, Any]


class Agent:
    """`door` limits how many shake hands at a time. `connected` and `failing` are for the worker's counts."""

    def __init__(self, place: Place, host: str, device_id: str, key: str, door: asyncio.Semaphore) -> None:
        self.place, self.host, self.key, self._door = place, host, key, door
        self.device = state.Device(device_id)
        self.connected = False
        self.share = 0.0
        self._desired: Json = {}
        self._changed = asyncio.Event()

    @property
    def failing(self) -> bool:
        return (self.device.shown.get("lastDesiredStatus") or {}).get("code") not in (None, 200, 417)

    def set_share(self, share: float) -> None:
        """Of the fleet that fails from now on; whoever is mended tries again."""
        self.share = share
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause = 1.0
        while True:
            client = HubClient(self.place, self.host, self.device.id, "$edgeAgent", self.key, self._came)
            try:
                async with self._door:
                    await client.connect(int(_LIFETIME * random.uniform(0.7, 1.0)))  # noqa: S311 - not all at the same time
                    twin = await client.read_twin()
                self._desired = twin["desired"]
                self.device.shown = twin["reported"]
                self.device.running = self.device.running or state.running_of(twin["reported"], twin["desired"])
                self.connected, pause = True, 1.0
                await self._serve(client)
            except (ConnectionEndedError, OSError, TimeoutError) as error:
                log.debug("%s: %s", self.device.id, error)
            finally:
                self.connected = False
                await client.close()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _came(self, patch: Json) -> None:
        self._desired = reported.merge(self._desired, patch)
        self._changed.set()

    async def _serve(self, client: HubClient) -> None:
        self._changed.set()
        while not client.closed.done():
            await self._next(client)
            if client.closed.done():
                return
            self._changed.clear()
            if self._due():
                await asyncio.sleep(random.uniform(*_WORK_SECONDS))  # noqa: S311
                await self._apply(client)

    async def _next(self, client: HubClient) -> None:
        """Until something changes, the connection ends, or it is time to try again."""
        changed = asyncio.ensure_future(self._changed.wait())
        waiting: list[asyncio.Future[Any]] = [changed, client.closed]
        pause = _RETRY_SECONDS if self.failing else None
        await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()

    def _due(self) -> bool:
        """Whether there is something that was not tried, or that failed."""
        shown = self.device.shown
        return (
            shown.get("lastDesiredVersion") != self._desired.get("$version")
            or self.failing
            or not shown.get("lastDesiredStatus")
        )

    async def _apply(self, client: HubClient) -> None:
        new = self.device.take(self._desired, state.is_chosen(self.device.id, self.share))
        patch = reported.diff(self.device.shown, new)
        if patch:
            await client.report(patch)
            self.device.shown = new


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
