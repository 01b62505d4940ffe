"""Tokens as Microsoft Entra ID issues them: JSON web tokens for one audience, signed with the instance's key."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

import jwt

from localazure.instance import Instance

LIFETIME_SECONDS = 24 * 3600
OWNER_AUDIENCE = "urn:localazure:owner"
"""Of tokens that the owner of the instance's folder signs for itself (`owner.py`); nobody issues them."""


def arm_audiences(instance: Instance) -> list[str]:
    """For which audiences ARM takes tokens: those of the public cloud, in its order, because SDKs fall back to them; then our own."""
    return ["https://management.core.windows.net/", "https://management.azure.com/", f"{instance.arm_url}/"]


def known_resources(instance: Instance) -> list[str]:
    """For which audiences there are tokens at all: ARM and the data planes that an Azure ML and IoT Edge program may ask for."""
    return [
        *arm_audiences(instance),
        "https://ml.azure.com",
        "https://containerregistry.azure.net",
        "https://iothubs.azure.net",
        "https://storage.azure.com/",
        "https://vault.azure.net",
        "https://graph.windows.net/",
        "https://graph.microsoft.com/",
    ]


class Identified(Protocol):
    """A principal: `localazure.principals.Principal`."""

    @property
    def object_id(self) -> str: ...
    @property
    def client_id(self) -> str: ...


class AuthError(Exception):
    """The bearer token is missing, forged, expired or meant for somebody else: answer 401. `code` is ARM's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Tokens:
    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.object_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{instance.tenant_id}/principal"))
        self.client_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{instance.tenant_id}/application"))

    def issue(self, audience: str, lifetime: int = LIFETIME_SECONDS, who: Identified | None = None) -> str:
        """A token with the claims that SDKs read: aud, exp, oid, tid, appid. For this machine's managed identity unless `who` is given."""
        now = int(time.time())
        object_id, client_id = (who.object_id, who.client_id) if who else (self.object_id, self.client_id)
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self._instance.tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "tid": self._instance.tenant_id,
            "oid": object_id,
            "sub": object_id,
            "appid": client_id,
            "idtyp": "app",
            "ver": "1.0",
        }
        return jwt.encode(claims, self._instance.signing_key, algorithm="HS256")

    def check(self, authorization: str | None, audiences: Iterable[str]) -> dict[str, Any]:
        """The claims of an `Authorization: Bearer` header whose audience is one of `audiences` (trailing slash or not)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthError("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        accepted = [form for audience in audiences for form in (audience.rstrip("/"), audience.rstrip("/") + "/")]
        try:
            return jwt.decode(
                token.strip(),
                self._instance.signing_key,
                algorithms=["HS256"],
                audience=accepted,
                issuer=f"https://sts.windows.net/{self._instance.tenant_id}/",
                options={"require": ["exp", "aud", "iss", "oid"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise AuthError(
                "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than now."
            ) from error
        except jwt.InvalidAudienceError as error:
            raise AuthError(
                "InvalidAuthenticationToken", "The access token has been obtained for the wrong audience."
            ) from error
        except jwt.InvalidTokenError as error:
            raise AuthError("InvalidAuthenticationToken", "The access token is invalid.") from error
