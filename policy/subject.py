"""A resource as a rule sees it: plain data, with a mark where a value is secret or not known yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class _Mark:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


UNKNOWN: Final = _Mark("unknown")
"""Only the update will tell. A rule cannot judge it and must not refuse it: the same rule runs again before the resource is made."""
SECRET: Final = _Mark("secret")
"""Encrypted in the state. Rules never see what it is, so that no message of theirs can tell."""


@dataclass(frozen=True)
class Subject:
    """One resource. `props` are its inputs, or, where a rule looks at a whole stack, its outputs."""

    type: str
    name: str
    props: Mapping[str, Any] = field(default_factory=dict)
    protect: bool = False


Settings = Mapping[str, Any]
"""What the level file says for a rule beside its level."""

# How Pulumi writes them; sdk/python/lib/pulumi/runtime/rpc.py.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the name of a kind of value
_UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)


def marked(value: Any) -> Any:
    """Pulumi's JSON with `UNKNOWN` and `SECRET` in the place of what stands for them there; `__` keys are left out."""
    if isinstance(value, str) and value in _UNKNOWNS:
        return UNKNOWN
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return SECRET
        return {key: marked(item) for key, item in value.items() if not key.startswith("__")}
    if isinstance(value, list | tuple):
        return [marked(item) for item in value]
    return value


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that holds no other, with the names that lead to it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value
