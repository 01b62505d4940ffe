"""What a twin's sections may hold and how they are merged. Pure.

Source: learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins ("Tags and properties format", "Twin size"); error texts from
Azure/iotedge#1694, #6547, #7035.
"""

from __future__ import annotations

import copy
from typing import Any

from localazure.hub.errors import HubError, invalid

MAX_DEPTH = 10
MAX_KEY_BYTES = 1024
MAX_VALUE_BYTES = 4096
MAX_SECTION = {"tags": 8192, "properties.desired": 32768, "properties.reported": 32768}
_LARGEST = 4503599627370495
_TITLES = {"tags": "Tags", "properties.desired": "Properties.Desired", "properties.reported": "Properties.Reported"}

Json = dict[str, Any]


def without_system(document: Json) -> Json:
    """The section without its `$metadata` and `$version`, which come back with what a GET returned."""
    return {key: value for key, value in document.items() if key not in ("$metadata", "$version")}


def check(section: str, document: Json) -> None:
    """Raises HubError (400, or 403 for the size) when the hub would not take `document` as the section's content."""
    _check_value(section, section, document, 0)
    if size(document) > MAX_SECTION[section]:
        raise HubError(
            "DeviceModelMaxPropertiesExceeded",
            f"'{_TITLES[section]}' size should be less than {MAX_SECTION[section]} bytes.",
        )


def _check_value(section: str, path: str, value: Any, depth: int) -> None:
    if isinstance(value, dict):
        if depth > MAX_DEPTH:
            raise invalid(f"{path}: the maximum depth of a twin's section is {MAX_DEPTH}")
        for key, inner in value.items():
            _check_key(path, key)
            _check_value(section, f"{path}.{key}", inner, depth + 1)
    elif isinstance(value, list):
        if depth > MAX_DEPTH:
            raise invalid(f"{path}: the maximum depth of a twin's section is {MAX_DEPTH}")
        for index, inner in enumerate(value):
            _check_value(section, f"{path}[{index}]", inner, depth + 1)
    elif isinstance(value, str):
        if len(value.encode()) > MAX_VALUE_BYTES:
            name = path.removeprefix(section + ".")
            raise invalid(
                f"Property or Tag value should be maximum {MAX_VALUE_BYTES} bytes. Error in Property/Tag {name}"
            )
    elif isinstance(value, int) and not isinstance(value, bool) and not -_LARGEST - 1 <= value <= _LARGEST:
        raise invalid(f"{path}: the number is outside of {-_LARGEST - 1} .. {_LARGEST}")


def _check_key(path: str, key: str) -> None:
    if not key or len(key.encode()) > MAX_KEY_BYTES:
        raise invalid(f"{path}: a name has 1 to {MAX_KEY_BYTES} bytes")
    if set(key) & set(".$ ") or any(_is_control(character) for character in key):
        raise invalid(f"{path}: the name {key!r} holds '.', '$', a blank or a control character")


def size(value: Any) -> int:
    """The documented measure: names and strings by characters without control characters, numbers 8, booleans 4, nothing for null."""
    if isinstance(value, dict):
        return sum(size(key) + size(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(map(size, value))
    if isinstance(value, bool):
        return 4
    if isinstance(value, int | float):
        return 8
    return sum(not _is_control(character) for character in value) if isinstance(value, str) else 0


def _is_control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


def merge(current: Json, patch: Json) -> Json:
    """`current` with `patch` (RFC 7396): objects are merged, null deletes, all else replaces. Neither argument changes."""
    result = dict(current)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = merge(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def replacement_patch(current: Json, new: Json) -> Json:
    """A patch that makes `new` of `current`: all of `new`, and null for whatever `current` has beyond it, at every level."""
    patch: Json = {key: None for key in current if key not in new}
    for key, value in new.items():
        inner = current.get(key)
        patch[key] = replacement_patch(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return patch


def stamp(metadata: Json, patch: Json, time: str, version: int | None) -> Json:
    """A section's `$metadata` after `patch`: every node on the way to a change gets the time (and for desired the version)."""
    result = {**metadata, "$lastUpdated": time}
    if version is not None:
        result["$lastUpdatedVersion"] = version
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            inner = result.get(key, {})
            result[key] = stamp(
                inner if isinstance(value, dict) else {}, value if isinstance(value, dict) else {}, time, version
            )
    return result
