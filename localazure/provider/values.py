"""Property values between gRPC and Python: dict, list, str, int, float, bool and UNKNOWN.

Encoding: pulumi/pulumi, sdk/go/common/resource/plugin/rpc.go. The plugin does not accept secrets, so the engine sends them bare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]


class Unknown:
    """A value that only the deployment will tell. There is one, `UNKNOWN`."""

    _one: Unknown | None = None

    def __new__(cls) -> Unknown:
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: object) -> Unknown:
        return self

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()

_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = frozenset(
    {
        _UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # list
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # map
    }
)
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - marks a secret, is none


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The properties of a request. Nulls are dropped; numbers without a fraction become int, as JSON bodies need them."""
    return _in(json_format.MessageToDict(struct))


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """The properties of an answer, nulls dropped."""
    return json_format.ParseDict(_out(values), struct_pb2.Struct())


def holds_unknown(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(holds_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_unknown(item) for item in value)
    return value is UNKNOWN


def same(one: Any, other: Any) -> bool:
    """Deep equality that tells true from 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _in(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return _in(value.get("value"))
        return {key: _in(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_in(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value in _UNKNOWNS:
        return UNKNOWN
    return value


def _out(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _out(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_out(item) for item in value]
    return _UNKNOWN_TEXT if value is UNKNOWN else value
