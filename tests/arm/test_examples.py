"""Our answers against Microsoft's official examples: each request as it is shown; keys, status and headers of the answer shown with it."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
import pytest

from tests.arm import bodies
from tests.arm.cloud import LOCATION, Cloud
from tests.arm.examples import ALL, REFUSED, SERVED, paths, reachable, title

ZERO = "00000000-0000-0000-0000-000000000000"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
RULE = {
    "tenantId": ZERO,
    "resourceId": f"/subscriptions/{ZERO}/resourceGroups/a/providers/Microsoft.Synapse/workspaces/b",
}
_PATH = re.compile(r".*/resourcegroups/([^/]+)(?:/providers/([^/]+/[^/]+)(?:/([^/]+))?)?", re.I)


def seed(cloud: Cloud, kind: str, *, shown: bool = False) -> bodies.Body:
    """What a resource is made of that somebody else had made; official where there is an official example of making one."""
    official = {
        bodies.STORAGE: "__StorageAccounts_Create__StorageAccountCreate.json",
        bodies.HUB: "__IotHubResource_CreateOrUpdate__iothub_createOrUpdate.json",
        bodies.VAULT: "__Vaults_CreateOrUpdate__createVault.json",
        bodies.LOGS: "__Workspaces_CreateOrUpdate__WorkspacesCreate.json",
    }
    if kind in official:
        example = next(one for one in ALL if one["file"].endswith(official[kind]))
        made = localized(cloud, example["body"])
        if kind == bodies.STORAGE:
            key = {"keyvaulturi": "https://myvault8569.vault.azure.net", "keyname": "wrappingKey", "keyversion": ""}
            made["properties"] |= {"allowBlobPublicAccess": True}
            made["properties"]["encryption"] |= {"keyvaultproperties": key}
            made["properties"]["networkAcls"] = {"defaultAction": "Allow", "resourceAccessRules": [RULE]}
            made |= {"identity": {"type": "SystemAssigned"}}
            if shown:
                made |= {"kind": "StorageV2", "sku": {"name": "Standard_RAGRS"}}
        return made
    if kind == bodies.WORKSPACE:
        bodies.make_dependencies(cloud)
        cloud.make(bodies.REGISTRY, "mlregistry", bodies.registry(admin=True))
        return bodies.workspace(cloud, containerRegistry=cloud.id(bodies.REGISTRY, "mlregistry"))
    if kind == bodies.COMPONENT:
        cloud.make(bodies.LOGS, "behind", bodies.logs())
        return {
            "kind": "web",
            "properties": {"Application_Type": "web", "WorkspaceResourceId": cloud.id(bodies.LOGS, "behind")},
        }
    return bodies.registry(admin=True, sku="Premium") | {"tags": {"key": "value"}}


def localized(cloud: Cloud, value: Any) -> Any:
    """The example's tenant, subscription and regions are ours; everything else is as it was."""
    text = json.dumps(value).replace(ZERO, cloud.instance.tenant_id)
    text = re.sub(r'"(centraluseuap|eastus2\(stage\)|global|West US)"', f'"{LOCATION}"', text)
    text = re.sub(r"/subscriptions/\{subscription-id\}", cloud.subscription, text)
    return json.loads(text.replace("{managed-identity-name}", "mine"))


def prepare(cloud: Cloud, example: dict[str, Any], url: str) -> None:
    """The resource group that a URL names, and the resource unless the request makes it."""
    found = _PATH.match(url)
    made_here = example["method"] == "PUT" and "accessPolicies" not in url
    if not found:
        kind = re.match(r".*/providers/([^/]+/[^/]+)$", url)
        if kind and kind[1] in (bodies.STORAGE, bodies.VAULT, bodies.REGISTRY, bodies.WORKSPACE, bodies.LOGS):
            for name in ("first0", "second0"):
                cloud.make(kind[1], name, seed(cloud, kind[1]))
        return
    group = found[1]
    if made_here and not found[2]:
        return
    cloud.make_group(group)
    folded: dict[str, str] = {
        one.lower(): one for one in vars(bodies).values() if isinstance(one, str) and one.startswith("Microsoft.")
    }
    kind_name = folded.get((found[2] or "").lower(), "")
    if made_here or kind_name in ("", bodies.ASSIGNMENT):
        return
    cloud.make(kind_name, found[3] or "sample0", seed(cloud, kind_name, shown=example["method"] == "GET"), group)
    if "/containers/" in url:
        assert cloud.put(url, {"properties": {}}).status_code == 201


def assign(cloud: Cloud, scope: str, name: str | None = None) -> None:
    role = f"/providers/Microsoft.Authorization/roleDefinitions/{OWNER}"
    body = {"properties": {"roleDefinitionId": role, "principalId": cloud.tokens.object_id}}
    made = cloud.put(f"{scope}/providers/{bodies.ASSIGNMENT}/{name or uuid.uuid4()}", body)
    assert made.status_code == 201, made.text


def special(cloud: Cloud, example: dict[str, Any], url: str) -> str:
    """What single examples need; the URL, which may change with it."""
    name = example["file"]
    if "NameNotAvailable" in name:
        cloud.make(bodies.REGISTRY, example["body"]["name"], bodies.registry())
    if "UserAssigned" in name and "storageAccounts" in url:
        cloud.make_group("res9101")
        identity = cloud.id(bodies.IDENTITY, "mine", "res9101")
        assert cloud.put(identity, {"location": LOCATION}).status_code in (200, 201)
    if "Vaults_GetDeleted" in name:
        vault = bodies.vault(cloud, enablePurgeProtection=True) | {"location": "westus", "tags": {"a": "b"}}
        made = cloud.make(bodies.VAULT, "sample-vault", vault)
        assert cloud.delete(made["id"]).status_code == 200
    if "Vaults_List__" in name:
        for number in (1, 2):
            cloud.make(bodies.VAULT, f"sample{number}", bodies.vault(cloud) | {"tags": {"a": "b"}})
    if "RoleAssignments_" in name:
        url = url.replace("Microsoft.DocumentDb/databaseAccounts", bodies.STORAGE).replace(
            "test-db-account", "testaccount"
        )
        if "testaccount" in url:
            cloud.make(bodies.STORAGE, "testaccount", bodies.storage(), "testrg")
        scope, _, tail = url.partition(f"/providers/{bodies.ASSIGNMENT}")
        assign(cloud, scope, tail.strip("/") or None)
    url = url.replace("Microsoft.TestRP1", "Microsoft.Storage")
    return url.replace("/scope/", f"{cloud.subscription}/")


def ask(cloud: Cloud, example: dict[str, Any], url: str) -> httpx.Response:
    query = {"api-version": example["version"]} | example.get("query", {})
    return cloud.request(example["method"], url, localized(cloud, example.get("body")), query=query)


@pytest.mark.parametrize("example", SERVED, ids=title)
def test_an_official_request_gets_the_official_answer(cloud: Cloud, example: dict[str, Any]) -> None:
    url = re.sub(r"^/subscriptions/[^/]+", cloud.subscription, example["url"])
    if "RoleAssignments_ListForResource__" in example["file"]:
        cloud.make_group("testrg")
    prepare(cloud, example, url)
    url = special(cloud, example, url)
    answer = ask(cloud, example, url)
    assert str(answer.status_code) in example["statuses"], answer.text
    if example["method"] == "DELETE":
        check_deletion(cloud, example, answer)
        return
    assert {name.lower() for name in example["statuses"][str(answer.status_code)]} <= set(answer.headers)
    if example["method"] in ("PUT", "PATCH") and "accessPolicies" not in url:
        cloud.finish(answer)
        body = cloud.settled(url)
    else:
        body = answer.json() if answer.content else {}
    assert set(localized(cloud, sorted(reachable(example)))) <= paths(body)


def check_deletion(cloud: Cloud, example: dict[str, Any], answer: httpx.Response) -> None:
    """202 leads to an end where nothing is left; 200 shows what the example shows; again: 204."""
    official = {name.lower() for name in example["statuses"][str(answer.status_code)]}
    assert official <= set(answer.headers)
    if answer.content:
        assert reachable(example) <= paths(answer.json())
    end = cloud.finish(answer)
    assert end.status_code in (200, 204), end.text
    path = answer.request.url.path
    assert cloud.get(path).status_code == 404
    if "204" in example["statuses"]:
        assert cloud.delete(path).status_code == 204


@pytest.mark.parametrize("example", REFUSED, ids=title)
def test_what_is_not_here_says_so(cloud: Cloud, example: dict[str, Any]) -> None:
    url = re.sub(r"^/subscriptions/[^/]+", cloud.subscription, example["url"])
    prepare(cloud, example, url)
    answer = ask(cloud, example, url.replace("/scope/", f"{cloud.subscription}/"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented"), answer.text
    assert url.rpartition("/")[2].casefold() in answer.json()["error"]["message"].casefold()
