"""Shared access signatures of devices and modules: made for the hub, checked for the edge hub's clients.

Format: `SharedAccessSignature sr=<resource>&sig=<signature>&se=<epoch seconds>`, where the signature is the base64 of
HMAC-SHA256 with the decoded key over `<sr as sent>\\n<se>` (Azure docs, "Control access to IoT Hub with shared access signatures").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus


def token(resource: str, key: str, lifetime: int = 3600, policy: str | None = None) -> str:
    """A token for e.g. `host/devices/id`, valid for `lifetime` seconds. `key` is base64, of the policy if one is named."""
    scope, expiry = quote_plus(resource), str(int(time.time()) + lifetime)
    signed = f"SharedAccessSignature sr={scope}&sig={quote(_sign(key, scope, expiry), safe='')}&se={expiry}"
    return f"{signed}&skn={policy}" if policy else signed


def refusal(given: str, resource: str, keys: Iterable[str], now: float | None = None) -> str | None:
    """None when the token opens `resource` with one of the keys; else the reason, fit for a log (no part of the token)."""
    scheme, _, rest = given.partition(" ")
    fields = dict(part.partition("=")[::2] for part in rest.split("&"))
    if scheme != "SharedAccessSignature" or not {"sr", "sig", "se"} <= fields.keys():
        return "the password is no shared access signature"
    try:
        expired = float(fields["se"]) <= (time.time() if now is None else now)
    except ValueError:
        return "the expiry (se) is no number"
    if expired:
        return "the token is expired"
    if unquote_plus(fields["sr"]).lower() != resource.lower():
        return "the token is meant for another resource"
    signature = unquote_plus(fields["sig"].replace("+", "%2B")).encode()
    for key in keys:
        if hmac.compare_digest(_sign(key, fields["sr"], fields["se"]).encode(), signature):
            return None
    return "the signature does not fit the identity's keys"


def _sign(key: str, scope: str, expiry: str) -> str:
    try:
        secret = base64.b64decode(key)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the key of an identity is not base64") from error
    return base64.b64encode(hmac.new(secret, f"{scope}\n{expiry}".encode(), hashlib.sha256).digest()).decode()
