"""Our answers against Microsoft's official examples (x-ms-examples of Azure/azure-rest-api-specs, MIT licence).

`data/examples.jsonl`, a line each: `file`, `method`, `url`, `version`, `body` of the request and `keys`, the paths of the official answer.
The environment variable AZURE_EXAMPLES may name a longer file of the same kind. PATCH examples mostly show a resource that something
else made, so only those of registries are here.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.arm import bodies
from tests.arm.cloud import LOCATION, Cloud

_FILE = Path(os.environ.get("AZURE_EXAMPLES") or Path(__file__).parent / "data" / "examples.jsonl")
EXAMPLES: list[dict[str, Any]] = [json.loads(line) for line in _FILE.read_text().splitlines()]
ZERO = "00000000-0000-0000-0000-000000000000"

# What the examples show and an answer to their own request does not hold, with the reason.
UNREACHABLE = (
    (
        r"registries",
        r"properties\.(status|networkRuleSet)(\.|$)",
        "status is of Classic registries, network rules of Premium ones",
    ),
    (
        r"iothub",
        r"properties\.(ipFilterRules|networkRuleSets\.ipRules)\[\]\.",
        "the example's answer holds rules that its request did not make",
    ),
    (r"iothub", r"cosmosDBSqlContainers\[\]\.id", "assigned by the routing service"),
    (
        r"vault",
        r"properties\.(hsmPoolResourceId|networkAcls|privateEndpointConnections)",
        "vaults in an HSM pool, or with networks",
    ),
    (
        r"storageaccount",
        r"primaryEndpoints\.(\w+Endpoints\.)?(dfs|web)|^extendedLocation",
        "kind Storage has neither; no edge zones here",
    ),
    (r"storageaccount", r"statusOfSecondary", "locally redundant accounts have no secondary"),
)


def paths(value: Any, prefix: str = "") -> set[str]:
    """Every key of nested objects as a dotted path; `[]` stands for any member of a list."""
    if isinstance(value, dict):
        steps = {key: f"{prefix}.{key}" if prefix else key for key in value}
        return set(steps.values()).union(*(paths(item, steps[key]) for key, item in value.items()))
    if isinstance(value, list):
        return set[str]().union(*(paths(item, f"{prefix}[]") for item in value))
    return set()


def reachable(example: dict[str, Any]) -> set[str]:
    name = example["file"].lower()
    return {
        key
        for key in example["keys"]
        if not any(re.search(file, name) and re.search(path, key) for file, path, _ in UNREACHABLE)
    }


def prepare(cloud: Cloud, url: str, *, itself: bool) -> None:
    """The resource group that a URL names and, where asked for, the resource."""
    found = re.match(r".*/resourcegroups/([^/]+)(?:/providers/([^/]+/[^/]+)/([^/]+))?", url, re.I)
    if not found or (url.count("/") == 4 and not itself):
        return
    cloud.make_group(found[1])
    if not itself or not found[2]:
        return
    kind = found[2].lower()
    made: dict[str, bodies.Body] = {
        bodies.STORAGE.lower(): bodies.storage(),
        bodies.VAULT.lower(): bodies.vault(cloud),
        bodies.LOGS.lower(): bodies.logs(),
        bodies.COMPONENT.lower(): bodies.component(),
        bodies.REGISTRY.lower(): bodies.registry(admin=True, sku="Premium"),
        bodies.HUB.lower(): bodies.hub(),
        bodies.WORKSPACE.lower(): bodies.workspace(cloud),
    }
    if kind == bodies.WORKSPACE.lower():
        bodies.make_dependencies(cloud)
    cloud.make(found[2], found[3], made[kind], found[1])


@pytest.mark.parametrize("example", EXAMPLES, ids=[example["file"].removesuffix(".json") for example in EXAMPLES])
def test_an_official_request_gets_the_official_keys(cloud: Cloud, example: dict[str, Any]) -> None:
    url = re.sub(r"^/subscriptions/[^/]+", cloud.subscription, example["url"])
    text = json.dumps(example["body"]).replace(ZERO, cloud.instance.tenant_id).replace("centraluseuap", LOCATION)
    prepare(cloud, url, itself=example["method"] != "PUT")
    if "NameNotAvailable" in example["file"]:
        cloud.make(bodies.REGISTRY, example["body"]["name"], bodies.registry())
    answer = cloud.request(example["method"], url, json.loads(text), query={"api-version": example["version"]})
    assert answer.status_code in (200, 201, 202), answer.text
    if example["method"] == "PUT":
        cloud.finish(answer)
        body = cloud.settled(url)
    else:
        body = answer.json()
    assert reachable(example) <= paths(body)
