"""What is particular to each type: names, requirements, refusals, actions, secrets."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.arm.bodies import (
    ASSIGNMENT,
    COMPONENT,
    HUB,
    IDENTITY,
    LOGS,
    REGISTRY,
    STORAGE,
    VAULT,
    WORKSPACE,
    Body,
    component,
    hub,
    logs,
    make_dependencies,
    registry,
    storage,
    vault,
    workspace,
)
from tests.arm.cloud import LOCATION, Cloud

READER = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"


def at(body: Body) -> Body:
    return {"location": LOCATION} | body


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def refuse(cloud: Cloud, kind: str, name: str, body: Body, expected: str, status: int = 400) -> None:
    answer = cloud.put(cloud.id(kind, name), at(body))
    assert (answer.status_code, code(answer)) == (status, expected), answer.text
    assert cloud.get(cloud.id(kind, name)).status_code == 404


@pytest.mark.parametrize(
    ("kind", "good", "bad", "expected"),
    [
        (STORAGE, ["abc", "a" * 24, "123"], ["ab", "a" * 25, "Upper", "with-dash"], "AccountNameInvalid"),
        (VAULT, ["abc", "a-b-c", "A" * 24], ["ab", "a" * 25, "1abc", "abc-", "a--b", "a_b"], "VaultNameNotValid"),
        (LOGS, ["abcd", "a-b1", "1" * 63], ["abc", "a" * 64, "-abc", "abc-", "a_bc"], "InvalidParameter"),
        (COMPONENT, ["a", "with.dot and space"], ["dot.", "space ", "per%25cent"], "InvalidParameter"),
        (REGISTRY, ["abcde", "A" * 50], ["abcd", "a" * 51, "with-dash"], "InvalidResourceName"),
        (IDENTITY, ["abc", "a_b-c"], ["ab", "-abc"], "BadRequest"),
    ],
)
def test_names(cloud: Cloud, kind: str, good: list[str], bad: list[str], expected: str) -> None:
    bodies = {
        STORAGE: storage(),
        VAULT: vault(cloud),
        LOGS: logs(),
        COMPONENT: component(),
        REGISTRY: registry(),
        IDENTITY: {},
    }
    for name in good:
        cloud.make(kind, name, bodies[kind])
    for name in bad:
        answer = cloud.put(cloud.id(kind, name), at(bodies[kind]))
        assert (answer.status_code, code(answer)) == (400, expected), name


def test_group_names_and_location(cloud: Cloud) -> None:
    for name in ("a", "A-b_c.(d)", "x" * 90, "Überraschung"):
        assert cloud.put(cloud.group_id(name), {"location": LOCATION}).status_code == 201
    for name in ("dot.", "x" * 91, "a b", "a&b"):
        assert code(cloud.put(cloud.group_id(name), {"location": LOCATION})) == "InvalidResourceGroup"
    moved = cloud.put(cloud.group_id(), {"location": "northeurope"})
    assert (moved.status_code, code(moved)) == (409, "InvalidResourceGroupLocation")
    tagged = cloud.patch(cloud.group_id(), {"tags": {"a": "1", "b": "2"}})
    assert (tagged.status_code, tagged.json()["tags"]) == (200, {"a": "1", "b": "2"})
    assert cloud.patch(cloud.group_id(), {"tags": {"c": "3"}}).json()["tags"] == {"c": "3"}
    assert "tags" not in cloud.put(cloud.group_id(), {"location": LOCATION}).json()


def test_a_location_never_changes(cloud: Cloud) -> None:
    for kind, name, body in ((STORAGE, "account1", storage()), (REGISTRY, "acr12345", registry())):
        made = cloud.make(kind, name, body)
        moved = cloud.put(made["id"], at(body) | {"location": "northeurope"})
        assert (moved.status_code, code(moved)) == (409, "InvalidResourceLocation")


def test_saying_a_default_of_what_never_changes_is_no_change(cloud: Cloud) -> None:
    target = cloud.make(REGISTRY, "acr12345", registry())["id"]
    said = registry() | {"properties": {"zoneRedundancy": "Disabled"}}
    assert [cloud.put(target, at(body)).status_code for body in (said, registry())] == [200, 200]
    changed = cloud.patch(target, {"properties": {"zoneRedundancy": "Enabled"}})
    assert (changed.status_code, code(changed)) == (409, "PropertyChangeNotAllowed")
    target = cloud.make(STORAGE, "account1", storage())["id"]
    assert cloud.put(target, at(storage() | {"properties": {"isHnsEnabled": False}})).status_code == 200


def test_names_are_unique_in_the_whole_cloud(cloud: Cloud) -> None:
    cloud.make_group("other")
    for kind, name, body, expected in (
        (STORAGE, "account1", storage(), "StorageAccountInAnotherResourceGroup"),
        (VAULT, "vault-1", vault(cloud), "VaultAlreadyExists"),
        (REGISTRY, "acr12345", registry(), "AlreadyInUse"),
    ):
        cloud.make(kind, name, body)
        taken = cloud.put(cloud.id(kind, name.upper() if kind != STORAGE else name, "other"), at(body))
        assert (taken.status_code, code(taken)) == (409, expected)


# --- storage


def test_storage_keys_live_apart_and_survive_updates(cloud: Cloud) -> None:
    made = cloud.make(STORAGE, "account1", storage())
    keys = cloud.post(f"{made['id']}/listKeys").json()["keys"]
    assert [(key["keyName"], key["permissions"]) for key in keys] == [("key1", "FULL"), ("key2", "FULL")]
    cloud.put(made["id"], at(storage()) | {"tags": {"a": "b"}})
    cloud.patch(made["id"], {"properties": {"minimumTlsVersion": "TLS1_2"}})
    assert cloud.post(f"{made['id']}/listkeys").json()["keys"] == keys
    new = cloud.post(f"{made['id']}/regenerateKey", {"keyName": "key2"}).json()["keys"]
    assert new[0] == keys[0]
    assert new[1]["value"] != keys[1]["value"]
    assert cloud.post(f"{made['id']}/regenerateKey", {"keyName": "key3"}).status_code == 400
    shown = json.dumps([cloud.get(made["id"]).json(), cloud.get(f"{cloud.subscription}/providers/{STORAGE}").json()])
    assert not any(key["value"] in shown for key in keys + new)


def test_storage_requirements_and_defaults(cloud: Cloud) -> None:
    refuse(cloud, STORAGE, "account1", {"kind": "StorageV2"}, "InvalidParameter")
    refuse(cloud, STORAGE, "account1", {"sku": {"name": "Standard_LRS"}}, "InvalidParameter")
    refuse(cloud, STORAGE, "account1", storage() | {"sku": {"name": "Cheap_LRS"}}, "InvalidParameter")
    refuse(cloud, STORAGE, "account1", storage() | {"kind": "BlobStorage"}, "AccountPropertyRequired")
    refuse(cloud, STORAGE, "account1", storage() | {"properties": {"networkAcls": {}}}, "InvalidRequestContent")
    made = cloud.make(STORAGE, "account1", storage())
    held = made["properties"]
    assert made["sku"] == {"name": "Standard_LRS", "tier": "Standard"}
    assert (held["minimumTlsVersion"], held["allowBlobPublicAccess"]) == ("TLS1_0", False)
    assert (held["supportsHttpsTrafficOnly"], held["accessTier"]) == (True, "Hot")
    assert set(held["primaryEndpoints"]) == {"blob", "queue", "table", "file", "dfs", "web"}
    changed = cloud.patch(made["id"], {"properties": {"isHnsEnabled": True}})
    assert (changed.status_code, code(changed)) == (409, "PropertyChangeNotAllowed")


# --- key vault


def test_vault_requirements(cloud: Cloud) -> None:
    good = vault(cloud)["properties"]
    for change in (
        {"tenantId": None},
        {"tenantId": "me"},
        {"tenantId": str(uuid.uuid4())},
        {"sku": {"family": "A"}},
        {"sku": {"family": "A", "name": "gold"}},
        {"accessPolicies": None},
        {"accessPolicies": [{"objectId": "x"}]},
        {"softDeleteRetentionInDays": 91},
        {"enablePurgeProtection": False},
    ):
        refuse(cloud, VAULT, "vault-1", {"properties": good | change}, "BadRequest")
    by_role = {key: value for key, value in good.items() if key != "accessPolicies"} | {"enableRbacAuthorization": True}
    held = cloud.make(VAULT, "vault-1", {"properties": by_role})["properties"]
    assert (held["enableSoftDelete"], held["softDeleteRetentionInDays"], held["accessPolicies"]) == (True, 90, [])


# --- container registry


def test_registry_credentials_follow_the_admin_user(cloud: Cloud) -> None:
    target = cloud.make(REGISTRY, "Acr12345", registry())["id"]
    for path, body in (("listCredentials", None), ("regenerateCredential", {"name": "password"})):
        refused = cloud.post(f"{target}/{path}", body)
        assert (refused.status_code, code(refused)) == (400, "UnAuthorizedForCredentialOperations")
    cloud.patch(target, {"properties": {"adminUserEnabled": True}})
    held = cloud.post(f"{target}/listCredentials").json()
    assert held == {
        "username": "Acr12345",
        "passwords": [{"name": "password", "value": "one"}, {"name": "password2", "value": "two"}],
    }
    new = cloud.post(f"{target}/regenerateCredential", {"name": "password2"}).json()["passwords"]
    assert [one["value"] for one in new] == ["one", "two-new"]
    assert cloud.post(f"{target}/regenerateCredential", {"name": "password3"}).status_code == 400
    assert "two-new" not in cloud.get(target).text


def test_registry_skus(cloud: Cloud) -> None:
    refuse(cloud, REGISTRY, "acr12345", {"properties": {}}, "InvalidParameter")
    refuse(cloud, REGISTRY, "acr12345", {"sku": {"name": "Classic"}}, "InvalidParameter")
    for change in (
        {"publicNetworkAccess": "Disabled"},
        {"networkRuleSet": {"defaultAction": "Deny"}},
        {"dataEndpointEnabled": True},
    ):
        answer = cloud.put(cloud.id(REGISTRY, "acr12345"), at({"sku": {"name": "Standard"}, "properties": change}))
        assert answer.status_code == 400
    made = cloud.make(REGISTRY, "acr12345", registry(sku="premium") | {"identity": {"type": "SystemAssigned"}})
    assert made["sku"] == {"name": "Premium", "tier": "Premium"}
    principal = made["identity"]["principalId"]
    assert cloud.patch(made["id"], {"tags": {"a": "b"}}).json()["identity"]["principalId"] == principal
    assert cloud.patch(made["id"], {"identity": {"type": "None"}}).json()["identity"] == {"type": "None"}


# --- Application Insights


def test_component_patches_tags_only_and_names_its_workspace(cloud: Cloud) -> None:
    refuse(cloud, COMPONENT, "insights", {"kind": "web"}, "InvalidParameter")
    refuse(cloud, COMPONENT, "insights", {"properties": {"Application_Type": "web"}}, "InvalidParameter")
    missing = component() | {"properties": {"Application_Type": "web", "WorkspaceResourceId": cloud.id(LOGS, "logs1")}}
    refuse(cloud, COMPONENT, "insights", missing, "BadRequest")
    cloud.make(LOGS, "logs1", logs())
    made = cloud.make(COMPONENT, "insights", missing)
    held = made["properties"]
    assert held["IngestionMode"] == "LogAnalytics"
    assert held["ConnectionString"].startswith(
        f"InstrumentationKey={held['InstrumentationKey']};IngestionEndpoint=https://127."
    )
    patched = cloud.patch(made["id"], {"tags": {"a": "b"}, "properties": {"RetentionInDays": 30}}).json()
    assert (patched["tags"], patched["properties"]) == ({"a": "b"}, held)


# --- ML workspace


def test_workspace_needs_what_it_hangs_on(cloud: Cloud) -> None:
    make_dependencies(cloud)
    good = workspace(cloud)
    refuse(cloud, WORKSPACE, "workspace", good | {"identity": None}, "ValidationError")
    for missing in ("storageAccount", "keyVault", "applicationInsights"):
        left = {key: value for key, value in good["properties"].items() if key != missing}
        refuse(cloud, WORKSPACE, "workspace", good | {"properties": left}, "ValidationError")
    for change in (
        {"storageAccount": cloud.id(STORAGE, "nobody")},
        {"keyVault": good["properties"]["storageAccount"]},
        {"containerRegistry": cloud.id(REGISTRY, "nobody")},
    ):
        refuse(cloud, WORKSPACE, "workspace", workspace(cloud, **change), "ValidationError")
    cloud.make(STORAGE, "premium1", {"kind": "BlockBlobStorage", "sku": {"name": "Premium_LRS"}})
    refuse(
        cloud, WORKSPACE, "workspace", workspace(cloud, storageAccount=cloud.id(STORAGE, "premium1")), "ValidationError"
    )
    cloud.make(STORAGE, "tree1", storage() | {"properties": {"isHnsEnabled": True}})
    refuse(
        cloud, WORKSPACE, "workspace", workspace(cloud, storageAccount=cloud.id(STORAGE, "tree1")), "ValidationError"
    )
    refuse(cloud, WORKSPACE, "workspace", good | {"kind": "Hub"}, "NotImplemented", 501)


def test_workspace_properties(cloud: Cloud) -> None:
    make_dependencies(cloud)
    made = cloud.make(WORKSPACE, "workspace", workspace(cloud, discoveryUrl="https://elsewhere/"))
    held = made["properties"]
    assert held["discoveryUrl"] == f"{cloud.instance.arm_url}/discovery/workspaces/{held['workspaceId']}"
    assert made["identity"]["type"] == "SystemAssigned"
    assert uuid.UUID(made["identity"]["principalId"])
    assert "containerRegistry" not in held
    cloud.make(STORAGE, "another", storage())
    for change in ({"storageAccount": cloud.id(STORAGE, "another")},):
        for answer in (
            cloud.patch(made["id"], {"properties": change}),
            cloud.put(made["id"], at(workspace(cloud, **change))),
        ):
            assert (answer.status_code, code(answer)) == (400, "BadRequest")
    same = workspace(
        cloud, storageAccount=cloud.id(STORAGE, "mlstorage").upper().replace("/SUBSCRIPTIONS", "/subscriptions")
    )
    assert cloud.put(made["id"], at(same)).status_code == 202  # ids have no case
    assert cloud.settled(made["id"])["properties"]["workspaceId"] == held["workspaceId"]


def test_workspace_keys(cloud: Cloud) -> None:
    make_dependencies(cloud)
    made = cloud.make(WORKSPACE, "workspace", workspace(cloud))
    keys = cloud.post(f"{made['id']}/listKeys").json()
    storage_keys = cloud.post(f"{cloud.id(STORAGE, 'mlstorage')}/listKeys").json()["keys"]
    assert keys["userStorageKey"] == storage_keys[0]["value"]
    insights = cloud.get(cloud.id(COMPONENT, "mlinsights")).json()["properties"]
    assert keys["appInsightsInstrumentationKey"] == insights["InstrumentationKey"]
    assert "containerRegistryCredentials" not in keys

    attached = cloud.make(REGISTRY, "acr12345", registry(admin=True))["id"]
    cloud.finish(cloud.patch(made["id"], {"properties": {"containerRegistry": attached}}))
    credentials = cloud.post(f"{made['id']}/listKeys").json()["containerRegistryCredentials"]
    assert (credentials["location"], credentials["username"]) == (LOCATION, "acr12345")
    assert [one["value"] for one in credentials["passwords"]] == ["one", "two"]
    cloud.finish(cloud.put(made["id"], at(workspace(cloud))))  # what is attached stays
    assert cloud.settled(made["id"])["properties"]["containerRegistry"] == attached
    cloud.patch(attached, {"properties": {"adminUserEnabled": False}})
    assert "containerRegistryCredentials" not in cloud.post(f"{made['id']}/listKeys").json()


# --- IoT hub


def refuse_hub(answer: httpx.Response, status: int) -> None:
    """Microsoft.Devices has an envelope of its own."""
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert set(body) == {"code", "httpStatusCode", "message", "details"}


def test_hub_refusals(cloud: Cloud) -> None:
    cloud.make_group("other")
    for name in ("ab", "a" * 51, "-abc", "abc-", "12345", "a_b"):
        refuse_hub(cloud.put(cloud.id(HUB, name), at(hub())), 400)
    for sku in (
        {"name": "S1"},
        {"name": "S9", "capacity": 1},
        {"name": "F1", "capacity": 2},
        {"name": "S1", "capacity": 0},
    ):
        refuse_hub(cloud.put(cloud.id(HUB, "hub-1"), at({"sku": sku})), 400)
    cloud.make(HUB, "hub-1", hub())
    refuse_hub(cloud.put(cloud.id(HUB, "HUB-1", "other"), at(hub())), 409)
    changes: list[Body] = [
        hub("F1"),
        hub("B1"),
        hub() | {"properties": {"eventHubEndpoints": {"events": {"partitionCount": 8}}}},
    ]
    for change in changes:
        refuse_hub(cloud.put(cloud.id(HUB, "hub-1"), at(change)), 400)
    cloud.make(HUB, "free-1", hub("F1"))
    refuse_hub(cloud.put(cloud.id(HUB, "free-2"), at(hub("F1"))), 400)
    bigger = cloud.put(cloud.id(HUB, "hub-1"), at({"sku": {"name": "S2", "capacity": 3}}))
    assert bigger.status_code == 200
    cloud.finish(bigger)
    assert cloud.settled(cloud.id(HUB, "hub-1"))["sku"] == {"name": "S2", "tier": "Standard", "capacity": 3}


def test_hub_keys_come_from_the_hub_and_never_from_get(cloud: Cloud) -> None:
    target = cloud.make(HUB, "hub-1", hub())["id"]
    keys = cloud.post(f"{target}/listkeys").json()["value"]
    assert {key["keyName"] for key in keys} == {"iothubowner", "service"}
    assert cloud.post(f"{target}/IotHubKeys/iothubowner/listkeys").json() == keys[0]
    refuse_hub(cloud.post(f"{target}/IotHubKeys/nobody/listkeys"), 404)
    secret = {
        "connectionString": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hidden==",
        "containerName": "c",
    }
    cloud.finish(cloud.put(target, at(hub() | {"properties": {"storageEndpoints": {"$default": secret}}})))
    shown = cloud.settled(target)
    assert shown["properties"]["storageEndpoints"]["$default"]["connectionString"].endswith(";AccountKey=****")
    assert "hidden" not in json.dumps(shown)
    assert "hub-1-1" not in json.dumps(shown)


# --- role assignments and identities


def assign(cloud: Cloud, scope: str, principal: str, *, name: str | None = None, **properties: Any) -> httpx.Response:
    path = f"{scope}/providers/{ASSIGNMENT}/{name or uuid.uuid4()}"
    body = {"roleDefinitionId": f"{cloud.subscription}{READER}", "principalId": principal}
    return cloud.put(path, {"properties": body | properties})


def test_role_assignments_at_any_scope(cloud: Cloud) -> None:
    account = cloud.make(STORAGE, "account1", storage())["id"]
    principal = cloud.make(IDENTITY, "uai", {})["properties"]["principalId"]
    made = {}
    for scope in (cloud.subscription, cloud.group_id(), account):
        answer = assign(cloud, scope, principal, principalType="ServicePrincipal")
        assert answer.status_code == 201
        assert answer.json()["properties"]["scope"] == scope
        made[scope] = answer.json()
        assert cloud.get(answer.json()["id"]).json() == answer.json()
        again = assign(cloud, scope, principal)
        assert (again.status_code, code(again)) == (409, "RoleAssignmentExists")
        assert answer.json()["name"].replace("-", "") in again.json()["error"]["message"]

    def listed(scope: str, **query: str) -> set[str]:
        found = cloud.get(f"{scope}/providers/{ASSIGNMENT}", {f"${key}": value for key, value in query.items()})
        return {one["properties"]["scope"] for one in found.json()["value"]}

    assert listed(cloud.group_id()) == set(made)
    assert listed(cloud.group_id(), filter="atScope()") == {cloud.subscription, cloud.group_id()}
    assert listed(account, filter=f"principalId eq '{uuid.uuid4()}'") == set()
    first = made[cloud.group_id()]
    gone = cloud.delete(first["id"])
    assert (gone.status_code, gone.json()) == (200, first)
    assert cloud.delete(first["id"]).status_code == 204
    cloud.delete(account)  # takes its assignments with it
    assert listed(cloud.subscription) == {cloud.subscription}


def test_role_assignment_refusals(cloud: Cloud) -> None:
    mine = cloud.tokens.object_id
    for answer, expected in (
        (assign(cloud, cloud.group_id(), str(uuid.uuid4())), "PrincipalNotFound"),
        (assign(cloud, cloud.group_id(), mine, principalType="User"), "UnmatchedPrincipalType"),
        (assign(cloud, cloud.group_id(), mine, name="reader"), "InvalidRoleAssignmentId"),
        (assign(cloud, cloud.group_id(), mine, roleDefinitionId="Reader"), "InvalidRoleDefinitionId"),
        (assign(cloud, cloud.group_id(), mine, roleDefinitionId=None), "BadRequestFormat"),
    ):
        assert (answer.status_code, code(answer)) == (400, expected)
    assert code(assign(cloud, cloud.group_id("nowhere"), mine)) == "ResourceGroupNotFound"
    assert code(assign(cloud, cloud.id(STORAGE, "nobody"), mine)) == "ResourceNotFound"
    name = str(uuid.uuid4())
    assert assign(cloud, cloud.group_id(), mine, name=name).status_code == 201
    assert assign(cloud, cloud.group_id(), mine, name=name).status_code == 200
    other = cloud.make(IDENTITY, "uai", {})["properties"]["principalId"]
    changed = assign(cloud, cloud.group_id(), other, name=name)
    assert (changed.status_code, code(changed)) == (400, "RoleAssignmentUpdateNotPermitted")


def test_user_assigned_identities_of_resources(cloud: Cloud) -> None:
    identity = cloud.make(IDENTITY, "uai", {})
    missing = {"type": "UserAssigned", "userAssignedIdentities": {cloud.id(IDENTITY, "nobody"): {}}}
    refused = cloud.put(cloud.id(REGISTRY, "acr12345"), at(registry() | {"identity": missing}))
    assert (refused.status_code, code(refused)) == (400, "FailedIdentityOperation")
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {identity["id"]: {}}}
    made = cloud.make(REGISTRY, "acr12345", registry() | {"identity": both})["identity"]
    held = identity["properties"]
    assert made["userAssignedIdentities"] == {
        identity["id"]: {"principalId": held["principalId"], "clientId": held["clientId"]}
    }
    assert made["type"] == "SystemAssigned,UserAssigned"
    assert assign(cloud, cloud.group_id(), made["principalId"]).status_code == 201
    assert cloud.put(identity["id"], at({})).json()["properties"] == held
