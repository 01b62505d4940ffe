"""What the installed Python SDK says about a type: its inputs, outputs, nested types and defaults, together with its table entry.

Types are read when they are first asked for (importing all modules of the SDK takes seconds). The SDK keeps names and types
as metadata on its properties; `pulumi._types` is the code with which Pulumi itself reads them.
"""

from __future__ import annotations

import ast
import collections.abc
import functools
import importlib
import inspect
import re
import threading
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

import pulumi
from pulumi import _types

from localazure.provider.table import (
    INVOKES,
    NESTED_RENAMES,
    NESTED_TOP_LEVEL,
    RESOURCES,
    STRING_SETS,
    TOP_LEVEL,
    InvokeEntry,
    ResourceEntry,
)

Kind = Literal["boolean", "integer", "number", "string", "array", "map", "set", "object", "union", "any"]
AutoName = Literal["random", "copy", "uuid"]

_loading = threading.RLock()


class UnknownTokenError(Exception):
    """The plugin has no entry for this type or function."""


@dataclass(frozen=True)
class Shape:
    """The type of a value. `element` of arrays and maps; `classes`: the SDK class of an object, the choices of a union."""

    kind: Kind
    element: Shape | None = None
    classes: tuple[type, ...] = ()


@dataclass(frozen=True)
class Property:
    wire: str
    """Its key in ARM's JSON."""
    containers: tuple[str, ...]
    """The objects round it on the wire that the SDK leaves out."""
    shape: Shape
    required: bool
    constant: str | None
    """The one value of a discriminator."""


@dataclass(frozen=True)
class ResourceType:
    token: str
    entry: ResourceEntry
    parameters: tuple[str, ...]
    """Path parameters that the program gives, in the path's order."""
    name: str
    """The last one: what is named automatically."""
    auto_name: AutoName
    inputs: Mapping[str, Property]
    """SDK name -> property of the request body."""
    outputs: Mapping[str, Property]
    defaults: Mapping[str, Any]
    """Defaults of top-level inputs (the SDK fills them in, not the provider)."""


@dataclass(frozen=True)
class InvokeType:
    token: str
    entry: InvokeEntry
    outputs: Mapping[str, Property]
    getter: bool


@functools.cache
def resource_type(token: str) -> ResourceType:
    """Raises UnknownTokenError."""
    entry = RESOURCES.get(token)
    if entry is None:
        raise UnknownTokenError(
            f"Resource type {token} not found: the local azure-native plugin does not know it. It knows "
            f"{', '.join(sorted(RESOURCES))}"
        )
    with _loading:
        resource, arguments = sdk_classes(token)
        parameters = path_parameters(entry.path)
        flattened = "properties" not in _types.resource_types(resource)
        inputs = _properties(arguments, entry, flattened)
        outputs = _properties(resource, entry, flattened)
    outputs["id"] = Property("id", (), Shape("string"), required=True, constant=None)
    outputs.pop("azureApiVersion", None)
    return ResourceType(
        token=token,
        entry=entry,
        parameters=parameters,
        name=parameters[-1],
        auto_name=auto_name_kind(entry.path),
        inputs={name: prop for name, prop in inputs.items() if name not in parameters},
        outputs=outputs,
        defaults=_defaults(arguments),
    )


@functools.cache
def invoke_type(token: str) -> InvokeType:
    """Raises UnknownTokenError."""
    getter = _getters().get(token)
    entry = INVOKES.get(token)
    if getter is None and entry is None:
        known = [*_getters(), *INVOKES]
        raise UnknownTokenError(
            f"Invoke type {token} not found: the local azure-native plugin does not know it. It knows {', '.join(sorted(known))}"
        )
    _, module, name = token.split(":")
    with _loading:
        result = getattr(importlib.import_module(f"pulumi_azure_native.{module}"), f"{name[0].upper()}{name[1:]}Result")
        if entry is not None:
            return InvokeType(token, entry, _properties(result, None, flattened=False), getter=False)
        assert getter is not None
        resource_entry = RESOURCES[getter]
        outputs = _properties(result, resource_entry, "properties" not in _types.output_type_types(result))
    outputs.pop("azureApiVersion", None)
    return InvokeType(token, InvokeEntry(resource_entry.path, resource_entry.api, "GET"), outputs, getter=True)


@functools.cache
def object_properties(cls: type) -> Mapping[str, Property]:
    """Of a nested SDK class, `...Args` or `...Response`."""
    with _loading:
        return _properties(cls, None, flattened=False)


def sdk_classes(token: str) -> tuple[type[pulumi.CustomResource], type]:
    """The SDK's resource class and its `...Args` class."""
    _, module, name = token.split(":")
    package = importlib.import_module(f"pulumi_azure_native.{module}")
    return getattr(package, name), getattr(package, f"{name}Args")


def path_parameters(path: str) -> tuple[str, ...]:
    return tuple(name for name in re.findall(r"{(\w+)}", path) if name != "subscriptionId")


def auto_name_kind(path: str) -> AutoName:
    """The rule of AutoNamer (pulumi-azure-native, provider/pkg/resources/resources.go) for the last path parameter."""
    name = path_parameters(path)[-1]
    if name in ("roleAssignmentName", "roleDefinitionId"):
        return "uuid"
    if name in ("endpointName", "customDomainName"):
        return "random"
    parts = path.lower().split("microsoft.")
    return "random" if len(parts) == 1 or parts[-1].count("{") == 1 else "copy"


@functools.cache
def _getters() -> Mapping[str, str]:
    """`get<Type>` of every type in the table."""
    tokens = {}
    for token in RESOURCES:
        package, module, name = token.split(":")
        tokens[f"{package}:{module}:get{name}"] = token
    return tokens


def _properties(cls: type, entry: ResourceEntry | None, flattened: bool) -> dict[str, Property]:
    types, getters = _typed_getters(cls)
    kind = f"{cls.__module__.split('.')[1]}:{re.sub('(Args|Response)$', '', cls.__name__)}"
    renames = entry.renames if entry else NESTED_RENAMES.get(kind, {})
    if entry:
        top_level = TOP_LEVEL - entry.in_properties
    else:
        flattened, top_level = kind in NESTED_TOP_LEVEL, NESTED_TOP_LEVEL.get(kind, frozenset())
    is_input = _types.is_input_type(cls)
    properties = {}
    for name, hint in types.items():
        getter = getters[name]
        expected = re.search(r"Expected value is '([^']+)'", getter.__doc__ or "")
        properties[name] = Property(
            wire=renames.get(name, name),
            containers=("properties",) if flattened and name not in top_level else (),
            shape=Shape("set") if is_input and name in STRING_SETS else _shape(hint),
            required=NoneType not in typing.get_args(getter.__annotations__.get("return")),
            constant=expected[1] if expected else None,
        )
    return properties


def _typed_getters(cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
    if issubclass(cls, pulumi.Resource):
        types: dict[str, Any] = dict(_types.resource_types(cls))
    elif _types.is_input_type(cls):
        types = dict(_types.input_type_types(cls))
    else:
        types = dict(_types.output_type_types(cls))
    getters = {name: prop.fget for _, name, prop in _types._py_properties(cls)}
    return types, getters


def _shape(hint: Any) -> Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return _union([_shape(choice) for choice in arguments if _is_plain(choice)])
    if origin in (collections.abc.Sequence, list):
        return Shape("array", element=_shape(arguments[0]))
    if origin in (collections.abc.Mapping, dict):
        return Shape("map", element=_shape(arguments[1]))
    if isinstance(hint, type):
        return _class_shape(hint)
    return Shape("any")


def _class_shape(cls: type) -> Shape:
    if _types.is_input_type(cls) or _types.is_output_type(cls):
        return Shape("object", classes=(cls,))
    # bool is an int, and an enumeration is what its values are
    kinds: tuple[tuple[type, Kind], ...] = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"))
    return next((Shape(kind) for base, kind in kinds if issubclass(cls, base)), Shape("any"))


def _union(choices: list[Shape]) -> Shape:
    classes = tuple(cls for choice in choices for cls in choice.classes)
    if len(classes) > 1:
        return Shape("union", classes=classes)
    return choices[0] if choices else Shape("any")


def _is_plain(choice: Any) -> bool:
    """Not the Awaitable and Output forms that every input may take, nor None."""
    return choice is not NoneType and typing.get_origin(choice) not in (collections.abc.Awaitable, pulumi.Output)


def _defaults(arguments: type) -> Mapping[str, Any]:
    """`if x is None: x = <literal>` of the constructor."""
    names = _types.input_type_py_to_pulumi_names(arguments)
    source = inspect.getsource(arguments.__init__)  # type: ignore[misc] # the class's own
    found = re.findall(r"if (\w+) is None:\n\s+\1 = (.+)\n", source)
    return {names.get(name, name): ast.literal_eval(value) for name, value in found}
