"""What all types share: tokens, versions, headers, envelopes, ids, lists."""

from __future__ import annotations

import re
import uuid

import httpx
import pytest

from tests.arm.bodies import HUB, IDENTITY, LOGS, REGISTRY, STORAGE, hub, logs, registry, storage
from tests.arm.cloud import Cloud

GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "AuthenticationFailed"),
        ("Basic abc", "AuthenticationFailed"),
        ("Bearer nonsense", "InvalidAuthenticationToken"),
    ],
)
def test_no_or_bad_token_is_401(cloud: Cloud, header: str | None, expected: str) -> None:
    headers = {"Authorization": header} if header else {}
    answer = cloud.http.get("/subscriptions?api-version=2022-12-01", headers=headers)
    assert (answer.status_code, code(answer)) == (401, expected)
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_token_for_somebody_else_and_expired_token_are_401(cloud: Cloud) -> None:
    for token, expected in (
        (cloud.tokens.issue("https://storage.azure.com/"), "InvalidAuthenticationToken"),
        (cloud.tokens.issue("https://management.azure.com/", lifetime=-10), "ExpiredAuthenticationToken"),
    ):
        answer = cloud.http.get("/subscriptions?api-version=2022-12-01", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, code(answer)) == (401, expected)


@pytest.mark.parametrize("audience", ["https://management.azure.com", "https://management.core.windows.net/", "own"])
def test_arms_audiences_are_taken(cloud: Cloud, audience: str) -> None:
    token = cloud.tokens.issue(cloud.instance.arm_url if audience == "own" else audience)
    answer = cloud.http.get("/subscriptions?api-version=2022-12-01", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["value"][0]["subscriptionId"] == cloud.instance.subscription_id


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("", "MissingApiVersionParameter"),
        ("latest", "InvalidApiVersionParameter"),
        ("2024-13-01", "InvalidApiVersionParameter"),
        ("2099-01-01", "InvalidApiVersionParameter"),
        ("2024-03-01 ", "InvalidApiVersionParameter"),
    ],
)
def test_api_version_is_required_and_a_published_date(cloud: Cloud, version: str, expected: str) -> None:
    query = {"api-version": version} if version else {}
    answer = cloud.http.get(cloud.group_id(), params=query, headers=cloud.bearer)
    assert (answer.status_code, code(answer)) == (400, expected)


def test_request_ids_come_back(cloud: Cloud) -> None:
    client, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    asked = {
        "x-ms-client-request-id": client,
        "x-ms-return-client-request-id": "true",
        "x-ms-correlation-request-id": correlation,
    }
    answer = cloud.request("GET", cloud.group_id(), headers=asked)
    assert answer.headers["x-ms-client-request-id"] == client
    assert answer.headers["x-ms-correlation-request-id"] == correlation
    assert re.fullmatch(GUID, answer.headers["x-ms-request-id"])
    assert answer.headers["cache-control"] == "no-cache"
    plain = cloud.request("GET", cloud.group_id(), headers={"x-ms-client-request-id": client})
    assert "x-ms-client-request-id" not in plain.headers
    assert plain.headers["x-ms-correlation-request-id"] == plain.headers["x-ms-request-id"]


def test_ids_compare_without_case_and_keep_the_first_one(cloud: Cloud) -> None:
    made = cloud.make("microsoft.operationalinsights/WORKSPACES", "MixedCase", logs())
    assert made["id"] == cloud.id(LOGS, "MixedCase")
    assert made["type"] == LOGS
    assert cloud.get(made["id"].upper().replace("/SUBSCRIPTIONS", "/subscriptions")).json() == made
    again = cloud.put(cloud.id(LOGS, "mixedcase", "RG"), {"location": "West Europe"} | logs())
    assert (again.status_code, again.json()["id"], again.json()["name"]) == (200, made["id"], "MixedCase")
    assert cloud.inside(lambda: cloud.service.get(made["id"].lower())) == again.json()
    assert cloud.inside(lambda: cloud.service.get(made["id"] + "x")) is None


def test_what_is_not_there(cloud: Cloud) -> None:
    missing = cloud.id(STORAGE, "missing")
    assert code(cloud.get(missing)) == "ResourceNotFound"
    assert (
        cloud.get(missing)
        .json()["error"]["message"]
        .startswith("The Resource 'Microsoft.Storage/storageAccounts/missing' under resource group 'rg' was not found.")
    )
    assert code(cloud.get(cloud.id(STORAGE, "missing", "nowhere"))) == "ResourceGroupNotFound"
    assert code(cloud.put(cloud.id(STORAGE, "missing", "nowhere"), storage())) == "ResourceGroupNotFound"
    assert code(cloud.get(cloud.group_id("nowhere"))) == "ResourceGroupNotFound"
    assert code(cloud.patch(missing, {"tags": {}})) == "ResourceNotFound"
    assert cloud.delete(missing).status_code == 204
    assert cloud.delete(cloud.id(STORAGE, "missing", "nowhere")).status_code == 404
    assert cloud.request("HEAD", missing).status_code == 404
    assert cloud.request("HEAD", cloud.group_id()).status_code == 204
    other = f"/subscriptions/{uuid.uuid4()}/resourceGroups/rg"
    assert code(cloud.get(other)) == "SubscriptionNotFound"


def test_what_this_cloud_does_not_have_is_501_with_its_name(cloud: Cloud) -> None:
    path = f"{cloud.group_id()}/providers/Microsoft.Compute/virtualMachines/vm"
    for method, body in (("GET", None), ("PUT", {}), ("PATCH", {}), ("DELETE", None)):
        answer = cloud.request(method, path, body)
        assert (answer.status_code, code(answer)) == (501, "NotImplemented")
        assert f"{method} {path}" in answer.json()["error"]["message"]
    cloud.make(REGISTRY, "acr12345", registry())
    answer = cloud.post(cloud.id(REGISTRY, "acr12345") + "/importImage", {"source": {}})
    assert (answer.status_code, code(answer)) == (501, "NotImplemented")


def test_a_path_that_only_looks_like_one_of_azures_is_501(cloud: Cloud) -> None:
    """The routing table holds whole paths: right words at the wrong place are no operation."""
    account = cloud.make(STORAGE, "account1", storage())["id"]
    for method, path in (
        ("GET", f"{cloud.group_id()}/providers/Microsoft.KeyVault/deletedVaults"),
        ("GET", f"{cloud.subscription}/providers/Microsoft.KeyVault/deletedVaults/vault"),
        ("GET", f"{cloud.subscription}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults"),
        ("GET", f"{account}/providers/Microsoft.OperationalInsights/deletedWorkspaces"),
        ("GET", f"{cloud.group_id()}/providers/Microsoft.Compute/roleAssignments"),
        ("GET", "/providers/Microsoft.Authorization/roleAssignments"),
        ("POST", f"{cloud.group_id()}/providers/Microsoft.Storage/checkNameAvailability"),
        ("POST", cloud.group_id()),
        ("GET", f"{cloud.subscription}/providers/Microsoft.KeyVault/locations/providers/deletedVaults/vault"),
        ("GET", f"{cloud.group_id()}/providers/Microsoft.Devices/IotHubs/providers/quotaMetrics"),
        ("POST", f"{account}/listKeys/again"),
        ("PUT", f"{cloud.group_id()}/providers/Microsoft.Storage/storageAccounts"),
        ("HEAD", f"{cloud.group_id()}/providers/Microsoft.Storage/storageAccounts"),
    ):
        assert cloud.request(method, path, {"name": "account2"}).status_code == 501, (method, path)


def test_the_lists_of_arm_itself_are_read_only(cloud: Cloud) -> None:
    below = ["", "/locations", "/resourceGroups", "/RESOURCES", "/resourceGroups/rg/resources", "/providers"]
    below.append("/providers/Microsoft.Storage")
    for path in ("/tenants", "/subscriptions", *(cloud.subscription + one for one in below)):
        assert cloud.get(path).status_code == 200, path
        for method in ("PUT", "POST", "DELETE"):
            answer = cloud.request(method, path, {})
            assert (answer.status_code, code(answer)) == (405, "MethodNotAllowed"), (method, path)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b""])
def test_a_body_that_is_no_object_is_refused(cloud: Cloud, content: bytes) -> None:
    answer = cloud.http.put(
        cloud.id(LOGS, "logs"),
        params={"api-version": "2023-09-01"},
        content=content,
        headers=cloud.bearer | {"Content-Type": "application/json"},
    )
    assert (answer.status_code, code(answer)) == (400, "InvalidRequestContent")


def test_bodies_are_checked_before_anything_is_kept(cloud: Cloud) -> None:
    target = cloud.id(LOGS, "logs1")
    good = {"location": "westeurope"} | logs()
    for change, expected in (
        ({"location": None}, "LocationRequired"),
        ({"location": "atlantis"}, "LocationNotAvailableForResourceType"),
        ({"colour": "red"}, "InvalidRequestContent"),
        ({"tags": {"a": 1}}, "InvalidRequestContent"),
        ({"tags": {"a<b": "1"}}, "InvalidTagNameCharacters"),
        ({"tags": {str(number): "" for number in range(51)}}, "TagsLimitExceeded"),
        ({"properties": {"retentionInDays": "30"}}, "InvalidRequestContent"),
        ({"properties": {"retentionInDays": True}}, "InvalidRequestContent"),
        ({"properties": {"sku": {"name": "Gold"}}}, "InvalidParameter"),
        ({"properties": []}, "InvalidRequestContent"),
        ({"identity": {"type": "Robot"}}, "InvalidIdentityType"),
    ):
        answer = cloud.put(target, good | change)
        assert (answer.status_code, code(answer)) == (400, expected), change
    assert cloud.get(target).status_code == 404


def test_read_only_and_unknown_properties_are_dropped_and_words_get_their_case(cloud: Cloud) -> None:
    body = {
        "Location": "West Europe",
        "id": "/nonsense",
        "properties": {
            "Sku": {"name": "pergb2018"},
            "customerId": "mine",
            "speling": 1,
            "provisioningState": "Succeeded",
        },
    }
    made = cloud.make(LOGS, "logs1", body)
    assert made["location"] == "westeurope"
    assert made["properties"]["sku"]["name"] == "PerGB2018"
    assert re.fullmatch(GUID, made["properties"]["customerId"])
    assert "speling" not in made["properties"]


def test_lists_by_group_by_subscription_and_over_types(cloud: Cloud) -> None:
    cloud.make_group("other")
    collection = f"{cloud.group_id()}/providers/{IDENTITY}"
    assert cloud.get(collection).json() == {"value": []}
    for name, group in (("one", "rg"), ("two", "rg"), ("three", "other")):
        cloud.make(IDENTITY, name, {"tags": {"who": name}}, group)
    names = [one["name"] for one in cloud.get(collection).json()["value"]]
    assert names == ["one", "two"]
    everywhere = cloud.get(f"{cloud.subscription}/providers/{IDENTITY}").json()["value"]
    assert {one["name"] for one in everywhere} == {"one", "two", "three"}
    assert code(cloud.get(f"{cloud.group_id('nowhere')}/providers/{IDENTITY}")) == "ResourceGroupNotFound"

    found = cloud.get(f"{cloud.subscription}/resources", {"$filter": f"resourceType eq '{IDENTITY}' and name eq 'two'"})
    assert [one["id"] for one in found.json()["value"]] == [cloud.id(IDENTITY, "two")]
    assert "properties" not in found.json()["value"][0]
    tagged = cloud.get(f"{cloud.subscription}/resources", {"$filter": "tagName eq 'who' and tagValue eq 'three'"})
    assert [one["name"] for one in tagged.json()["value"]] == ["three"]
    odd = cloud.get(f"{cloud.subscription}/resources", {"$filter": "startswith(name, 't')"})
    assert code(odd) == "InvalidFilterInQueryString"
    assert len(cloud.get(f"{cloud.group_id('other')}/resources").json()["value"]) == 1


def test_pages_follow_each_other(cloud: Cloud) -> None:
    for number in range(5):
        cloud.make(IDENTITY, f"uai{number}", {})
    wanted = {"$top": "2", "$filter": f"resourceType eq '{IDENTITY}' and location eq 'westeurope'"}
    answer = cloud.get(f"{cloud.subscription}/resources", wanted).json()
    names = [one["name"] for one in answer["value"]]
    while "nextLink" in answer:
        answer = cloud.get(answer["nextLink"]).json()
        assert len(answer["value"]) <= 2
        names += [one["name"] for one in answer["value"]]
    assert names == [f"uai{number}" for number in range(5)]


def test_subscription_level_answers(cloud: Cloud) -> None:
    assert cloud.get("/tenants").json()["value"][0]["tenantId"] == cloud.instance.tenant_id
    assert cloud.get(cloud.subscription).json()["state"] == "Enabled"
    assert "westeurope" in {one["name"] for one in cloud.get(f"{cloud.subscription}/locations").json()["value"]}
    groups = cloud.get(f"{cloud.subscription}/resourcegroups").json()["value"]
    assert [(one["name"], one["properties"]) for one in groups] == [("rg", {"provisioningState": "Succeeded"})]
    provider = cloud.get(f"{cloud.subscription}/providers/microsoft.devices").json()
    assert (provider["namespace"], provider["registrationState"]) == ("Microsoft.Devices", "Registered")
    assert {one["resourceType"] for one in provider["resourceTypes"]} == {
        "IotHubs",
        "IotHubs/eventHubEndpoints/ConsumerGroups",
    }
    assert cloud.post(f"{cloud.subscription}/providers/Microsoft.Devices/register").status_code == 200
    assert len(cloud.get(f"{cloud.subscription}/providers").json()["value"]) >= 8


def test_etags_guard_changes(cloud: Cloud) -> None:
    made = cloud.make(HUB, "hub-1", hub())
    target, body = made["id"], {"location": "westeurope"} | hub()

    def put(header: str, value: str) -> int:
        answer = cloud.request("PUT", target, body, headers={header: value})
        cloud.finish(answer)
        return answer.status_code

    assert put("If-Match", "stale") == 412
    assert put("If-None-Match", "*") == 412
    assert put("If-Match", made["etag"]) == 200
    assert put("If-Match", made["etag"]) == 412  # it changed with the last one
    assert put("If-Match", "*") == 200
    missing = cloud.id(HUB, "hub-2")
    for method, header, value, status in (
        ("PUT", "If-Match", "*", 412),
        ("PUT", "If-Match", '"x"', 412),
        ("PATCH", "If-Match", "*", 404),
        ("PATCH", "If-Match", '"x"', 404),
        ("DELETE", "If-Match", "*", 204),
        ("DELETE", "If-Match", '"x"', 204),
        ("PUT", "If-None-Match", "*", 201),
    ):
        answer = cloud.request(method, missing, body if method != "DELETE" else None, headers={header: value})
        assert answer.status_code == status, (method, header, value)


def test_names_can_be_checked_before(cloud: Cloud) -> None:
    def check(namespace: str, name: str) -> dict[str, object]:
        answer = cloud.post(
            f"{cloud.subscription}/providers/{namespace}/checkNameAvailability", {"name": name, "type": "x"}
        )
        assert answer.status_code == 200
        result: dict[str, object] = answer.json()
        return result

    cloud.make(REGISTRY, "acr12345", registry())
    assert check("Microsoft.ContainerRegistry", "acr99999") == {"nameAvailable": True}
    assert check("Microsoft.ContainerRegistry", "ACR12345")["reason"] == "AlreadyExists"
    assert check("Microsoft.ContainerRegistry", "no-good")["reason"] == "Invalid"
    assert check("Microsoft.Storage", "UPPER")["reason"] == "AccountNameInvalid"
    assert check("Microsoft.Devices", "hub-1")["nameAvailable"] is True
