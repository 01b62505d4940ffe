"""What an HTTP client may take its time for, and how its connection is broken.

uvicorn waits for ever for the end of a request's head and body; a few thousand idle sockets would stop the daemon (slowloris).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Any

import h11
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT, _CUT = "localazure.transport", "localazure.cut"
_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data")


@dataclass(frozen=True)
class Patience:
    """Seconds for a request's head, and for each next piece of its body; connections a listener has at once (then 503).

    Forms (tokens: nobody here takes another) are read whole into memory by those who serve them: they are limited in bytes here.
    """

    head_seconds: float = 30.0
    piece_seconds: float = 60.0
    connections: int = 1000
    form_bytes: int = 64 * 1024

    def protocol(self) -> type[H11Protocol]:
        seconds = self.head_seconds

        class Protocol(_HeadTimed):
            head_seconds = seconds

        return Protocol


class _HeadTimed(H11Protocol):
    """uvicorn's own HTTP/1.1 with a limit for the time until a request's head is complete."""

    head_seconds: float
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_came()
        elif self._head_timer is None:
            self._expect_head()  # the next request of a kept connection began

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None


class Connection:
    """The outermost ASGI layer: hands the transport to `reset`, limits how long a body may pause and how large a form may be."""

    def __init__(self, app: ASGIApp, patience: Patience) -> None:
        self._app, self._patience = app, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # uvicorn gives bound methods of its request; its tests of ours would notice if that changed.
        scope[_TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        headers = dict(scope["headers"])
        limit = self._patience.form_bytes if headers.get(b"content-type", b"").lower().startswith(_FORMS) else None
        if limit is not None and int(headers.get(b"content-length", b"0")) > limit:
            message = f"The form is larger than {limit} bytes."
            await JSONResponse({"error": "invalid_request", "error_description": message}, 413)(scope, receive, send)
            return
        await self._app(scope, self._paced(scope, receive, limit), send)
        if scope.get(_CUT):
            await reset(scope, receive)

    def _paced(self, scope: Scope, receive: Receive, limit: int | None) -> Receive:
        complete, length = False, 0

        async def next_piece() -> Message:
            nonlocal complete, length
            if complete:
                return await receive()  # waits for the client to hang up: that may take as long as it likes
            try:
                async with asyncio.timeout(self._patience.piece_seconds):
                    message = await receive()
            except TimeoutError:
                cut(scope)
                return {"type": "http.disconnect"}
            complete = not message.get("more_body", False)
            length += len(message.get("body", b""))
            if limit is not None and length > limit:
                cut(scope)
                return {"type": "http.disconnect"}
            return message

        return next_piece


def cut(scope: Scope) -> None:
    """Reset the TCP connection of a request: what was not sent yet never arrives."""
    transport: Any = scope.get(_TRANSPORT)
    if transport is None or scope.get(_CUT):
        return
    scope[_CUT] = True
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST in place of FIN
    transport.abort()


async def reset(scope: Scope, receive: Receive) -> None:
    """`cut`, and wait until the server knows: it would answer 500 for an application that returns without a word."""
    cut(scope)
    async with asyncio.timeout(5):
        while (await receive())["type"] != "http.disconnect":
            pass
