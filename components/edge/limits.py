"""What IoT Hub and IoT Edge measure, and how: sizes of twins, values, keys, depth, chunks and counts.

Sources: "Understand and use device twins/module twins in IoT Hub" (sections Device twin size and Tags and properties format),
"IoT Hub quotas and throttling", Azure/iotedge `Microsoft.Azure.Devices.Edge.Agent.Docker/Constants.cs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DESIRED_SIZE_LIMIT = 32768
"""The hub's refusal reads "size should be less than 32768 bytes", so this size itself is too much."""

TAGS_SIZE_LIMIT = 8192
VALUE_BYTES_MAX = 4096
KEY_BYTES_MAX = 1024
DEPTH_MAX = 10
INTEGER_MIN = -4503599627370496
INTEGER_MAX = 4503599627370495
MODULES_MAX = 50
"""Beside edgeAgent and edgeHub."""

CHUNK_CHARACTERS = 512
CHUNKS_MAX = 100
UINT32_MAX = 4294967295

Path = tuple[str | int, ...]


def twin_size(value: Any) -> int:
    """The hub's size of a twin section: keys and values added up; strings by characters without the control characters of
    C0 and C1, numbers 8, Booleans 4. `$metadata` and `$version`, which the hub adds itself, do not count."""
    if isinstance(value, Mapping):
        return sum(
            twin_size(str(key)) + twin_size(item) for key, item in value.items() if key not in ("$metadata", "$version")
        )
    if isinstance(value, list | tuple):
        return sum(map(twin_size, value))
    if value is None:  # deletes the property
        return 0
    if isinstance(value, bool):
        return 4
    if isinstance(value, int | float):
        return 8
    return sum(1 for character in str(value) if not _is_control(character))


def depth(value: Any) -> int:
    """Levels of nested objects: 0 for a plain value, 1 for an object of plain values."""
    if not isinstance(value, Mapping):
        return 0
    return 1 + max((depth(item) for item in value.values()), default=0)


def excesses(section: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """Everything in a twin section that the hub refuses by itself: (path, rule, message), the path relative to the section.

    Messages hold sizes, never values: a section may hold credentials.
    """
    size = twin_size(section)
    if size >= DESIRED_SIZE_LIMIT:
        yield (), "twin-size", f"is {size} bytes by the hub's count; it must stay below {DESIRED_SIZE_LIMIT}"
    levels = depth(section)
    if levels > DEPTH_MAX:
        yield (), "twin-depth", f"nests objects {levels} levels deep; the hub accepts {DEPTH_MAX}"
    yield from _entries(section, ())


def _entries(value: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _key(str(key), (*path, str(key)))
            yield from _entries(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _entries(item, (*path, index))
    else:
        yield from _plain(value, path)


def _plain(value: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    if isinstance(value, str):
        length = len(value.encode("utf-8", "surrogatepass"))
        if length > VALUE_BYTES_MAX:
            yield path, "value-size", f"is {length} bytes long; the hub accepts {VALUE_BYTES_MAX} in one value"
    elif isinstance(value, int) and not isinstance(value, bool) and not INTEGER_MIN <= value <= INTEGER_MAX:
        yield path, "integer-range", f"is outside {INTEGER_MIN} .. {INTEGER_MAX}, the integers that a twin keeps"


def _key(key: str, path: Path) -> Iterator[tuple[Path, str, str]]:
    if len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        yield path, "key-size", f"has a key longer than {KEY_BYTES_MAX} bytes"
    if not key or any(character in ".$ " or _is_control(character) for character in key):
        yield (
            path,
            "key-characters",
            "has a key that is empty or holds a dot, a dollar sign, a blank or a control character",
        )


def _is_control(character: str) -> bool:
    return ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0
