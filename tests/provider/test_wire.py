"""Names and places on the wire against Microsoft's own serialisers (azure-mgmt), path, limits and waiting included."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from localazure.provider.shapes import Property, object_properties, resource_type
from localazure.provider.table import RESOURCES

# token, package, module of its operations, model of the PUT's body, model of the answer. Where the package does not have the SDK's
# API version it has one whose wire names are the same or fewer.
ORACLES = {
    "azure-native:storage:StorageAccount": (
        *("azure.mgmt.storage", "_storage_accounts_operations", "create"),
        *("StorageAccountCreateParameters", "StorageAccount"),
    ),
    "azure-native:storage:BlobContainer": (
        *("azure.mgmt.storage", "_blob_containers_operations", "create"),
        *("BlobContainer", "BlobContainer"),
    ),
    "azure-native:keyvault:Vault": (
        *("azure.mgmt.keyvault.v2024_11_01", "_vaults_operations", "create_or_update"),
        *("VaultCreateOrUpdateParameters", "Vault"),
    ),
    "azure-native:containerregistry:Registry": (
        *("azure.mgmt.containerregistry.v2023_01_01_preview", "_registries_operations", "create"),
        *("Registry", "Registry"),
    ),
    "azure-native:containerregistry:ScopeMap": (
        *("azure.mgmt.containerregistry.v2024_11_01_preview", "_scope_maps_operations", "create"),
        *("ScopeMap", "ScopeMap"),
    ),
    "azure-native:containerregistry:Token": (
        *("azure.mgmt.containerregistry.v2024_11_01_preview", "_tokens_operations", "create"),
        *("Token", "Token"),
    ),
    "azure-native:iothub:IotHubResource": (
        *("azure.mgmt.iothub.v2023_06_30", "_iot_hub_resource_operations", "create_or_update"),
        *("IotHubDescription", "IotHubDescription"),
    ),
    "azure-native:iothub:IotHubResourceEventHubConsumerGroup": (
        *("azure.mgmt.iothub.v2023_06_30", "_iot_hub_resource_operations", "create_event_hub_consumer_group"),
        *("EventHubConsumerGroupBodyDescription", "EventHubConsumerGroupInfo"),
    ),
    "azure-native:authorization:RoleAssignment": (
        *("azure.mgmt.authorization.v2022_04_01", "_role_assignments_operations", "create"),
        *("RoleAssignmentCreateParameters", "RoleAssignment"),
    ),
}
# In newer API versions than the installed package's, or described by a base class that the package leaves out.
NEWER = {("RoleAssignment", "systemData"), ("RoleAssignment", "scope")}


@pytest.mark.parametrize("token", ORACLES)
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_names_on_the_wire(token: str, side: str) -> None:
    package, _, _, body, answer = ORACLES[token]
    models = importlib.import_module(f"{package}.models")
    kind = resource_type(token)
    properties = kind.inputs if side == "inputs" else kind.outputs
    checked = list(_compare(properties, getattr(models, body if side == "inputs" else answer), models, set()))
    assert [line for line in checked if line] == []
    assert len(checked) >= len(properties) - 2


@pytest.mark.parametrize("token", ORACLES)
def test_paths(token: str) -> None:
    package, module, method, _, _ = ORACLES[token]
    operations = importlib.import_module(f"{package}.operations.{module}")
    builder = next(
        value
        for name, value in vars(operations).items()
        if name.startswith("build_") and name.endswith(f"{method}_request")
    )
    path = re.search(r'"(/[^"]*{[^"]*)"', inspect.getsource(builder))
    assert path
    assert path[1] == RESOURCES[token].path


@pytest.mark.parametrize("token", ORACLES)
def test_limits_of_path_parameters(token: str) -> None:
    package, module, method, _, _ = ORACLES[token]
    operations = importlib.import_module(f"{package}.operations.{module}")
    builder = next(
        value
        for name, value in vars(operations).items()
        if name.startswith("build_") and name.endswith(f"{method}_request")
    )
    calls = re.findall(r'"(\w+)": _SERIALIZER\.url\(\s*([^()]*(?:\([^()]*\)[^()]*)*)\)', inspect.getsource(builder))
    assert calls
    for name, arguments in calls:
        limit = RESOURCES[token].limits.get(name)
        longest = re.search(r"max_length=(\d+)", arguments)
        shortest = re.search(r"min_length=(\d+)", arguments)
        if name == "subscriptionId":
            continue
        assert (limit and limit.longest) == (int(longest[1]) if longest else None), name
        assert (limit and limit.shortest) == (int(shortest[1]) if shortest else None), name
        pattern = re.search(r'pattern=r"([^"]*)"', arguments)
        if name != "accountName":  # the package's version is newer: 2024-01-01 has no pattern
            assert (limit and limit.pattern) == (pattern[1] if pattern else None), name


@pytest.mark.parametrize("token", ORACLES)
def test_what_is_waited_for(token: str) -> None:
    package, module, method, _, _ = ORACLES[token]
    operations = importlib.import_module(f"{package}.operations.{module}")
    holder = next(
        value
        for name, value in vars(operations).items()
        if inspect.isclass(value) and value.__module__ == operations.__name__ and name.endswith("Operations")
    )
    waited = RESOURCES[token].long_running
    assert ("PUT" in waited) is hasattr(holder, f"begin_{method}")
    delete = "delete_event_hub_consumer_group" if "event_hub" in method else "delete"
    assert hasattr(holder, delete) or hasattr(holder, f"begin_{delete}")
    assert ("DELETE" in waited) is hasattr(holder, f"begin_{delete}")


def _compare(properties: Any, model: type, models: Any, seen: set[tuple[int, type]]) -> Iterator[str]:
    """A complaint for each property that Microsoft puts elsewhere; an empty text for each that is right."""
    if (id(properties), model) in seen:
        return
    seen.add((id(properties), model))
    known = {_plain(name): spec for name, spec in model._attribute_map.items()}  # type: ignore[attr-defined]
    for name, prop in properties.items():
        assert isinstance(prop, Property)
        spec = known.get(_plain(name))
        if spec is None:
            if (model.__name__, name) not in NEWER:
                yield f"{model.__name__} has no {name}"
            continue
        ours = ".".join((*prop.containers, prop.wire))
        theirs = spec["key"].replace("\\\\.", ".")
        yield "" if ours == theirs else f"{model.__name__}.{name}: {ours}, but Microsoft sends {theirs}"
        shape = prop.shape
        while shape.element:
            shape = shape.element
        inner: Any = getattr(models, re.sub(r"[\[\]{}]", "", spec["type"]), None)
        for cls in shape.classes:
            if hasattr(inner, "_attribute_map"):
                yield from _compare(object_properties(cls), inner, models, seen)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def test_the_oracles_are_those_that_there_are() -> None:
    """Resource groups, Log Analytics, Insights, Machine Learning and identities have no azure-mgmt package here."""
    missing = set(RESOURCES) - set(ORACLES)
    assert {token.split(":")[1] for token in missing} == {
        *("resources", "operationalinsights", "applicationinsights", "machinelearningservices", "managedidentity")
    }
