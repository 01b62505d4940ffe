"""Store and forward: every message that a route takes lies in the device's database until its receiver has acknowledged it."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from localazure.edge.messages import Message
from localazure.edge.routes import Endpoint
from localazure.store import Store, dump


@dataclass(frozen=True)
class Stored:
    """`id` grows in the order of arrival."""

    id: int
    endpoint: Endpoint
    message: Message


@dataclass(frozen=True)
class Delivery:
    """Where a message goes: one row for each."""

    endpoint: Endpoint
    priority: int
    time_to_live: float


class Outbox:
    """In order of priority, then of arrival, for each receiver: a module, or the hub for each sender."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.script(
            """
            CREATE TABLE IF NOT EXISTS messages (
                id INTEGER PRIMARY KEY AUTOINCREMENT, module TEXT NOT NULL, input TEXT NOT NULL, sender TEXT NOT NULL,
                priority INTEGER NOT NULL, expires REAL NOT NULL, properties TEXT NOT NULL, body BLOB NOT NULL);
            CREATE INDEX IF NOT EXISTS messages_by_receiver ON messages (module, sender, priority, id);
            """
        )

    def put(self, message: Message, deliveries: Iterable[Delivery]) -> None:
        """All or nothing; committed when it returns, so the sender may be acknowledged."""
        properties, now = dump([message.system, message.properties]), time.time()
        with self._store.transaction():
            for delivery in deliveries:
                self._store.execute(
                    "INSERT INTO messages (module, input, sender, priority, expires, properties, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    delivery.endpoint.module,
                    delivery.endpoint.input,
                    message.sender,
                    delivery.priority,
                    now + delivery.time_to_live,
                    properties,
                    message.body,
                )

    def for_module(self, module: str, limit: int, except_ids: Collection[int] = ()) -> list[Stored]:
        return self._waiting("module = ?", module, limit, except_ids)

    def for_hub(self, sender: str, limit: int) -> list[Stored]:
        """What one device or module has sent to `$upstream`."""
        return self._waiting("module = '' AND sender = ?", sender, limit, ())

    def hub_senders(self) -> list[str]:
        return [row["sender"] for row in self._store.all("SELECT DISTINCT sender FROM messages WHERE module = ''")]

    def delete(self, id_: int) -> None:
        self._store.execute("DELETE FROM messages WHERE id = ?", id_)

    def delete_expired(self) -> int:
        """The number of messages whose time to live is over; nobody gets them any more."""
        return self._store.execute("DELETE FROM messages WHERE expires <= ?", time.time()).rowcount

    def _waiting(self, condition: str, value: str, limit: int, except_ids: Collection[int]) -> list[Stored]:
        marks = ",".join("?" * len(except_ids))
        rows = self._store.all(
            f"SELECT * FROM messages WHERE {condition} AND expires > ? AND id NOT IN ({marks})"  # noqa: S608 - only marks are filled in
            " ORDER BY priority, id LIMIT ?",
            value,
            time.time(),
            *except_ids,
            limit,
        )
        found = []
        for row in rows:
            system, properties = json.loads(row["properties"])
            device, _, module = row["sender"].partition("/")
            message = Message(device, module or None, bytes(row["body"]), system, properties)
            found.append(Stored(row["id"], Endpoint(row["module"], row["input"]), message))
        return found
