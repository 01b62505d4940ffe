"""The device-to-cloud messages as a local HTTP stream, in place of the Event Hubs endpoint that a real hub has.

`GET /messages/events?since=<sequence>&timeout=<seconds>` with the right ServiceConnect answers newline-delimited JSON: first what is
stored with a number greater than `since` (default 0), then what arrives, until `timeout` (default 30, at most 3600) is over; 0 only reads
what is there. A line: `{sequence, enqueuedTimeUtc, deviceId, moduleId, outputName, messageId, correlationId, contentType, contentEncoding,
properties, body, bodyJson}`; `body` is base64, `bodyJson` is there when the body is JSON; what is not known is null. Sequence numbers
grow, with gaps. The newest 10,000 messages of a hub are kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from localazure.hub.errors import invalid
from localazure.hub.messages import Messages

MAX_SECONDS = 3600.0


def number(text: str | None, name: str, default: float, highest: float) -> float:
    """A query parameter. Raises 400."""
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= highest:
        raise invalid(f"{name} is not a number in 0..{highest:g}")
    return value


async def lines(messages: Messages, since: int, seconds: float, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """The stream's lines; ends early when `stopping` is set."""
    deadline = asyncio.get_running_loop().time() + seconds
    stop = asyncio.create_task(stopping.wait())
    try:
        while True:
            arrived = asyncio.create_task(messages.wait())
            await asyncio.sleep(0)  # let it take the event before the database is read: nothing slips between
            try:
                while batch := messages.since(since):
                    for line in batch:
                        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"
                    since = batch[-1]["sequence"]
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or stop.done():
                    return
                await asyncio.wait({arrived, stop}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                arrived.cancel()
    finally:
        stop.cancel()
