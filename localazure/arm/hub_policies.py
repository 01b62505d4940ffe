"""`properties.authorizationPolicies` of an IoT hub, the way in which keys are regenerated: a PUT of the hub with all its policies
(iothub 2023-06-30, SharedAccessSignatureAuthorizationRule; `az iot hub policy renew-key` does it so). GET never shows them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from localazure.arm.errors import ArmError

_RIGHTS = frozenset({"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"})
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check(policies: list[Any], error: Callable[[int, str, str], ArmError]) -> None:
    """Raises what `error` makes: names, rights and keys as IoT Hub has them."""
    names = []
    for policy in policies:
        if not isinstance(policy, dict):
            raise error(400, "BadRequest", "A member of 'authorizationPolicies' is no object.")
        name, rights = policy.get("keyName"), policy.get("rights")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise error(
                400, "BadRequest", f"The keyName '{name}' of a policy is not 1 to 64 letters, digits and '.', '_', '-'."
            )
        words = [word.strip() for word in rights.split(",")] if isinstance(rights, str) else []
        if not words or not set(words) <= _RIGHTS or len(set(words)) < len(words):
            raise error(
                400, "BadRequest", f"The rights of policy '{name}' are not some of {', '.join(sorted(_RIGHTS))}."
            )
        for which in ("primaryKey", "secondaryKey"):
            if policy.get(which) is not None and not _is_key(policy[which]):
                raise error(400, "BadRequest", f"The {which} of policy '{name}' is not base64 of 16 to 64 bytes.")
        names.append(name.casefold())
    if len(set(names)) < len(names):
        raise error(400, "BadRequest", "Two policies have the same keyName.")


def _is_key(value: Any) -> bool:
    try:
        return isinstance(value, str) and 16 <= len(base64.b64decode(value, validate=True)) <= 64
    except (binascii.Error, ValueError):
        return False
