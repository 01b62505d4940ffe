"""What hangs on an account, a vault, a subscription and is no resource type of its own in our stacks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import parse_qsl, quote

from tests.arm.bodies import HUB, LOGS, STORAGE, VAULT, hub, logs, storage, vault
from tests.arm.cloud import LOCATION, Cloud


def test_blob_containers(cloud: Cloud) -> None:
    account = cloud.make(STORAGE, "account1", storage())
    below = f"{account['id']}/blobServices/default/containers"
    assert cloud.get(below).json() == {"value": []}
    made = cloud.put(f"{below.upper()}/data-1", {"properties": {"metadata": {"a": "b"}}})
    assert (made.status_code, made.json()["id"]) == (201, f"{below}/data-1")
    shown = cloud.get(f"{below}/DATA-1").json()
    assert (shown["name"], shown["type"]) == ("data-1", "Microsoft.Storage/storageAccounts/blobServices/containers")
    assert (shown["properties"]["publicAccess"], shown["properties"]["leaseState"]) == ("None", "Available")
    again = cloud.put(f"{below}/data-1", {"properties": {}})
    assert (again.status_code, again.json()["etag"] == shown["etag"]) == (200, False)
    changed = cloud.patch(f"{below}/data-1", {"properties": {"metadata": {"c": "d"}}})
    assert (changed.status_code, changed.json()["properties"]["metadata"]) == (200, {"c": "d"})
    public = {"properties": {"publicAccess": "Container"}}
    for path, body, status, code in (
        (f"{below}/Upper", {"properties": {}}, 400, "InvalidResourceName"),
        (f"{below}/two--together", {"properties": {}}, 400, "InvalidResourceName"),
        (f"{account['id']}/blobServices/other/containers/data", {"properties": {}}, 400, "InvalidResourceName"),
        (f"{below}/data-2", public, 409, "PublicAccessNotPermitted"),
        (f"{below}/data-2", {"properties": {"publicAccess": "Everybody"}}, 400, "InvalidParameter"),
        (f"{cloud.id(STORAGE, 'nobody')}/blobServices/default/containers/data", {}, 404, "ParentResourceNotFound"),
    ):
        answer = cloud.put(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert cloud.put(f"{below}/data-2", {"properties": {}}).status_code == 201
    assert [one["name"] for one in cloud.get(below).json()["value"]] == ["data-1", "data-2"]
    assert [one["type"] for one in cloud.get(f"{cloud.group_id()}/resources").json()["value"]] == [STORAGE]
    assert [cloud.delete(f"{below}/data-2").status_code for _ in range(2)] == [200, 204]
    assert cloud.delete(account["id"]).status_code == 200
    missing = cloud.get(below)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "ParentResourceNotFound")
    cloud.make(STORAGE, "account1", storage())
    assert cloud.get(below).json() == {"value": []}


def test_signatures_of_storage_accounts(cloud: Cloud) -> None:
    """The strings that Microsoft's documentation says are signed, worked out here by hand."""
    account = cloud.make(STORAGE, "account1", storage())["id"]
    key = base64.b64decode(cloud.post(f"{account}/listKeys").json()["keys"][1]["value"])

    def signature(*lines: str) -> str:
        return base64.b64encode(hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).digest()).decode()

    asked: dict[str, str] = {
        "signedServices": "b",
        "signedResourceTypes": "s",
        "signedPermission": "r",
        "keyToSign": "key2",
    }
    asked |= {"signedStart": "2026-05-24T10:42:03.1567373Z", "signedExpiry": "2026-05-24T13:42:03+02:00"}
    token = cloud.post(f"{account}/ListAccountSas", asked | {"signedProtocol": "https,http"}).json()["accountSasToken"]
    start, end = "2026-05-24T10:42:03Z", "2026-05-24T11:42:03Z"
    sig = signature("account1", "r", "b", "s", start, end, "", "https,http", "2015-04-05", "")
    fields = f"sv=2015-04-05&ss=b&srt=s&sp=r&st={quote(start)}&se={quote(end)}&spr=https,http&sig={quote(sig, safe='')}"
    assert parse_qsl(token) == parse_qsl(fields)
    place = "/blob/account1/music"
    service = {"canonicalizedResource": place, "signedResource": "c", "signedPermission": "l", "keyToSign": "key2"}
    token = cloud.post(f"{account}/ListServiceSas", service | {"signedExpiry": end}).json()["serviceSasToken"]
    expected = signature("l", "", end, place, "", "", "", "2015-04-05", "", "", "", "", "")
    assert dict(parse_qsl(token)) == {"sv": "2015-04-05", "sr": "c", "sp": "l", "se": end, "sig": expected}
    for action, body in (
        ("ListAccountSas", {**asked, "signedExpiry": "soon"}),
        ("ListAccountSas", {**asked, "signedServices": "x"}),
        ("ListAccountSas", {**asked, "keyToSign": "key3"}),
        ("ListServiceSas", service | {"canonicalizedResource": "/blob/other/music"}),
        ("ListServiceSas", {}),
    ):
        assert cloud.post(f"{account}/{action}", body).status_code == 400


def test_access_policies_one_by_one(cloud: Cloud) -> None:
    place = cloud.make(VAULT, "policies", vault(cloud))["id"]
    who = {"tenantId": cloud.instance.tenant_id, "objectId": cloud.tokens.object_id}

    def put(word: str, *permissions: dict[str, list[str]]) -> list[dict[str, list[str]]]:
        policies = [who | {"permissions": one} for one in permissions]
        answer = cloud.put(f"{place}/accessPolicies/{word}", {"properties": {"accessPolicies": policies}})
        assert answer.status_code == 200, answer.text
        shown = answer.json()["properties"]["accessPolicies"]
        assert shown == cloud.get(place).json()["properties"]["accessPolicies"]
        return [one["permissions"] for one in shown]

    assert put("add", {"secrets": ["get"]}) == [{"secrets": ["get"]}]
    assert put("add", {"secrets": ["get", "list"], "keys": ["sign"]}) == [
        {"secrets": ["get", "list"], "keys": ["sign"]}
    ]
    assert put("remove", {"secrets": ["get"]}) == [{"secrets": ["list"], "keys": ["sign"]}]
    assert put("replace", {"keys": ["wrapKey"]}) == [{"keys": ["wrapKey"]}]
    assert put("remove", {"keys": ["wrapKey"]}) == []
    assert cloud.put(f"{place}/accessPolicies/add", {}).status_code == 400
    assert cloud.put(f"{place}/accessPolicies/extend", {"properties": {"accessPolicies": []}}).status_code == 400


def test_consumer_groups_of_a_hub(cloud: Cloud) -> None:
    place = cloud.make(HUB, "hub-1", hub())["id"]
    below = f"{place}/eventHubEndpoints/events/ConsumerGroups"
    assert [one["name"] for one in cloud.get(below).json()["value"]] == ["$Default"]
    made = cloud.put(f"{below.lower()}/readers", {"properties": {"name": "readers"}})
    assert (made.status_code, made.json()["id"]) == (200, f"{below}/readers")
    assert made.json()["etag"] == cloud.get(f"{below}/readers").json()["etag"]
    assert made.json()["properties"]["name"] == "readers"
    for path, body in (
        (f"{below}/-x", {"properties": {"name": "-x"}}),
        (f"{below}/other", {}),
        (f"{below}/other", {"properties": {"name": "another"}}),
        (f"{place}/eventHubEndpoints/others/ConsumerGroups/x", {"properties": {"name": "x"}}),
    ):
        refused = cloud.put(path, body)
        assert (refused.status_code, "error" in refused.json()) == (400, False), refused.text
    assert cloud.delete(f"{below}/$Default").status_code == 400
    assert [cloud.delete(f"{below}/readers").status_code for _ in range(2)] == [200, 204]
    cloud.finish(cloud.put(place, {"location": LOCATION} | hub()))  # made once
    assert [one["name"] for one in cloud.get(below).json()["value"]] == ["$Default"]
    cloud.finish(cloud.delete(place))
    assert cloud.get(below).status_code == 404


def test_keys_of_a_log_workspace(cloud: Cloud) -> None:
    place = cloud.make(LOGS, "logs", logs())["id"]
    keys = cloud.post(f"{place}/sharedKeys").json()
    assert set(keys) == {"primarySharedKey", "secondarySharedKey"}
    new = cloud.post(f"{place}/regenerateSharedKey").json()
    assert not set(new.values()) & set(keys.values())
    assert cloud.post(f"{place}/sharedKeys").json() == new


def test_role_definitions(cloud: Cloud) -> None:
    for scope in ("", cloud.subscription, cloud.group_id()):
        base = f"{scope}/providers/Microsoft.Authorization/roleDefinitions"
        (found,) = cloud.get(base, {"api-version": "2022-04-01", "$filter": "roleName eq 'acrpull'"}).json()["value"]
        assert found["properties"]["roleName"] == "AcrPull"
        assert found["properties"]["permissions"][0]["actions"] == ["Microsoft.ContainerRegistry/registries/pull/read"]
        assert cloud.get(f"{base}/{found['name']}").json() == found
    assert cloud.get(base, {"$filter": "type eq 'CustomRole'"}).json() == {"value": []}
    assert cloud.get(base, {"$filter": "level eq 9"}).status_code == 400
    missing = cloud.get(f"{base}/{cloud.instance.tenant_id}")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "RoleDefinitionDoesNotExist")
