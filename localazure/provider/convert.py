"""Between the SDK's shape of a resource and ARM's JSON. Pure; the rules of pulumi-azure-native, provider/pkg/convert."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from localazure.provider.shapes import InvokeType, Property, ResourceType, Shape, object_properties
from localazure.provider.table import SUB_PATHS
from localazure.provider.values import UNKNOWN

Properties = Mapping[str, Property]
Translate = Callable[[Properties, Mapping[str, Any]], dict[str, Any] | None]


class ConvertError(Exception):
    """An id or a value that the plugin cannot translate."""


def resource_id(path: str, inputs: Mapping[str, Any], subscription: str) -> str:
    """The path with its parameters filled in; values are escaped unless they are paths themselves."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        text = subscription if name == "subscriptionId" else inputs.get(name)
        if not isinstance(text, str):
            raise ConvertError(f"expected string value for path parameter '{name}', got {text!r}")
        return text.strip("/") if name in SUB_PATHS else quote(text, safe="$&+=:@")

    return re.sub(r"{(\w+)}", value, path)


def parse_id(path: str, identity: str) -> dict[str, str]:
    """The path parameters in an id. Fixed segments compare without case, as everywhere in ARM."""
    pattern = re.sub(
        r"\\{(\w+)\\}",
        lambda match: f"(?P<{match[1]}>{'.+' if match[1] in SUB_PATHS else '[^/]+'})",
        re.escape(path).replace(r"\_", "_"),
    )
    match = re.fullmatch(pattern, identity, re.IGNORECASE)
    if not match:
        raise ConvertError(f"unable to parse resource ID '{identity}': expected the form '{path}'")
    values = match.groupdict()
    values.pop("subscriptionId", None)
    return values


def request_body(resource: ResourceType, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a PUT: known inputs only; what the program did not set is left out."""
    return _to_wire(resource.inputs, inputs) or {}


def response_outputs(resource: ResourceType | InvokeType, response: Mapping[str, Any]) -> dict[str, Any]:
    """Known outputs only; nulls dropped."""
    return _to_sdk(resource.outputs, response) or {}


def imported_inputs(resource: ResourceType, identity: str, response: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs that would make the resource as it is: for import and `.get`. Empty collections are left out."""
    inputs: dict[str, Any] = dict(parse_id(resource.entry.path, identity))
    body = _to_sdk(resource.inputs, response) or {}
    inputs.update({name: _without_empty(value) for name, value in body.items() if name != "id"})
    return {name: value for name, value in inputs.items() if value is not None}


def inputs_of_outputs(resource: ResourceType, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The part of outputs (SDK shape) that are inputs too."""
    return _project(resource.inputs, outputs) or {}


def preview_outputs(properties: Properties, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output: the input of the same name if it fits, else UNKNOWN. So `id` and `name` are unknown in a first preview."""
    return {name: _preview(inputs.get(name, UNKNOWN), prop.shape, prop.constant) for name, prop in properties.items()}


def _to_wire(properties: Properties, values: Mapping[str, Any]) -> dict[str, Any] | None:
    result: dict[str, Any] = {}
    for name, prop in properties.items():
        if name not in values:
            continue
        if prop.constant is not None and values[name] != prop.constant:
            return None
        target = result
        for container in prop.containers:
            target = target.setdefault(container, {})
        target[prop.wire] = _value(prop.shape, values[name], _to_wire)
    return result


def _to_sdk(properties: Properties, response: Mapping[str, Any]) -> dict[str, Any] | None:
    result: dict[str, Any] = {}
    for name, prop in properties.items():
        source: Any = response
        for container in prop.containers:
            source = source.get(container) if isinstance(source, Mapping) else None
        if not isinstance(source, Mapping) or prop.wire not in source:
            continue
        value = source[prop.wire]
        if prop.constant is not None and value != prop.constant:
            return None
        if value is not None:
            result[name] = _value(prop.shape, value, _to_sdk)
    return result


def _project(properties: Properties, outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    result = {}
    for name, prop in properties.items():
        if name not in outputs:
            continue
        if prop.constant is not None and outputs[name] != prop.constant:
            return None
        result[name] = _value(prop.shape, outputs[name], _project)
    return result


def _value(shape: Shape, value: Any, translate: Translate) -> Any:
    """Objects inside `value` translated, whatever holds them. A value that does not fit its shape stays as it is."""
    if isinstance(value, Mapping):
        return _map_value(shape, value, translate)
    if isinstance(value, list):
        if shape.kind == "set":
            return {item: {} for item in value if isinstance(item, str)}
        if shape.kind == "array" and shape.element:
            return [_value(shape.element, item, translate) for item in value]
    return value


def _map_value(shape: Shape, value: Mapping[str, Any], translate: Translate) -> Any:
    if shape.kind in ("object", "union"):
        for cls in shape.classes:  # a union's first class whose discriminator fits
            translated = translate(object_properties(cls), value)
            if translated is not None:
                return translated
        return dict(value)
    if shape.kind == "map" and shape.element:
        return {key: _value(shape.element, item, translate) for key, item in value.items()}
    if shape.kind == "set":
        return list(value)
    return dict(value)


def _preview(value: Any, shape: Shape, constant: str | None) -> Any:
    if constant is not None:
        return constant
    if shape.kind in ("union", "any") and value is not UNKNOWN:
        return value
    if isinstance(value, Mapping):
        if shape.kind == "object":
            return preview_outputs(object_properties(shape.classes[0]), value)
        if shape.kind == "map" and shape.element:
            return {key: _preview(item, shape.element, None) for key, item in value.items()}
    elif isinstance(value, list):
        if shape.kind == "array" and shape.element:
            return [_preview(item, shape.element, None) for item in value]
    elif shape.kind in ("boolean", "integer", "number", "string"):
        return value
    return UNKNOWN


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None} or None
    if isinstance(value, list):
        return [item for item in map(_without_empty, value) if item is not None] or None
    return value
