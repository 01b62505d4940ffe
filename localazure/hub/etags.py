"""Entity tags and If-Match as the hub reads it."""

from __future__ import annotations

import base64
import secrets

from localazure.hub.errors import HubError

ANY = "*"


def new_etag() -> str:
    """Opaque, as for identities and configurations."""
    return base64.b64encode(secrets.token_bytes(6)).decode()


def counter_etag(count: int) -> str:
    """As for twins: a big-endian counter."""
    return base64.b64encode(count.to_bytes(8, "big")).decode()


def wanted(if_match: str | None) -> str | None:
    """The tag that the header asks for, ANY for `*` and `"*"`, None without one.

    A tag without quotes is no entity tag (RFC 7232) and counts as absent: that is why `update_configuration(c, c.etag)` of the SDK
    answers 409 (Azure/azure-iot-hub-python#2) and why twins were updated in spite of a wrong tag (Azure/azure-iot-sdk-node#606).
    """
    text = (if_match or "").strip()
    if text in ("*", '"*"'):
        return ANY
    text = text.removeprefix("W/")
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else None


def check(tag: str | None, current: str) -> None:
    """Raises PreconditionFailed when `tag` (from `wanted`) is another one than `current`."""
    if tag not in (None, ANY, current):
        raise HubError(
            "PreconditionFailed",
            f"Precondition failed: Device version did not match, existingDeviceVersion:{current} newDeviceVersion:{tag}",
        )


def require(tag: str | None, current: str, resource: str) -> None:
    """As `check`, for operations that cannot do without the header."""
    if tag is None:
        raise HubError(
            "PreconditionFailed", f"Precondition failed: If-Match is missing or not quoted, {resource} has a version"
        )
    check(tag, current)
