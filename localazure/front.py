"""The TLS listener's way from a path to the service that answers it."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Front:
    """An ASGI application: the first path segment, in any case (ARM ids have none), picks the service.

    Anything else is 404 with Azure's error envelope.
    """

    def __init__(self, mounts: Iterable[tuple[Iterable[str], ASGIApp]]) -> None:
        self._mounts = {segment.lower(): app for segments, app in mounts for segment in segments}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        segment = scope["path"].lstrip("/").partition("/")[0].lower()
        await self._mounts.get(segment, _nothing)(scope, receive, send)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    message = f"the local Azure has no service at {scope['method']} {scope['path']}"
    await JSONResponse({"error": {"code": "NotFound", "message": message}}, 404)(scope, receive, send)
