"""Who exists in the directory besides the managed identity of this machine: service principals made for tests."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from localazure.identity import Tokens
from localazure.store import Store

_TABLE = """
CREATE TABLE IF NOT EXISTS identity_principals (
  name TEXT PRIMARY KEY COLLATE NOCASE, object_id TEXT NOT NULL UNIQUE, client_id TEXT NOT NULL UNIQUE, secret TEXT NOT NULL);
"""
DEFAULT = "default"


@dataclass(frozen=True)
class Principal:
    """`object_id` is what role assignments name, `client_id` what one logs in with."""

    name: str
    object_id: str
    client_id: str


class PrincipalError(ValueError):
    """The principal cannot be made or found; the message says why."""


class Principals:
    def __init__(self, store: Store, tokens: Tokens) -> None:
        store.script(_TABLE)
        self._store = store
        self.default = Principal(DEFAULT, tokens.object_id, tokens.client_id)
        """Whom every client is without a login of its own; Owner of the subscription."""

    def all(self) -> list[Principal]:
        rows = self._store.all("SELECT * FROM identity_principals ORDER BY name")
        return [self.default, *(_principal(row) for row in rows)]

    def with_client_id(self, client_id: str) -> Principal | None:
        return next((one for one in self.all() if one.client_id == client_id.lower()), None)

    def with_object_id(self, object_id: str) -> Principal | None:
        return next((one for one in self.all() if one.object_id == object_id.lower()), None)

    def add(self, name: str) -> tuple[Principal, str]:
        """(the principal, its client secret: only its hash is kept). Raises PrincipalError for a name that is taken or empty."""
        if not name.strip() or len(name) > 120:
            raise PrincipalError("a principal's name has 1 to 120 characters")
        if any(one.name.lower() == name.lower() for one in self.all()):
            raise PrincipalError(f"there is a principal '{name}' already; 'principal remove {name}' removes it")
        made, secret = Principal(name, str(uuid.uuid4()), str(uuid.uuid4())), secrets.token_urlsafe(32)
        self._store.execute(
            "INSERT INTO identity_principals VALUES (?, ?, ?, ?)", name, made.object_id, made.client_id, _hash(secret)
        )
        return made, secret

    def remove(self, name: str) -> Principal:
        """Its tokens stay valid until they expire, its role assignments stay: as in Azure."""
        row = self._store.one("SELECT * FROM identity_principals WHERE name = ?", name)
        if row is None:
            raise PrincipalError(f"there is no principal '{name}' that could be removed")
        self._store.execute("DELETE FROM identity_principals WHERE name = ?", name)
        return _principal(row)

    def authenticates(self, principal: Principal, secret: str) -> bool:
        """Never for the default principal: it has no secret."""
        row = self._store.one("SELECT secret FROM identity_principals WHERE client_id = ?", principal.client_id)
        return row is not None and hmac.compare_digest(row["secret"], _hash(secret))


def _hash(secret: str) -> str:
    """No salt and no stretching needed: the secret is 32 random bytes."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _principal(row: Any) -> Principal:
    return Principal(row["name"], row["object_id"], row["client_id"])
