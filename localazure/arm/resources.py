"""ARM's tables: resources, what was soft-deleted, and secrets. Keys are resource ids in folded case."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localazure.store import Store, dump

Json = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS arm_resources (
  key TEXT PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, inputs TEXT NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS arm_resources_type ON arm_resources (type, key);
CREATE TABLE IF NOT EXISTS arm_tombstones (
  key TEXT PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, inputs TEXT NOT NULL, state TEXT NOT NULL,
  deleted REAL NOT NULL, purge REAL NOT NULL);
CREATE TABLE IF NOT EXISTS arm_secrets (
  key TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key, name));
"""
_LAST = "\U0010ffff"  # sorts after every character that an id may hold


@dataclass
class Resource:
    """`inputs` is what the user asked for (ARM's writable properties), `state` what the service decided, in the same shape."""

    id: str
    type: str
    name: str
    inputs: Json
    state: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.id.casefold()

    @property
    def location(self) -> str:
        return self.inputs.get("location", "")

    @property
    def properties(self) -> Json:
        return self.inputs.get("properties", {})

    @property
    def provisioning_state(self) -> str:
        return self.state.get("properties", {}).get("provisioningState", "")

    def decide(self, **properties: Any) -> None:
        """Set read-only properties."""
        self.state.setdefault("properties", {}).update(properties)

    def copy(self) -> Resource:
        return copy.deepcopy(self)


@dataclass
class Tombstone:
    """A soft-deleted resource; times are seconds since the epoch."""

    resource: Resource
    deleted: float
    purge: float


class Resources:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.gone: list[Callable[[Resource], None]] = []
        """Called for each resource that is removed for good, not for those below it."""
        store.script(_TABLES)

    def get(self, resource_id: str) -> Resource | None:
        row = self.store.one("SELECT * FROM arm_resources WHERE key = ?", _key(resource_id))
        return _resource(row) if row else None

    def save(self, resource: Resource) -> None:
        self.store.execute(
            "INSERT INTO arm_resources VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET inputs = excluded.inputs, state = excluded.state",
            resource.key,
            resource.id,
            resource.type,
            resource.name,
            dump(resource.inputs),
            dump(resource.state),
        )

    def remove(self, resource: Resource) -> None:
        """Forget a resource with everything below it (role assignments at its scope too), and their secrets."""
        self._remove(resource)
        self._tell(resource)

    def _tell(self, resource: Resource) -> None:
        for callback in self.gone:
            callback(resource)

    def _remove(self, resource: Resource) -> None:
        for table in ("arm_resources", "arm_secrets"):
            self.store.execute(f"DELETE FROM {table} WHERE key = ?", resource.key)  # noqa: S608 - our own names
            self.store.execute(
                f"DELETE FROM {table} WHERE key > ? AND key < ?",  # noqa: S608
                f"{resource.key}/",
                f"{resource.key}/{_LAST}",
            )

    def below(self, scope: str, kind: str | None = None) -> list[Resource]:
        """All resources below a scope ('' is everything), of one type if asked for, ordered by key."""
        low, high = f"{_key(scope)}/", f"{_key(scope)}/{_LAST}"
        if kind:
            rows = self.store.all(
                "SELECT * FROM arm_resources WHERE type = ? AND key > ? AND key < ? ORDER BY key", kind, low, high
            )
        else:
            rows = self.store.all("SELECT * FROM arm_resources WHERE key > ? AND key < ? ORDER BY key", low, high)
        return [_resource(row) for row in rows]

    def named(self, kind: str, name: str) -> Resource | None:
        """Whoever holds a name that must be unique in the whole cloud."""
        row = self.store.one("SELECT * FROM arm_resources WHERE type = ? AND name = ? COLLATE NOCASE", kind, name)
        return _resource(row) if row else None

    # --- soft delete

    def bury(self, resource: Resource, retention: float) -> None:
        """Soft-delete: gone for ARM, its name and secrets kept for `retention` seconds."""
        now = time.time()
        secrets = self.secrets(resource)
        self._remove(resource)
        self.keep_secrets(resource, secrets)
        self.store.execute(
            "INSERT OR REPLACE INTO arm_tombstones VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            resource.key,
            resource.id,
            resource.type,
            resource.name,
            dump(resource.inputs),
            dump(resource.state),
            now,
            now + retention,
        )

    def tombstones(self, kind: str, *, key: str | None = None, name: str | None = None) -> list[Tombstone]:
        """The soft-deleted resources of a type that are not past their retention; all, or those of one id or name."""
        rows = self.store.all(
            "SELECT * FROM arm_tombstones WHERE type = ? AND purge > ? ORDER BY key", kind, time.time()
        )
        found = [Tombstone(_resource(row), row["deleted"], row["purge"]) for row in rows]
        if key is not None:
            found = [one for one in found if one.resource.key == key]
        if name is not None:
            found = [one for one in found if one.resource.name.casefold() == name.casefold()]
        return found

    def exhume(self, tombstone: Tombstone) -> None:
        """Recovered: the tombstone goes, the secrets stay."""
        self.store.execute("DELETE FROM arm_tombstones WHERE key = ?", tombstone.resource.key)

    def purge(self, tombstone: Tombstone) -> None:
        self.exhume(tombstone)
        self.store.execute("DELETE FROM arm_secrets WHERE key = ?", tombstone.resource.key)
        self._tell(tombstone.resource)

    def purge_expired(self) -> None:
        with self.store.transaction():
            for row in self.store.all("SELECT * FROM arm_tombstones WHERE purge <= ?", time.time()):
                self.purge(Tombstone(_resource(row), row["deleted"], row["purge"]))

    # --- secrets: never part of inputs or state, so that no GET can show one

    def secrets(self, resource: Resource) -> dict[str, str]:
        rows = self.store.all("SELECT name, value FROM arm_secrets WHERE key = ?", resource.key)
        return {row["name"]: row["value"] for row in rows}

    def keep_secrets(self, resource: Resource, secrets: Mapping[str, str]) -> None:
        for name, value in secrets.items():
            self.store.execute("INSERT OR REPLACE INTO arm_secrets VALUES (?, ?, ?)", resource.key, name, value)


def _key(resource_id: str) -> str:
    return resource_id.rstrip("/").casefold()


def _resource(row: Any) -> Resource:
    return Resource(row["id"], row["type"], row["name"], json.loads(row["inputs"]), json.loads(row["state"]))
