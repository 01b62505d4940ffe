"""Automatic names. They are what the real provider makes, unfit ones included: no lower-casing, no cutting to length."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localazure.provider.shapes import AutoName

CREATE_BEFORE_DELETE = "__createBeforeDelete"
"""In the checked inputs of a randomly named resource: its replacement may be made before it is deleted."""


@dataclass(frozen=True)
class EngineNaming:
    """What `pulumi:autonaming` in the stack's configuration says for this resource."""

    mode: Literal["propose", "enforce", "disable"]
    proposed: str


@dataclass(frozen=True)
class Name:
    value: Any
    random: bool


def default_name(
    kind: AutoName, key: str, logical: str, seed: bytes, engine: EngineNaming | None, olds: Mapping[str, Any]
) -> Name | None:
    """The name of a resource whose program sets none; None: the engine forbids automatic names.

    `seed` (of the engine, the same in the preview and the update that follows) makes it deterministic; an old name is kept.
    """
    if key in olds:
        return Name(olds[key], random=olds.get(CREATE_BEFORE_DELETE) is True)
    if engine:
        if engine.mode == "disable":
            return None
        if engine.mode == "enforce" or kind != "uuid":
            return Name(engine.proposed, random=True)
    if kind == "copy":
        return Name(logical, random=False)
    if kind == "uuid":
        return Name(str(uuid.UUID(_hexadecimal(seed, 32))), random=True)
    return Name(logical + _hexadecimal(seed, 8), random=True)


def _hexadecimal(seed: bytes, length: int) -> str:
    return (hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(32))[:length]
