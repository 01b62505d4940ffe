"""Who asks, and what that one may do: on REST by the Authorization header, on MQTT by user name and password.

The rights of each operation follow learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas ("IoT Hub permissions").
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from localazure.hub.errors import unauthorized
from localazure.hub.hub import Hub
from localazure.hub.identities import Key, keys
from localazure.hub.policies import ALL_RIGHTS
from localazure.hub.sas import Sas, SasError, parse
from localazure.identity import AuthError, Tokens

log = logging.getLogger("localazure.hub")

AUDIENCE = "https://iothubs.azure.net"
_RESOURCE = re.compile(r"[^/]+/devices/([^/]+)(?:/modules/([^/]+))?/?")


@dataclass(frozen=True)
class Caller:
    """A back end with `rights`, or the device or module `key`. A device's own key gives it no right of a policy."""

    rights: frozenset[str]
    key: Key | None = None

    def need(self, right: str) -> None:
        """Raises 401."""
        if right not in self.rights:
            log.info("refused: the operation needs the right %s", right)
            raise unauthorized()

    def need_or_own(self, right: str, device_id: str) -> None:
        """The right, or the device itself (not one of its modules)."""
        if self.key != Key(device_id):
            self.need(right)


def caller(hub: Hub, tokens: Tokens, authorization: str | None, path: str) -> Caller:
    """Who sent a request for `path`. Raises 401 for whatever is wrong."""
    header = authorization or ""
    try:
        if header.lower().startswith("bearer "):
            tokens.check(header, [AUDIENCE])
            return Caller(ALL_RIGHTS)
        token = parse(header)
        if not token.covers(hub.host, path):
            raise SasError("the token is for another resource")
        return _by_policy(hub, token) if token.policy else _by_identity(hub, token)
    except (SasError, AuthError) as error:
        log.info("%s %s: 401, %s", hub.name, path, error)
        raise unauthorized() from None


def connecting(hub: Hub, key: Key, password: bytes) -> int | None:
    """Whether an MQTT client may be `key`: the time at which its token expires, None if it may not."""
    try:
        token = parse(password.decode("ascii"))
        if not token.covers(hub.host, key.path):
            raise SasError("the token is for another resource")
        if token.policy:
            if "DeviceConnect" not in _by_policy(hub, token).rights:
                raise SasError(f"the policy {token.policy} lacks DeviceConnect")
            _enabled(hub, key)
        elif _by_identity(hub, token).key != key:
            raise SasError("the token is for another identity")
    except (SasError, UnicodeDecodeError) as error:
        log.info("%s: %s may not connect: %s", hub.name, key.path, error)
        return None
    return token.expiry


def _by_policy(hub: Hub, token: Sas) -> Caller:
    policy = hub.policies.find(token.policy or "")
    if policy is None:
        raise SasError("there is no such policy")
    policy_keys, rights = policy
    token.check(policy_keys)
    return Caller(rights)


def _by_identity(hub: Hub, token: Sas) -> Caller:
    match = _RESOURCE.fullmatch(token.resource)
    if match is None:
        raise SasError("the resource is neither a device nor a module, and no policy is named")
    key = Key(match[1], match[2] or "")
    token.check(_enabled(hub, key))
    return Caller(frozenset(), key)


def _enabled(hub: Hub, key: Key) -> list[str]:
    """The identity's keys. Raises SasError when it does not exist or its device is disabled."""
    identity, device = hub.identities.find(key), hub.identities.find(Key(key.device_id))
    if identity is None or device is None:
        raise SasError("there is no such identity")
    if device["status"] != "enabled":
        raise SasError("the device is disabled")
    return keys(identity)
