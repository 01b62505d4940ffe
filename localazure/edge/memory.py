"""What the device remembers over a restart, in `device.db`: identities, the last deployment, the modules' restarts, sessions.

The file holds keys of modules and leaf devices (edgeHub caches them, too, to work while the hub is away); it lies in a folder
that only its user can open. Passwords of registries are not kept.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from localazure.edge.planner import Health
from localazure.store import Store, dump


class Memory:
    """Small documents and tables of the device. `store` is shared with the edge hub's message queue."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "device.db")
        self.store.script(
            """
            CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, content TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS health (
                module TEXT PRIMARY KEY, restarts INTEGER NOT NULL, last_restart TEXT NOT NULL, parked INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS sessions (client TEXT PRIMARY KEY, subscriptions TEXT NOT NULL);
            """
        )

    def close(self) -> None:
        self.store.close()

    def read(self, name: str, default: Any = None) -> Any:
        row = self.store.one("SELECT content FROM documents WHERE name = ?", name)
        return json.loads(row["content"]) if row else default

    def write(self, name: str, content: Any) -> None:
        self.store.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", name, dump(content))

    def health(self) -> dict[str, Health]:
        return {
            row["module"]: Health(row["restarts"], datetime.fromisoformat(row["last_restart"]), bool(row["parked"]))
            for row in self.store.all("SELECT * FROM health")
        }

    def set_health(self, module: str, health: Health | None) -> None:
        if health is None:
            self.store.execute("DELETE FROM health WHERE module = ?", module)
        else:
            values = (module, health.restarts, health.last_restart.isoformat(), int(health.parked))
            self.store.execute("INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?)", *values)

    def subscriptions(self, client: str) -> dict[str, int] | None:
        """Those of an MQTT session that the client wants to continue."""
        row = self.store.one("SELECT subscriptions FROM sessions WHERE client = ?", client)
        return json.loads(row["subscriptions"]) if row else None

    def set_subscriptions(self, client: str, subscriptions: dict[str, int] | None) -> None:
        if subscriptions is None:
            self.store.execute("DELETE FROM sessions WHERE client = ?", client)
        else:
            self.store.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", client, dump(subscriptions))
