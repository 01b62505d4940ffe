"""Shared access signatures of a module.

Source: "Control access to IoT Hub with shared access signatures" (learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from .settings import EdgeIdentity


def token(identity: EdgeIdentity, expiry: int, sign: Callable[[str], str]) -> str:
    """A token for this module until `expiry` (seconds since 1970). `sign` returns the base64 HMAC-SHA256 of a text."""
    resource = quote(f"{identity.hub}/devices/{identity.device}/modules/{identity.module}", safe="")
    signature = quote(sign(f"{resource}\n{expiry}"), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
