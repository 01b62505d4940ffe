"""Strict mode: what each role may do, at which scope, at ARM and at the data planes; who can log in and how."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localazure.arm.ids import parse
from localazure.arm.rbac import roles
from localazure.arm.rbac.needs import need_of
from localazure.guards import hub_action
from tests.faults.cloud import HUB, REGISTRY, WORKSPACE, Cloud, device_body, device_path
from tests.waiting import PATIENCE

ARM, HUBS, ML = "https://management.azure.com/", "https://iothubs.azure.net", "https://ml.azure.com"


@dataclass(frozen=True)
class Login:
    variables: dict[str, str]

    @property
    def client_id(self) -> str:
        return self.variables["AZURE_CLIENT_ID"]


def add(cloud: Cloud, name: str, *arguments: str) -> Login:
    lines = cloud("principal", "add", name, *arguments).splitlines()
    exports = [line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export ")]
    return Login({key: value.strip("'") for key, value in exports})


def object_id_of(cloud: Cloud, name: str) -> str:
    return next(line.split()[3] for line in cloud("principal", "list").splitlines() if line.startswith(f"{name} "))


def token(cloud: Cloud, login: Login, audience: str = ARM) -> str:
    """By the client-credentials flow."""
    form = {
        "grant_type": "client_credentials",
        "client_id": login.client_id,
        "client_secret": login.variables["AZURE_CLIENT_SECRET"],
        "scope": f"{audience}/.default",
    }
    with cloud.client() as client:
        url = f"{login.variables['AZURE_AUTHORITY_HOST']}/{login.variables['AZURE_TENANT_ID']}/oauth2/v2.0/token"
        answer = client.post(url, data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def people(cloud: Cloud) -> dict[str, Login]:
    hub = cloud.id("Microsoft.Devices/IotHubs", HUB)
    workspace = cloud.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
    return {
        "reader": add(cloud, "reader", "--role", "Reader"),
        "contributor": add(cloud, "contributor", "--role", "Contributor", "--scope", cloud.group),
        "admin": add(cloud, "admin", "--role", "User Access Administrator"),
        "registrar": add(cloud, "registrar", "--role", "IoT Hub Registry Contributor", "--scope", hub),
        "watcher": add(cloud, "watcher", "--role", "IoT Hub Data Reader", "--scope", hub),
        "scientist": add(cloud, "scientist", "--role", "AzureML Data Scientist", "--scope", workspace),
    }


def test_a_reader_reads_and_nothing_else(cloud: Cloud, people: dict[str, Login]) -> None:
    cloud("rbac", "strict")
    reader = token(cloud, people["reader"])
    registry = cloud.id("Microsoft.ContainerRegistry/registries", REGISTRY)
    hub = cloud.id("Microsoft.Devices/IotHubs", HUB)
    for path in (
        cloud.subscription,
        "/subscriptions",
        cloud.group,
        registry,
        hub,
        f"{cloud.subscription}/resourceGroups",
    ):
        assert cloud.arm("GET", path, token=reader).status_code == 200, path
    refused = cloud.arm("POST", f"{registry}/listCredentials", token=reader)
    object_id = object_id_of(cloud, "reader")
    assert (refused.status_code, refused.json()["error"]) == (
        403,
        {
            "code": "AuthorizationFailed",
            "message": f"The client '{people['reader'].client_id}' with object id '{object_id}' does not have authorization to perform "
            f"action 'Microsoft.ContainerRegistry/registries/listCredentials/action' over scope '{registry}' or the scope is invalid. "
            "If access was recently granted, please refresh your credentials.",
        },
    )
    for method, path, body in (
        ("POST", f"{hub}/listkeys", None),
        ("POST", f"{hub}/IotHubKeys/iothubowner/listkeys", None),
        ("PUT", f"{cloud.subscription}/resourceGroups/new", {"location": "westeurope"}),
        ("PATCH", cloud.group, {"tags": {"a": "b"}}),
        ("DELETE", registry, None),
        ("POST", f"{cloud.subscription}/providers/Microsoft.Storage/register", None),
    ):
        assert cloud.arm(method, path, body, reader).status_code == 403, (method, path)
    assert cloud.ml("GET", "models", token=reader).status_code == 200
    assert cloud.ml("POST", "models", {}, token=reader).status_code == 403
    assert cloud.hub("GET", "/devices", token=token(cloud, people["reader"], HUBS)).status_code == 401

    cloud("rbac", "off")  # at once, and back
    assert cloud.arm("POST", f"{registry}/listCredentials", token=reader).status_code == 200
    cloud("rbac", "strict")
    assert cloud.arm("POST", f"{registry}/listCredentials", token=reader).status_code == 403


def test_rights_hold_below_their_scope_and_nowhere_else(cloud: Cloud, people: dict[str, Login]) -> None:
    cloud("rbac", "strict")
    bearer = token(cloud, people["contributor"])
    registry = cloud.id("Microsoft.ContainerRegistry/registries", REGISTRY)
    other = f"{cloud.subscription}/resourceGroups/other"
    assert cloud.arm("PUT", other, {"location": "westeurope"}).status_code in (200, 201)
    assert cloud.arm("POST", f"{registry}/listCredentials", token=bearer).status_code == 200
    assert cloud.arm("PATCH", cloud.group, {"tags": {"a": "b"}}, bearer).status_code == 200
    assert cloud.arm("GET", other, token=bearer).status_code == 403
    assert (
        cloud.arm("GET", f"{cloud.subscription}/resourceGroups/nowhere", token=bearer).status_code == 403
    )  # before 404
    listed = cloud.arm("GET", f"{cloud.subscription}/resourceGroups", token=bearer).json()["value"]
    assert [group["name"] for group in listed] == ["rg"]
    found = cloud.arm("GET", f"{cloud.subscription}/resources", token=bearer).json()["value"]
    assert len(found) >= 6 and all(one["id"].startswith(f"{cloud.group}/") for one in found)
    assert cloud.arm("GET", f"{other}/resources", token=bearer).status_code == 403
    role = {
        "properties": {"roleDefinitionId": roles.DEFINITIONS + roles.ROLES[2].id, "principalId": cloud.tokens.object_id}
    }
    name = "/providers/Microsoft.Authorization/roleAssignments/5f2d4a3e-1c5b-4c5a-9e3d-2b1a0f9e8d7c"
    assert cloud.arm("PUT", f"{cloud.group}{name}", role, bearer).status_code == 403  # a Contributor gives no rights
    admin = token(cloud, people["admin"])
    assert cloud.arm("PUT", f"{cloud.group}{name}", role, admin).status_code == 201
    assert cloud.arm("PATCH", cloud.group, {"tags": {}}, admin).status_code == 403
    assert cloud.arm("DELETE", f"{cloud.group}{name}", token=admin).status_code == 200


def test_what_a_body_links_needs_rights_too(cloud: Cloud, people: dict[str, Login]) -> None:
    cloud("rbac", "strict")
    bearer = token(cloud, people["contributor"])
    west, kind = {"location": "westeurope"}, "Microsoft.ManagedIdentity/userAssignedIdentities"
    other = f"{cloud.subscription}/resourceGroups/elsewhere"
    assert cloud.arm("PUT", other, west).status_code == 201
    assert cloud.arm("PUT", f"{other}/providers/{kind}/theirs", west).status_code in (200, 201)
    assert cloud.arm("PUT", cloud.id(kind, "ours"), west, bearer).status_code in (200, 201)
    account = cloud.id("Microsoft.Storage/storageAccounts", "linkedaccount")
    body = west | {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}}

    def put(identity: str) -> httpx.Response:
        assigned = {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
        return cloud.arm("PUT", account, body | {"identity": assigned}, bearer)

    refused = put(f"{other}/providers/{kind}/theirs")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "LinkedAuthorizationFailed")
    assert "userAssignedIdentities/assign/action" in refused.json()["error"]["message"]
    assert put(cloud.id(kind, "ours")).status_code in (200, 202)
    source = {"resourceId": f"{other}/providers/Microsoft.ContainerRegistry/registries/theirs", "sourceImage": "a:b"}
    target = f"{cloud.id('Microsoft.ContainerRegistry/registries', REGISTRY)}/importImage"
    refused = cloud.arm("POST", target, {"source": source, "targetTags": ["a:b"]}, bearer)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "LinkedAuthorizationFailed")
    assert (
        cloud.arm("POST", target, {"source": source, "targetTags": ["a:b"]}).status_code == 404
    )  # the Owner gets further


def test_a_role_counts_from_its_assignment_to_its_removal(cloud: Cloud) -> None:
    cloud("rbac", "strict")
    login = add(cloud, "newcomer", "--role", "AcrPull", "--scope", cloud.group)
    bearer = token(cloud, login)
    registry = cloud.id("Microsoft.ContainerRegistry/registries", REGISTRY)
    assert cloud.arm("GET", registry, token=bearer).status_code == 403  # AcrPull is no Reader
    object_id = object_id_of(cloud, "newcomer")
    reader = {"properties": {"roleDefinitionId": roles.DEFINITIONS + roles.ROLES[2].id, "principalId": object_id}}
    path = f"{registry}/providers/Microsoft.Authorization/roleAssignments/0f2d4a3e-1c5b-4c5a-9e3d-2b1a0f9e8d7c"
    assert cloud.arm("PUT", path, reader).status_code == 201
    assert cloud.arm("GET", registry, token=bearer).status_code == 200
    assert cloud.arm("DELETE", path).status_code == 200
    assert cloud.arm("GET", registry, token=bearer).status_code == 403
    cloud("principal", "remove", "newcomer")
    assert "no principal" in cloud("principal", "remove", "newcomer", ok=False)


def test_data_roles_of_hubs(cloud: Cloud, people: dict[str, Login]) -> None:
    cloud("rbac", "strict")
    registrar, watcher = (token(cloud, people[name], HUBS) for name in ("registrar", "watcher"))
    path = device_path("governed")
    assert cloud.hub("PUT", path, device_body("governed"), registrar).status_code == 200
    assert cloud.hub("GET", "/twins/governed", token=registrar).status_code == 401
    assert cloud.hub("GET", "/twins/governed", token=watcher).status_code == 200
    refused = cloud.hub("PATCH", "/twins/governed", {"tags": {"a": 1}}, watcher)
    assert (refused.status_code, refused.headers["iothub-errorcode"]) == (401, "IotHubUnauthorizedAccess")
    assert cloud.hub("DELETE", path, token=watcher).status_code == 401
    assert cloud.hub("DELETE", path, token=registrar).status_code == 412  # let in, but it needs an If-Match
    assert cloud.service().get_devices(1) is not None  # signatures are none of its business


def test_data_roles_of_azure_ml(cloud: Cloud, people: dict[str, Login]) -> None:
    cloud("rbac", "strict")
    bearer = token(cloud, people["scientist"])
    workspace = cloud.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
    assert cloud.ml("GET", "models", token=bearer).status_code == 200
    assert cloud.ml("POST", "models", {}, token=bearer).status_code == 400  # it was let in
    assert cloud.arm("POST", f"{workspace}/listKeys", token=bearer).status_code == 403
    assert cloud.arm("DELETE", workspace, token=bearer).status_code == 403
    assert cloud.ml("GET", "models", token=token(cloud, people["contributor"])).status_code == 200
    assert cloud.ml("GET", "models", token=token(cloud, people["registrar"])).status_code == 403


def test_tokens_are_for_one_audience_each(cloud: Cloud, people: dict[str, Login]) -> None:
    login = people["reader"]
    tokens = {audience: token(cloud, login, audience) for audience in (ARM, HUBS, ML)}
    answers = {
        audience: (
            cloud.arm("GET", cloud.group, token=bearer).status_code,
            cloud.hub("GET", "/devices", token=bearer).status_code,
            cloud.ml("GET", "models", token=bearer).status_code,
        )
        for audience, bearer in tokens.items()
    }
    assert answers == {ARM: (200, 401, 200), HUBS: (401, 200, 401), ML: (401, 401, 200)}


def test_azure_identity_logs_in(cloud: Cloud, people: dict[str, Login], home: Path) -> None:
    program = (
        "import jwt\n"
        "from azure.identity import EnvironmentCredential\n"
        "token = EnvironmentCredential(disable_instance_discovery=True).get_token('https://management.azure.com/.default')\n"
        "print(jwt.decode(token.token, options={'verify_signature': False})['appid'])\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "REQUESTS_CA_BUNDLE": str(cloud.instance.ca)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=env | people["reader"].variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == people["reader"].client_id


def test_the_managed_identity_endpoint_knows_them_all(cloud: Cloud, people: dict[str, Login]) -> None:
    cloud("rbac", "strict")

    def ask(params: dict[str, str]) -> httpx.Response:
        return httpx.get(cloud.instance.identity_url, params=params, headers={"Metadata": "true"}, timeout=PATIENCE)

    asked = {"resource": ARM, "client_id": people["reader"].client_id}
    answer = ask(asked).json()
    assert answer["client_id"] == people["reader"].client_id
    assert cloud.arm("GET", cloud.group, token=answer["access_token"]).status_code == 200
    assert cloud.arm("DELETE", cloud.group, token=answer["access_token"]).status_code == 403
    nobody = ask(asked | {"client_id": "x"})
    assert (nobody.status_code, nobody.json()["error_description"]) == (400, "Identity not found")


@pytest.mark.parametrize(
    ("change", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, 400, "unauthorized_client", 700016),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"scope": "https://management.azure.com/"}, 400, "invalid_scope", 1002012),
        ({"scope": "urn:localazure:owner/.default"}, 400, "invalid_resource", 500011),
        ({"client_secret": ""}, 400, "invalid_request", 900144),
    ],
)
def test_a_login_is_refused_as_entra_id_does(
    cloud: Cloud, people: dict[str, Login], change: dict[str, str], status: int, error: str, number: int
) -> None:
    login = people["reader"].variables
    form = {
        "grant_type": "client_credentials",
        "client_id": login["AZURE_CLIENT_ID"],
        "client_secret": login["AZURE_CLIENT_SECRET"],
        "scope": f"{ARM}.default",
    } | change
    with cloud.client() as client:
        answer = client.post(f"{login['AZURE_AUTHORITY_HOST']}/{login['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=form)
    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (status, error, [number])
    assert login["AZURE_CLIENT_SECRET"] not in answer.text


def test_the_default_principal_has_no_secret(cloud: Cloud) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": cloud.tokens.client_id,
        "client_secret": "anything",
        "resource": ARM,
    }
    with cloud.client() as client:
        answer = client.post(f"{cloud.instance.arm_url}/{cloud.instance.tenant_id}/oauth2/token", data=form)
    assert answer.status_code == 401


def test_principals_are_refused_with_words(cloud: Cloud) -> None:
    assert "There is no role 'Boss'" in cloud("principal", "add", "p", "--role", "Boss", ok=False)
    assert "subscription" in cloud("principal", "add", "p", "--role", "Reader", "--scope", "/subscriptions/x", ok=False)
    assert "could not be found" in cloud(
        "principal", "add", "p", "--role", "Reader", "--scope", f"{cloud.subscription}/resourceGroups/nowhere", ok=False
    )
    assert "p  object" not in cloud("principal", "list")
    secrets = (cloud.folder / "daemon.log").read_text() + (cloud.folder / "requests.jsonl").read_text()
    login = add(cloud, "p", "--role", "Reader")
    assert login.variables["AZURE_CLIENT_SECRET"] not in secrets
    assert login.variables["AZURE_CLIENT_SECRET"].encode() not in (cloud.folder / "azure.db").read_bytes()
    cloud("principal", "remove", "p")


SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("method", "path", "action", "scope"),
    [
        ("GET", "/resourceGroups/g", "Microsoft.Resources/subscriptions/resourceGroups/read", "/resourceGroups/g"),
        ("PUT", "/resourcegroups/g", "Microsoft.Resources/subscriptions/resourceGroups/write", "/resourceGroups/g"),
        ("PATCH", "/resourceGroups/g/providers/A.B/c/d", "A.B/c/write", "/resourceGroups/g/providers/A.B/c/d"),
        (
            "DELETE",
            "/resourceGroups/g/providers/A.B/c/d/e/f",
            "A.B/c/e/delete",
            "/resourceGroups/g/providers/A.B/c/d/e/f",
        ),
        ("GET", "/resourceGroups/g/providers/A.B/c/d/e", "A.B/c/e/read", "/resourceGroups/g/providers/A.B/c/d"),
        ("GET", "/resourceGroups/g/providers/A.B/c", "A.B/c/read", "/resourceGroups/g"),
        (
            "POST",
            "/resourceGroups/g/providers/A.B/c/d/listX",
            "A.B/c/listX/action",
            "/resourceGroups/g/providers/A.B/c/d",
        ),
        (
            "POST",
            "/providers/Microsoft.Storage/checkNameAvailability",
            "Microsoft.Storage/checkNameAvailability/read",
            "",
        ),
        (
            "POST",
            "/providers/Microsoft.Devices/checkNameAvailability",
            "Microsoft.Devices/checkNameAvailability/action",
            "",
        ),
        ("POST", "/providers/A.B/register", "A.B/register/action", ""),
    ],
)
def test_what_a_request_needs(method: str, path: str, action: str, scope: str) -> None:
    need = need_of(method, parse(SUBSCRIPTION + path))
    assert need
    assert (need.action, need.scope) == (action, SUBSCRIPTION + scope)


@given(st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]), st.text())
def test_every_path_below_a_subscription_needs_something(method: str, rest: str) -> None:
    assert need_of(method, parse(f"{SUBSCRIPTION}/{rest}")) is not None


def test_roles_do_what_their_documentation_says() -> None:
    reader, contributor = roles.find("Reader"), roles.find("b24988ac-6180-42a0-ab88-20f7382dd24c")
    assert reader
    assert contributor
    assert reader.allows("Microsoft.Storage/storageAccounts/read", False)
    assert not reader.allows("Microsoft.Storage/storageAccounts/listKeys/action", False)
    assert contributor.allows("microsoft.storage/storageaccounts/listkeys/ACTION", False)
    assert not contributor.allows("Microsoft.Authorization/roleAssignments/write", False)
    assert not contributor.allows("Microsoft.Devices/IotHubs/devices/read", True)
    data = roles.find("IoT Hub Data Reader")
    assert data
    assert data.allows(hub_action("GET", "/twins/a"), True)
    assert not data.allows(hub_action("POST", "/twins/a/methods"), True)
    assert not data.allows(hub_action("TRACE", "/new"), True)
