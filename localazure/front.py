"""The TLS listener's way from a path to the service that answers it."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Front:
    """An ASGI application: the first path segment, in any case (ARM ids have none), picks the service.

    Anything else is 501 with Azure's error envelope and the name of what was asked for: storage accounts' blobs, vaults' secrets,
    telemetry, whatever resources lead to and nobody serves here.
    """

    def __init__(self, mounts: Iterable[tuple[Iterable[str], ASGIApp]]) -> None:
        self._mounts = {segment.lower(): app for segments, app in mounts for segment in segments}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        segment = scope["path"].lstrip("/").partition("/")[0].lower()
        await self._mounts.get(segment, _nothing)(scope, receive, send)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    message = f"The local Azure does not implement {scope['method']} {scope['path']}."
    await JSONResponse({"error": {"code": "NotImplemented", "message": message}}, 501)(scope, receive, send)
