"""Check: defaults into the inputs, then validation. The rules and texts of `applyDefaults` and `validateType` in the real provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from localazure.provider.naming import CREATE_BEFORE_DELETE, EngineNaming, default_name
from localazure.provider.shapes import Property, ResourceType, Shape, object_properties
from localazure.provider.table import Limit
from localazure.provider.values import UNKNOWN, holds_unknown

API_VERSION = "azureApiVersion"

GroupLocation = Callable[[str], str | None]
"""The location of a resource group by its name, or None."""

_NO_LOCATION = ". Either set it explicitly or configure it with 'pulumi config set azure-native:location <value>'."


def with_defaults(
    resource: ResourceType,
    inputs: Mapping[str, Any],
    olds: Mapping[str, Any],
    *,
    logical_name: str,
    seed: bytes,
    engine: EngineNaming | None,
    configured_location: str | None,
    group_location: GroupLocation,
) -> dict[str, Any]:
    """The inputs with name, location and API version filled in where the program left them out."""
    checked = dict(inputs)
    if resource.name not in checked:
        name = default_name(resource.auto_name, resource.name, logical_name, seed, engine, olds)
        if name:
            checked[resource.name] = name.value
            if name.random:
                checked[CREATE_BEFORE_DELETE] = True
    if "location" in resource.inputs and "location" not in checked:
        location = _location(checked, olds, configured_location, group_location)
        if location is not None:
            checked["location"] = location
    checked.setdefault(API_VERSION, resource.entry.api)
    return checked


def failures(resource: ResourceType, inputs: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the inputs, in words. Enumerations are not checked: ARM does that. Unknowns pass."""
    found: list[str] = []
    for name in resource.parameters:
        if name not in inputs:
            found.append(_missing(name))
        else:
            found += _value(name, Shape("string"), inputs[name], resource.entry.limits.get(name, Limit()))
    if resource.entry.location_required and "location" not in inputs:
        found.append(_missing("location"))
    return found + list(_object("", resource.inputs, inputs))


def _location(
    inputs: Mapping[str, Any], olds: Mapping[str, Any], configured: str | None, group_location: GroupLocation
) -> Any:
    if "location" in olds:
        return olds["location"]
    if configured:
        return configured
    group = inputs.get("resourceGroupName")
    if group is None:
        return None
    if holds_unknown(group):
        return UNKNOWN
    return group_location(group) if isinstance(group, str) else None


def _missing(path: str) -> str:
    return f"missing required property '{path}'" + (_NO_LOCATION if path == "location" else "")


def _object(path: str, properties: Mapping[str, Property], values: Mapping[str, Any]) -> Iterator[str]:
    prefix = path + "." if path else ""
    for name, prop in properties.items():
        if prop.required and name not in values:
            yield _missing(prefix + name)
    for name, prop in properties.items():
        if name in values:
            yield from _value(prefix + name, prop.shape, values[name])


def _value(path: str, shape: Shape, value: Any, limit: Limit | None = None) -> Iterator[str]:
    if value is UNKNOWN or shape.kind == "any":
        return
    if isinstance(value, Mapping):
        if shape.kind == "object":
            yield from _object(path, object_properties(shape.classes[0]), value)
    elif isinstance(value, list):
        if shape.kind not in ("array", "set"):
            yield _wrong_type(path, shape, "an array")
            return
        for index, item in enumerate(value):
            yield from _value(f"{path}[{index}]", shape.element or Shape("string"), item)
    elif isinstance(value, str):
        yield from _text(path, shape, value, limit or Limit())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(path, shape, value)


def _number(path: str, shape: Shape, value: float) -> Iterator[str]:
    if shape.kind not in ("integer", "number"):
        yield _wrong_type(path, shape, "a number")
    elif shape.kind == "integer" and value != int(value):
        yield f"'{path}' must be an integer but got {value:f}"


def _text(path: str, shape: Shape, value: str, limit: Limit) -> Iterator[str]:
    if shape.kind != "string":
        yield _wrong_type(path, shape, "a string")
        return
    length = len(value.encode())
    if limit.shortest is not None and length < limit.shortest:
        yield f"'{path}' is too short ({length}): at least {limit.shortest} characters required"
    if limit.longest is not None and length > limit.longest:
        yield f"'{path}' is too long ({length}): at most {limit.longest} characters allowed"
    if limit.pattern and not re.search(limit.pattern, value, re.ASCII):
        yield f"'{path}' does not match expression '{limit.pattern}'"


def _wrong_type(path: str, shape: Shape, got: str) -> str:
    # Objects, unions and string sets have no `type` in the provider's metadata.
    expected = {"map": "object", "object": "", "union": "", "set": ""}.get(shape.kind, shape.kind)
    return f"'{path}' should be of type '{expected}' but got {got}"
