"""The table against the installed SDK: an SDK upgrade that moves an API version, a name or a type fails here."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator

import pulumi
import pytest
from pulumi import _types

from localazure.provider.shapes import (
    Property,
    ResourceType,
    Shape,
    invoke_type,
    object_properties,
    path_parameters,
    resource_type,
    sdk_classes,
)
from localazure.provider.table import (
    INVOKES,
    NESTED_RENAMES,
    NESTED_TOP_LEVEL,
    RESOURCES,
    STRING_SETS,
    SUB_PATHS,
)

GETTERS = {f"{token.rpartition(':')[0]}:get{token.rpartition(':')[2]}": token for token in RESOURCES}


def _api(source: object) -> str:
    found = re.search(r"Uses Azure REST API version ([\w-]+)\.", inspect.getsource(source))  # type: ignore[arg-type]
    assert found
    return found[1]


def _function(token: str) -> object:
    _, module, name = token.split(":")
    package = importlib.import_module(f"pulumi_azure_native.{module}")
    return getattr(package, re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower())


@pytest.mark.parametrize("token", RESOURCES)
def test_a_resource_is_what_the_sdk_knows_it_as(token: str) -> None:
    resource, arguments = sdk_classes(token)
    entry, kind = RESOURCES[token], resource_type(token)
    assert resource.pulumi_type == token  # type: ignore[attr-defined]
    assert _api(resource) == entry.api
    inputs = set(_types.input_type_types(arguments))
    assert set(kind.parameters) <= inputs
    assert set(kind.inputs) == inputs - set(kind.parameters)
    assert entry.create_only <= inputs
    assert set(entry.limits) <= set(kind.parameters)
    assert set(entry.restored) <= set(kind.inputs)
    assert set(entry.renames) <= set(kind.inputs) | set(kind.outputs)
    assert entry.in_properties <= set(kind.inputs)
    assert entry.location_required <= ("location" in kind.inputs)
    assert kind.outputs.keys() >= {"id", "name"}
    assert "azureApiVersion" not in kind.outputs


@pytest.mark.parametrize("token", RESOURCES)
def test_required_and_default_inputs_are_the_sdks(token: str) -> None:
    """Against the constructor of the resource: what it insists on, and what it fills in."""
    resource, arguments = sdk_classes(token)
    names = _types.input_type_py_to_pulumi_names(arguments)
    source = inspect.getsource(resource._internal_init)  # type: ignore[attr-defined]
    insisted = {
        names.get(name) or names[name.rstrip("_")] for name in re.findall(r"if (\w+) is None and not opts\.urn", source)
    }
    kind = resource_type(token)
    required = {name for name, prop in kind.inputs.items() if prop.required}
    assert required | (set(kind.parameters) - {kind.name}) == insisted
    filled = {names[name] for name in re.findall(r"if (\w+) is None:\n\s+\1 = ", source)} - {"opts"}
    assert set(kind.defaults) == filled


@pytest.mark.parametrize("token", [*INVOKES, *GETTERS])
def test_a_function_is_what_the_sdk_knows_it_as(token: str) -> None:
    function, kind = _function(token), invoke_type(token)
    assert _api(function) == kind.entry.api
    source = inspect.getsource(function)  # type: ignore[arg-type]
    assert f"'{token}'" in source
    arguments = set(re.findall(r"__args__\['(\w+)'\]", source))
    given = set(path_parameters(kind.entry.path)) | set(kind.entry.query)
    # A getter's further arguments are query parameters that the real provider does not send either.
    assert given <= arguments if kind.getter else given == arguments
    assert kind.getter is (token in GETTERS)


def test_automatic_names() -> None:
    kinds = {token.removeprefix("azure-native:"): resource_type(token).auto_name for token in RESOURCES}
    assert kinds == {
        "resources:ResourceGroup": "random",
        "storage:StorageAccount": "random",
        "storage:BlobContainer": "copy",
        "keyvault:Vault": "random",
        "operationalinsights:Workspace": "random",
        "applicationinsights:Component": "random",
        "containerregistry:Registry": "random",
        "containerregistry:ScopeMap": "copy",
        "containerregistry:Token": "copy",
        "machinelearningservices:Workspace": "random",
        "iothub:IotHubResource": "random",
        "iothub:IotHubResourceEventHubConsumerGroup": "copy",
        "authorization:RoleAssignment": "uuid",
        "managedidentity:UserAssignedIdentity": "random",
    }


@pytest.mark.parametrize("kind", sorted({*NESTED_RENAMES, *NESTED_TOP_LEVEL}))
def test_nested_types_of_the_table_are_in_use(kind: str) -> None:
    module, name = kind.split(":")
    used = {
        f"{cls.__module__.split('.')[1]}:{re.sub('(Args|Response)$', '', cls.__name__)}"
        for token in RESOURCES
        for cls in _classes(resource_type(token))
    }
    assert kind in used
    package = importlib.import_module(f"pulumi_azure_native.{module}")
    classes = [
        cls
        for holder, suffix in ((package, "Args"), (package.outputs, "Response"))
        if (cls := getattr(holder, name + suffix, None))
    ]
    known = {name for cls in classes for name in object_properties(cls)}
    assert set(NESTED_RENAMES.get(kind, {})) <= known


def test_string_sets_are_the_lists_that_come_back_as_maps() -> None:
    found = set()
    for token in RESOURCES:
        kind = resource_type(token)
        found |= set(_lists_and_maps(kind.inputs, kind.outputs, set()))
    assert found == STRING_SETS


def test_only_scopes_are_paths_within_paths() -> None:
    parameters = {name for entry in RESOURCES.values() for name in path_parameters(entry.path)}
    assert parameters >= SUB_PATHS
    assert all(f"/{{{name}}}/" in RESOURCES["azure-native:authorization:RoleAssignment"].path for name in SUB_PATHS)


def test_the_sdk_asks_for_the_version_that_the_plugin_says() -> None:
    from pulumi_azure_native import _utilities

    from localazure.provider import VERSION

    assert _utilities.get_version() == VERSION


def _classes(kind: ResourceType) -> set[type]:
    found: set[type] = set()
    waiting = [prop.shape for props in (kind.inputs, kind.outputs) for prop in props.values()]
    while waiting:
        shape = waiting.pop()
        if shape.element:
            waiting.append(shape.element)
        for cls in shape.classes:
            if cls not in found:
                found.add(cls)
                waiting += [prop.shape for prop in object_properties(cls).values()]
    return found


def _lists_and_maps(inputs: object, outputs: object, seen: set[type]) -> Iterator[str]:
    assert isinstance(inputs, dict)
    assert isinstance(outputs, dict)
    for name, prop in inputs.items():
        other = outputs.get(name)
        if isinstance(prop, Property) and isinstance(other, Property):
            yield from _pair(name, prop.shape, other.shape, seen)


def _pair(name: str, given: Shape, answered: Shape, seen: set[type]) -> Iterator[str]:
    if given.kind in ("array", "set") and answered.kind == "map":
        yield name
    if given.element and answered.element:
        yield from _pair(name, given.element, answered.element, seen)
    if given.kind == answered.kind == "object" and given.classes[0] not in seen:
        seen.add(given.classes[0])
        one, other = object_properties(given.classes[0]), object_properties(answered.classes[0])
        yield from _lists_and_maps(one, other, seen)


def test_resources_are_resources() -> None:
    assert all(issubclass(sdk_classes(token)[0], pulumi.CustomResource) for token in RESOURCES)
