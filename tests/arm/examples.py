"""Microsoft's official examples (x-ms-examples of Azure/azure-rest-api-specs, MIT licence): a selection, as `data/examples.jsonl`.

A line each: `file`, `operation`, `method`, `url`, `version`, `query` and `body` of the request; `statuses` and for each the names of the
headers that the official answer has; `keys`, the paths in its body (of 200, or of 201 where there is none). Values stand for nothing.
The environment variable AZURE_EXAMPLES may name a longer file of the same kind.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

_FILE = Path(os.environ.get("AZURE_EXAMPLES") or Path(__file__).parent / "data" / "examples.jsonl")
ALL: list[dict[str, Any]] = [json.loads(line) for line in _FILE.read_text().splitlines()]

# What the local Azure does not have: each must say so. Everything else in the file must answer as the example does.
OUT_OF_SCOPE = re.compile(
    r"^(dps|acr)__.*__(IotDps\w+|ScopeMaps_\w+|Tokens_\w+|Registries_GenerateCredentials)__"  # provisioning service, tokens
    r"|__RegistriesScheduleRun_(Task|FileTask_\w+)\."  # ACR tasks other than builds of a Dockerfile
    r"|^ml__.*__Model(Containers|Versions)_"  # models of the v2 API
    r"|__RoleDefinitions_(Delete|CreateOrUpdate)__"  # custom roles
    r"|__Providers_ProviderPermissions__|__Subscriptions_CheckZonePeers__"
)
# Answered by the registry room, whose tests have the examples.
OF_REGISTRIES = re.compile(r"__Registries_ImportImage__|^acrbuild__")

SERVED = [one for one in ALL if not OUT_OF_SCOPE.search(one["file"]) and not OF_REGISTRIES.search(one["file"])]
REFUSED = [one for one in ALL if OUT_OF_SCOPE.search(one["file"])]

# What the examples show and an answer to their own request does not hold, with the reason.
_UNREACHABLE = (
    (
        r"registr(y|ies)",
        r"properties\.(status|networkRuleSet)(\.|$)",
        "status is of Classic, network rules of Premium registries",
    ),
    (
        r"iothub_(create|add|get|delete|patch)",
        r"properties\.(ipFilterRules|networkRuleSets\.ipRules)\[\]\.",
        "rules nobody made",
    ),
    (r"iothub", r"cosmosDBSqlContainers\[\]\.id", "assigned by the routing service"),
    (r"iothub_delete", r"systemData", "of the synchronous answer only"),
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
    (
        r"storageaccount",
        r"geoReplicationStats|storageAccountSkuConversionStatus",
        "moving data between regions and SKUs",
    ),
    (r"storageaccount", r"accountMigrationInProgress|isSkuConversionBlocked", "nobody moves it"),
    (r"storageaccountupdateuserassigned", r"accessTier", "accounts of kind Storage have none"),
    (r"storageaccount", r"keyvaultproperties\.(current|last)", "the customer's key is not read"),
    (r"components", r"HockeyApp(Id|Token)", "HockeyApp has ended"),
    (r"getprovider", r"locationMappings", "no edge zones here"),
    (r"getsubscriptions|workspace_listby", r"^nextLink$", "all fit on one page"),
    (r"getsubscriptions", r"\.(managedByTenants\[\]|tags)", "a subscription that others manage"),
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
    name = example["file"].partition("__")[2].lower()
    return {
        key
        for key in example["keys"]
        if not any(re.search(file, name) and re.search(path, key) for file, path, _ in _UNREACHABLE)
    }


def title(example: dict[str, Any]) -> str:
    return str(example["file"]).removesuffix(".json")
