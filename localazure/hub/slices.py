"""Long work on the event loop in short pieces, so that requests and MQTT go on meanwhile."""

from __future__ import annotations

import asyncio
import time

_SECONDS = 0.005


class Slices:
    """`await slices.breathe()` after each small step: it lets others run once five milliseconds are over."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + _SECONDS

    async def breathe(self) -> None:
        if time.perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = time.perf_counter() + _SECONDS
