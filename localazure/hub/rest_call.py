"""A request to a hub's REST side, as its handlers see it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localazure.hub import events
from localazure.hub.access import Caller
from localazure.hub.errors import HubError, invalid
from localazure.hub.hub import Hub
from localazure.hub.identities import Key
from localazure.hub.strict_json import parse_json

MAX_BODY = 512 * 1024
_MAX_DISCARDED = 16 * MAX_BODY
MAX_TOP = 1000

Json = dict[str, Any]


class Call:
    """One request on its way: who asks, for what."""

    def __init__(self, hub: Hub, request: Request, who: Caller, stopping: asyncio.Event) -> None:
        self.hub = hub
        self.request = request
        self.who = who
        self.stopping = stopping
        self.if_match = request.headers.get("if-match")

    @property
    def key(self) -> Key:
        """The device or module of the path."""
        return Key(self.request.path_params["device"], self.request.path_params.get("module", ""))

    @property
    def name(self) -> str:
        return self.request.path_params["name"]

    @property
    def top(self) -> int:
        return int(events.number(self.request.query_params.get("top"), "top", MAX_TOP, MAX_TOP))

    async def body(self) -> Json:
        """The body as a JSON object. Raises 400 and 413."""
        document = await self.document()
        if not isinstance(document, dict):
            raise invalid("the body is not a JSON object")
        return document

    async def document(self) -> Any:
        """The body as JSON. Raises 400 and 413."""
        data, length = bytearray(), 0
        if int(self.request.headers.get("content-length", "0")) > _MAX_DISCARDED:
            raise HubError("GenericRequestEntityTooLarge", f"the body is larger than {MAX_BODY} bytes")
        async for chunk in self.request.stream():
            length += len(chunk)
            if length <= MAX_BODY:
                data += chunk
            elif length > _MAX_DISCARDED:  # up to here the client is heard out, so that it reads the answer
                break
        if length > MAX_BODY:
            raise HubError("GenericRequestEntityTooLarge", f"the body is larger than {MAX_BODY} bytes")
        return parse_json(bytes(data))


def tagged(document: Json, status: int = 200) -> Response:
    """The answer for something that has an entity tag."""
    return JSONResponse(document, status, {"ETag": f'"{document["etag"]}"'})
