"""Request bodies and results against Microsoft's official examples (x-ms-examples in Azure/azure-rest-api-specs, MIT licence).

`examples.jsonl`, a line each: file, operation, url, body, and `keys`, the paths of the official answer's properties.
An example's body becomes SDK inputs and a body again: a name that the plugin does not know gets lost on the way and fails.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localazure.provider.check import failures
from localazure.provider.convert import parse_id, request_body, resource_id, response_outputs
from localazure.provider.shapes import ResourceType, invoke_type, resource_type
from localazure.provider.table import INVOKES

EXAMPLES = [json.loads(line) for line in (Path(__file__).parent / "examples.jsonl").read_text().splitlines()]
TOKENS = {
    "Registries_Create": "containerregistry:Registry",
    "ScopeMaps_Create": "containerregistry:ScopeMap",
    "StorageAccounts_Create": "storage:StorageAccount",
    "Vaults_CreateOrUpdate": "keyvault:Vault",
    "Workspaces_CreateOrUpdate": "operationalinsights:Workspace",
    "IotHubResource_CreateOrUpdate": "iothub:IotHubResource",
    "ResourceGroups_CreateOrUpdate": "resources:ResourceGroup",
}
FUNCTIONS = {
    "Registries_ListCredentials": "containerregistry:listRegistryCredentials",
    "Registries_GetBuildSourceUploadUrl": "containerregistry:listRegistryBuildSourceUploadUrl",
    "Runs_GetLogSasUrl": "containerregistry:listRunLogSasUrl",
    "StorageAccounts_ListKeys": "storage:listStorageAccountKeys",
    "IotHubResource_ListKeys": "iothub:listIotHubResourceKeys",
    "IotHubResource_GetKeysForKeyName": "iothub:listIotHubResourceKeysForKeyName",
    "IotDpsResource_ListKeys": "deviceprovisioningservices:listIotDpsResourceKeys",
    "IotDpsResource_ListKeysForKeyName": "deviceprovisioningservices:listIotDpsResourceKeysForKeyName",
    "Workspaces_ListStorageAccountKeys": "machinelearningservices:listWorkspaceStorageAccountKeys",
}
PUTS = [pytest.param(one, id=one["file"]) for one in EXAMPLES if one["operation"] in TOKENS]
POSTS = [pytest.param(one, id=one["file"]) for one in EXAMPLES if one["operation"] in FUNCTIONS]


@pytest.mark.parametrize("example", PUTS)
def test_the_body_of_an_official_put(example: dict[str, Any]) -> None:
    kind = resource_type("azure-native:" + TOKENS[example["operation"]])
    inputs = {**parse_id(kind.entry.path, example["url"]), **_sdk_inputs(kind, example)}
    expected = {name: value for name, value in example["body"].items() if name != "etag"}  # never an input
    assert request_body(kind, inputs) == expected
    assert [text for text in failures(kind, inputs) if "should be of type" in text] == []


@pytest.mark.parametrize("example", PUTS)
def test_the_path_of_an_official_put(example: dict[str, Any]) -> None:
    kind = resource_type("azure-native:" + TOKENS[example["operation"]])
    names = parse_id(kind.entry.path, example["url"])
    subscription = example["url"].split("/")[2]
    assert resource_id(kind.entry.path, names, subscription).lower() == example["url"].lower()


@pytest.mark.parametrize("example", POSTS)
def test_the_path_and_result_of_an_official_action(example: dict[str, Any]) -> None:
    token = "azure-native:" + FUNCTIONS[example["operation"]]
    path = INVOKES[token].path
    names = parse_id(path, example["url"])
    assert resource_id(path, names, example["url"].split("/")[2]) == example["url"]
    answer = _answer(example["keys"])
    assert response_outputs(invoke_type(token), answer) == answer


def test_every_operation_has_examples() -> None:
    assert {one["operation"] for one in EXAMPLES} == TOKENS.keys() | FUNCTIONS.keys()


def _sdk_inputs(kind: ResourceType, example: dict[str, Any]) -> dict[str, Any]:
    """The body as a refresh reads it: unlike an import, which leaves empty collections out."""
    as_answer = replace(kind, outputs=kind.inputs)
    return response_outputs(as_answer, example["body"])


def _answer(keys: list[str]) -> dict[str, Any]:
    """An object with a text at each of the paths `a`, `a.b`, `a[].b`."""
    answer: dict[str, Any] = {}
    for key in keys:
        holder = answer
        *way, last = key.split(".")
        for step in way:
            name = step.removesuffix("[]")
            if step.endswith("[]"):
                if not isinstance(holder.get(name), list):
                    holder[name] = [{}]
                holder = holder[name][0]
            else:
                if not isinstance(holder.get(name), dict):
                    holder[name] = {}
                holder = holder[name]
        holder.setdefault(last, "text")
    return answer
