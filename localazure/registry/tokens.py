"""Access tokens of a registry, as ACR's `/oauth2/token` issues them, and what a request to `/v2/` needs.

Sources: docker/distribution docs/spec/auth (scope grammar, challenge), Azure/acr docs/AAD-OAuth.md and docs/Token-BasicAuth.md
(claims `access`, `aud` = login server, life of 75 minutes).
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote

import jwt

LIFETIME_SECONDS = 75 * 60

_REPOSITORY = re.compile(
    r"^/v2/(?P<name>.+)/(?:manifests/[^/]+|blobs/[^/]+:[^/]+|blobs/uploads/[^/]*|tags/list|referrers/[^/]+)$"
)
_ACTIONS = {"GET": "pull", "HEAD": "pull", "POST": "push", "PUT": "push", "PATCH": "push", "DELETE": "delete"}
_KNOWN_ACTIONS = frozenset({"pull", "push", "delete", "metadata_read", "metadata_write", "*"})
METHODS = tuple(_ACTIONS)


@dataclass(frozen=True)
class Scope:
    """`type:name:action`, one action."""

    kind: str
    name: str
    action: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{self.action}"


def needed(method: str, path: str, query: str) -> list[Scope]:
    """What a request may do only with permission; empty for the `/v2/` ping, for which being known is enough."""
    if path.rstrip("/") == "/v2/_catalog":
        return [Scope("registry", "catalog", "*")]
    match = _REPOSITORY.match(path)
    if not match:
        return []
    action = _ACTIONS.get(method, "*")
    scopes = [Scope("repository", match["name"], action)]
    # A push reads what is there (HEAD on blobs), and a mount reads the other repository.
    if action == "push":
        scopes.insert(0, Scope("repository", match["name"], "pull"))
        scopes += [Scope("repository", other, "pull") for other in parse_qs(query).get("from", [])]
    return scopes


def challenge(login_server: str, scopes: Iterable[Scope]) -> str:
    """The `Www-Authenticate` value of a 401."""
    parts = [f'Bearer realm="https://{login_server}/oauth2/token"', f'service="{login_server}"']
    merged: dict[tuple[str, str], list[str]] = {}
    for scope in scopes:
        merged.setdefault((scope.kind, scope.name), []).append(scope.action)
    if merged:
        # No repository has such a name; a header of other than ASCII would be no answer at all.
        named = [(kind, quote(name, safe="/*"), actions) for (kind, name), actions in merged.items()]
        text = " ".join(f"{kind}:{name}:{','.join(actions)}" for kind, name, actions in named)
        parts.append(f'scope="{text}"')
    return ",".join(parts)


def requested(values: Iterable[str]) -> list[dict[str, Any]]:
    """The `access` claim for the `scope` parameters of a token request: the admin user is granted all that exists."""
    access = []
    for text in " ".join(values).split():
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        granted = [action for action in actions.split(",") if action in _KNOWN_ACTIONS]
        if name and granted:
            access.append({"type": kind, "name": name, "actions": granted})
    return access


def issue(signing_key: str, login_server: str, user: str, serial: str, access: list[dict[str, Any]]) -> str:
    """`serial` is that of the password: regenerating it ends the tokens that it bought."""
    now = int(time.time())
    claims = {
        "jti": str(uuid.uuid4()),
        "iss": "Azure Container Registry",
        "aud": login_server,
        "sub": user,
        "iat": now,
        "nbf": now - 15 * 60,
        "exp": now + LIFETIME_SECONDS,
        "version": "1.0",
        "access": access,
        "serial": serial,
    }
    return jwt.encode(claims, _key(signing_key), algorithm="HS256")


def read(signing_key: str, login_server: str, token: str) -> dict[str, Any] | None:
    """The claims of a token of this registry, or None when it is forged, expired or another registry's."""
    try:
        return jwt.decode(token, _key(signing_key), algorithms=["HS256"], audience=login_server)
    except jwt.InvalidTokenError:
        return None


def allows(claims: dict[str, Any], scopes: Iterable[Scope]) -> bool:
    granted = {
        (entry["type"], entry["name"], action) for entry in claims.get("access", []) for action in entry["actions"]
    }
    return all(
        (scope.kind, scope.name, scope.action) in granted or (scope.kind, scope.name, "*") in granted
        for scope in scopes
    )


def _key(signing_key: str) -> str:
    """Not the key that signs Entra ID tokens: neither kind may ever pass for the other."""
    return f"registry:{signing_key}"
