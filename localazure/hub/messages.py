"""Device-to-cloud messages of one hub: kept in order, the newest 10,000."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import unquote

from localazure.hub.errors import HubError
from localazure.hub.identities import Key
from localazure.hub.strict_json import parse_json
from localazure.hub.tables import now
from localazure.store import Store, dump

RETENTION = 10_000
MAX_BYTES = 256 * 1024  # body and properties (learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-construct)
_SYSTEM = {
    "$.mid": "messageId",
    "$.cid": "correlationId",
    "$.ct": "contentType",
    "$.ce": "contentEncoding",
    "$.on": "outputName",
}
_FIELDS = ("deviceId", "moduleId", "outputName", "messageId", "correlationId", "contentType", "contentEncoding")


def parse_properties(bag: str) -> tuple[dict[str, str], dict[str, str]]:
    """The end of an MQTT topic, `%24.mid=1&key=value[/]`, as (system properties by their names, application properties).

    System properties that the stream does not show (`$.uid`, `$.exp`, ...) are dropped. Both sides are percent-encoded; '+' is a plus.
    """
    pairs = [part.partition("=") for part in bag.removesuffix("/").split("&") if part]
    decoded = {unquote(name): unquote(value) for name, _, value in pairs}
    system = {_SYSTEM[name]: value for name, value in decoded.items() if name in _SYSTEM}
    return system, {name: value for name, value in decoded.items() if not name.startswith("$.")}


class Messages:
    def __init__(self, store: Store, hub: str) -> None:
        self._store = store
        self._hub = hub
        self._arrived = asyncio.Event()

    def today(self) -> int:
        """How many arrived since midnight UTC, of those that are kept."""
        row = self._store.one(
            "SELECT count(*) AS number FROM hub_messages WHERE hub = ? AND json_extract(document, '$.enqueuedTimeUtc') >= ?",
            self._hub,
            now()[:10],
        )
        return row["number"] if row else 0

    def append(self, sender: Key, bag: str, body: bytes) -> None:
        """Store a message in the caller's transaction; older ones than the retention go."""
        system, properties = parse_properties(bag)
        document = {
            "enqueuedTimeUtc": now(),
            "deviceId": sender.device_id,
            "moduleId": sender.module_id or None,
            **system,
            "properties": properties,
        }
        cursor = self._store.execute(
            "INSERT INTO hub_messages (hub, document, body) VALUES (?, ?, ?)", self._hub, dump(document), body
        )
        if (cursor.lastrowid or 0) % 100 == 0:  # one sweep for many messages
            self._store.execute(
                "DELETE FROM hub_messages WHERE hub = ? AND sequence <= (SELECT sequence FROM hub_messages"
                " WHERE hub = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                self._hub, self._hub, RETENTION,
            )  # fmt: skip

    def announce(self) -> None:
        """Wake up who waits; call it after the commit."""
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def wait(self) -> None:
        """Until the next `announce`."""
        await self._arrived.wait()

    def since(self, sequence: int, limit: int = 100) -> list[dict[str, Any]]:
        """The lines of the stream (see `events.py`) with a higher number, oldest first."""
        rows = self._store.all(
            "SELECT * FROM hub_messages WHERE hub = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            self._hub,
            sequence,
            limit,
        )
        return [_line(row["sequence"], json.loads(row["document"]), row["body"]) for row in rows]


def _line(sequence: int, document: dict[str, Any], body: bytes) -> dict[str, Any]:
    line = {
        "sequence": sequence,
        "enqueuedTimeUtc": document["enqueuedTimeUtc"],
        **{name: document.get(name) for name in _FIELDS},
        "properties": document["properties"],
        "body": base64.b64encode(body).decode(),
    }
    try:
        return {**line, "bodyJson": parse_json(body)}
    except HubError:
        return line
