"""ASGI middleware that does to a request what the fault book says."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localazure import server
from localazure.faults.answers import answer
from localazure.faults.book import FaultBook
from localazure.faults.rules import AFTER, Fault, Place

_log = logging.getLogger(__name__)

_STEP_SECONDS = 0.1
_OURS = "/localazure/"  # else a fault for everything could never be cleared


class FaultyApp:
    """`place_of(path)` names the service behind a path of this listener; `disconnect(device)` drops a device's MQTT sessions."""

    def __init__(
        self,
        app: ASGIApp,
        book: FaultBook,
        place_of: Callable[[str], Place],
        disconnect: Callable[[str], int],
    ) -> None:
        self._app, self._book, self._place_of, self._disconnect = app, book, place_of, disconnect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._concerned(scope)
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.action in AFTER:
            await self._after(fault, scope, receive, send)
        else:
            await self._before(fault, scope, receive, send)

    def _concerned(self, scope: Scope) -> Fault | None:
        if scope["type"] != "http" or scope["path"].startswith(_OURS):
            return None
        path = scope["path"]
        return self._book.find(scope["method"], path, self._place_of(path), _presents_credentials(scope))

    async def _before(self, found: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._take(found, scope)
        if fault is None or not await self._strikes(fault):
            await self._app(scope, receive, send)
            return
        if fault.action == "status":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            place = self._place_of(scope["path"])
            refused = answer(place, scope["path"], fault.status_now, fault.retry_after, host)
            await refused(scope, receive, send)
        elif fault.action == "reset-before":
            await server.reset(scope, receive)
        else:
            if fault.action == "disconnect":
                self._disconnect(fault.device)
            await self._app(scope, receive, send)

    async def _after(self, found: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that was refused did nothing: its answer goes out and the fault waits for the next."""
        cut = False

        async def instead(message: Message) -> None:
            nonlocal cut
            if message["type"] == "http.response.start" and message["status"] < 400:
                fault = self._take(found, scope)
                if fault and await self._strikes(fault):
                    if fault.action == "kill-after":
                        os.kill(os.getpid(), signal.SIGKILL)
                    cut = True
                    server.cut(scope)
            if not cut:
                await send(message)

        await self._app(scope, receive, instead)
        if cut:
            await server.reset(scope, receive)

    async def _strikes(self, fault: Fault) -> bool:
        """After its delay; not when it is cleared meanwhile: what it holds back then goes on."""
        loop = asyncio.get_running_loop()
        end = loop.time() + fault.delay
        while (left := end - loop.time()) > 0 and self._book.has(fault):  # noqa: ASYNC110 - the book knows nothing of the loop
            await asyncio.sleep(min(left, _STEP_SECONDS))
        return self._book.has(fault)

    def _take(self, found: Fault, scope: Scope) -> Fault | None:
        fault = self._book.take(found)
        if fault:
            scope["localazure.fault"] = fault.id
            _log.warning("fault %d (%s) hits %s %s", fault.id, fault.action, scope["method"], scope["path"])
        return fault


def _presents_credentials(scope: Scope) -> bool:
    """A password or token, in the header or (a registry's token endpoint) in a form."""
    headers: dict[bytes, Any] = dict(scope["headers"])
    return b"authorization" in headers or (scope["method"] == "POST" and scope["path"] == "/oauth2/token")
