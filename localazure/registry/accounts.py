"""The registries' rows: name, port, admin user and its two passwords. Everything that must survive a restart, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import sqlite3
import uuid
import zlib
from dataclasses import dataclass

from localazure.instance import REGISTRY_PORTS, InstanceError
from localazure.store import Store

PASSWORD_NAMES = ("password", "password2")
TASK_USER = "00000000-0000-0000-0000-000000000000"
"""ACR's user name for "the password is a token" (`az acr login`)."""

_TABLES = """
CREATE TABLE IF NOT EXISTS registry (
    key TEXT PRIMARY KEY,              -- lower-case name: registry names are compared without case
    name TEXT NOT NULL,
    port INTEGER NOT NULL UNIQUE,
    admin_enabled INTEGER NOT NULL DEFAULT 0,
    http_secret TEXT NOT NULL          -- docker-registry signs the state of an upload with it
);
CREATE TABLE IF NOT EXISTS registry_password (
    registry TEXT NOT NULL REFERENCES registry(key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    serial TEXT NOT NULL,              -- new with every value: a token names the password it was bought with
    PRIMARY KEY (registry, name)
);
"""


@dataclass(frozen=True)
class Registry:
    key: str
    name: str
    port: int
    admin_enabled: bool
    http_secret: str


class Accounts:
    """All methods raise KeyError for a registry that does not exist, with its name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task_passwords: dict[str, str] = {}
        store.script(_TABLES)

    def all(self) -> list[Registry]:
        return [_registry(row) for row in self._store.all("SELECT * FROM registry ORDER BY key")]

    def find(self, name: str) -> Registry | None:
        row = self._store.one("SELECT * FROM registry WHERE key = ?", name.lower())
        return _registry(row) if row else None

    def get(self, name: str) -> Registry:
        found = self.find(name)
        if found is None:
            raise KeyError(f"no container registry '{name}'")
        return found

    def add(self, name: str, refused_ports: frozenset[int] = frozenset()) -> Registry:
        """A new registry with its admin user off, as in ACR. `refused_ports` were found taken by other programs."""
        with self._store.transaction():
            port = self._free_port(name.lower(), refused_ports)
            self._store.execute(
                "INSERT INTO registry (key, name, port, http_secret) VALUES (?, ?, ?, ?)",
                name.lower(),
                name,
                port,
                secrets.token_hex(32),
            )
            for password in PASSWORD_NAMES:
                self._set_password(name.lower(), password)
        return self.get(name)

    def remove(self, name: str) -> None:
        self._store.execute("DELETE FROM registry WHERE key = ?", name.lower())
        self._task_passwords.pop(name.lower(), None)

    def set_admin(self, name: str, enabled: bool) -> None:
        self._store.execute("UPDATE registry SET admin_enabled = ? WHERE key = ?", int(enabled), self.get(name).key)

    def passwords(self, name: str) -> tuple[str, str]:
        """(password, password2)."""
        key = self.get(name).key
        rows = self._store.all("SELECT name, value FROM registry_password WHERE registry = ?", key)
        values = {row["name"]: row["value"] for row in rows}
        return values["password"], values["password2"]

    def regenerate(self, name: str, password: str) -> None:
        """Raises ValueError for a password name that ACR does not have."""
        if password not in PASSWORD_NAMES:
            raise ValueError(f"'{password}' is not a password name of a registry; one of {', '.join(PASSWORD_NAMES)}")
        self._set_password(self.get(name).key, password)

    def task_login(self, name: str) -> tuple[str, str]:
        """User and password for ACR Tasks: good while this process lives, whether the admin user is on or off."""
        return TASK_USER, self._task_passwords.setdefault(self.get(name).key, secrets.token_urlsafe(48))

    def login(self, name: str, user: str, password: str) -> str | None:
        """The serial of the password that matches, or None: wrong user, wrong password, or the admin user is off."""
        registry = self.find(name)
        if registry and user == TASK_USER:
            task = self._task_passwords.get(registry.key)
            return _task_serial(task) if task and hmac.compare_digest(task.encode(), password.encode()) else None
        if registry is None or not registry.admin_enabled or user != registry.name:
            return None
        rows = self._store.all("SELECT value, serial FROM registry_password WHERE registry = ?", registry.key)
        matches = [row["serial"] for row in rows if hmac.compare_digest(row["value"].encode(), password.encode())]
        return matches[0] if matches else None

    def is_current(self, name: str, serial: str) -> bool:
        """Whether the password of this serial still opens the registry."""
        registry = self.find(name)
        task = self._task_passwords.get(registry.key) if registry else None
        if task and serial == _task_serial(task):
            return True
        if registry is None or not registry.admin_enabled:
            return False
        row = self._store.one("SELECT 1 FROM registry_password WHERE registry = ? AND serial = ?", registry.key, serial)
        return row is not None

    def _set_password(self, key: str, password: str) -> None:
        self._store.execute(
            "INSERT OR REPLACE INTO registry_password (registry, name, value, serial) VALUES (?, ?, ?, ?)",
            key,
            password,
            _new_password(),
            uuid.uuid4().hex,
        )

    def _free_port(self, key: str, refused: frozenset[int]) -> int:
        """Drawn from the name, so that a registry made again under its name has its old login server, as in Azure, and an image
        reference into a deleted registry rarely leads into another one."""
        used = {row["port"] for row in self._store.all("SELECT port FROM registry")} | refused
        count = len(REGISTRY_PORTS)
        first = zlib.crc32(key.encode()) % count
        for step in range(count):
            port = REGISTRY_PORTS[(first + step) % count]
            if port not in used:
                return port
        raise InstanceError(
            f"no port left for container registry '{key}': all of {REGISTRY_PORTS.start}..{REGISTRY_PORTS.stop - 1} are in use"
        )


def _registry(row: sqlite3.Row) -> Registry:
    return Registry(
        key=row["key"],
        name=row["name"],
        port=row["port"],
        admin_enabled=bool(row["admin_enabled"]),
        http_secret=row["http_secret"],
    )


def _task_serial(password: str) -> str:
    """Tokens are readable: they name the password by its hash."""
    return hashlib.sha256(password.encode()).hexdigest()


def _new_password() -> str:
    """52 characters in the form that secret scanners know as an ACR key: 42 of base64, `+ACR`, one of A-D, 5 of base64."""
    text = base64.b64encode(secrets.token_bytes(36)).decode()
    return f"{text[:42]}+ACR{secrets.choice('ABCD')}{text[42:47]}"
