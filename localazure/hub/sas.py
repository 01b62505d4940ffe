"""Shared access signatures (learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas): making, reading and checking them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote, unquote_plus

_PREFIX = "SharedAccessSignature "
_FIELDS = {"sr", "sig", "se", "skn"}
_CLOCK_SKEW = 0  # the local Azure and its clients share one clock


class SasError(Exception):
    """The token is malformed, expired or wrongly signed. The message says which, and holds nothing of the token."""


@dataclass(frozen=True)
class Sas:
    """`resource` is decoded: `host[:port][/devices/{id}[/modules/{id}]]`; `policy` is None for a device's own key."""

    resource: str
    expiry: int
    policy: str | None
    _signed: str = field(repr=False)
    _signature: bytes = field(repr=False)

    def check(self, keys: Iterable[str]) -> None:
        """Raises SasError unless one of the base64 `keys` signed it and it has not expired."""
        good = [hmac.compare_digest(_sign(key, self._signed), self._signature) for key in keys]
        if not any(good):
            raise SasError("the signature matches neither the primary nor the secondary key")
        if self.expiry + _CLOCK_SKEW <= time.time():
            raise SasError("the token has expired")

    def covers(self, host: str, path: str) -> bool:
        """Whether the resource is `host` (any case) with `path` or one of its parents, segment by segment."""
        own_host, _, own_path = self.resource.partition("/")
        if own_host.lower() != host.lower():
            return False
        own, asked = own_path.strip("/").split("/"), path.strip("/").split("/")
        return own == [""] or asked[: len(own)] == own


def parse(token: str) -> Sas:
    """Read `SharedAccessSignature sr=..&sig=..&se=..[&skn=..]`. Raises SasError."""
    if not token.startswith(_PREFIX):
        raise SasError("not a shared access signature")
    pairs = [part.partition("=")[::2] for part in token.removeprefix(_PREFIX).split("&")]
    fields = dict(pairs)
    if len(fields) != len(pairs) or not {"sr", "sig", "se"} <= set(fields) <= _FIELDS:
        raise SasError("the fields are not sr, sig, se and perhaps skn, once each")
    if not (fields["se"].isascii() and fields["se"].isdigit() and len(fields["se"]) <= 12):
        raise SasError("se is not a time in seconds")
    try:
        signature = base64.b64decode(unquote(fields["sig"]), validate=True)
    except (binascii.Error, ValueError):
        raise SasError("sig is not base64") from None
    return Sas(
        resource=unquote_plus(fields["sr"]),
        expiry=int(fields["se"]),
        policy=unquote(fields["skn"]) if fields.get("skn") else None,
        _signed=f"{fields['sr']}\n{fields['se']}",
        _signature=signature,
    )


def make(resource: str, key: str, policy: str | None = None, lifetime: int = 3600) -> str:
    """A token for `resource` (not encoded), signed with the base64 `key`."""
    resource, expiry = quote_plus(resource), int(time.time()) + lifetime
    signature = base64.b64encode(_sign(key, f"{resource}\n{expiry}")).decode()
    token = f"{_PREFIX}sr={resource}&sig={quote(signature, safe='')}&se={expiry}"
    return f"{token}&skn={quote(policy, safe='')}" if policy else token


def _sign(key: str, text: str) -> bytes:
    return hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
