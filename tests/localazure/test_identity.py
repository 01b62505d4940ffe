"""Tokens, the managed identity with the real azure-identity, cloud metadata with the real azureml-core."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import jwt
import pytest

from localazure import certs, environment
from localazure.endpoints import metadata_app
from localazure.identity import AuthError, Tokens, arm_audiences
from localazure.instance import ARM_PORT, CLOUD_NAME, IDENTITY_PORT, Instance, load_or_create
from localazure.managed_identity import identity_app
from localazure.server import HttpServer


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = load_or_create(tmp_path / "azure")
    certs.ensure(made)
    return made


@asynccontextmanager
async def listening(instance: Instance) -> AsyncIterator[None]:
    tls = (instance.pki / "server.pem", instance.pki / "server.key")
    servers = [
        HttpServer(identity_app(instance, Tokens(instance)), instance.address, IDENTITY_PORT),
        HttpServer(metadata_app(instance), instance.address, ARM_PORT, tls),
    ]
    for server in servers:
        await server.start()
    try:
        yield
    finally:
        for server in servers:
            await server.stop()


def with_servers(instance: Instance, body: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with (
            listening(instance),
            httpx.AsyncClient(verify=certs_of(instance), trust_env=False, timeout=120) as client,
        ):
            await body(client)

    asyncio.run(asyncio.wait_for(run(), 300))


def certs_of(instance: Instance) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(instance.ca))


async def python(instance: Instance, program: str, home: Path, **more: str) -> str:
    """Run a program in a process of its own with the environment that `make env` gives it; its standard output."""
    inherited = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        "-c",
        program,
        env={**inherited, **environment.variables(instance), **more, "HOME": str(home)},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, errors.decode()[-3000:]
    return output.decode()


def test_a_token_is_for_one_audience(instance: Instance) -> None:
    tokens = Tokens(instance)
    header = f"Bearer {tokens.issue('https://management.azure.com/')}"
    claims = tokens.check(header, arm_audiences(instance))
    assert (claims["tid"], claims["appid"]) == (instance.tenant_id, tokens.client_id)
    with pytest.raises(AuthError) as wrong:
        tokens.check(header, ["https://iothubs.azure.net"])
    assert wrong.value.code == "InvalidAuthenticationToken"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AuthenticationFailed"),
        ("Basic eDp5", "AuthenticationFailed"),
        ("Bearer not.a.token", "InvalidAuthenticationToken"),
    ],
)
def test_no_token_no_entry(instance: Instance, header: str | None, code: str) -> None:
    with pytest.raises(AuthError) as refused:
        Tokens(instance).check(header, arm_audiences(instance))
    assert refused.value.code == code


def test_expired_and_foreign_tokens_are_refused(instance: Instance, tmp_path: Path) -> None:
    expired = Tokens(instance).issue("https://management.azure.com/", lifetime=-10)
    with pytest.raises(AuthError) as refused:
        Tokens(instance).check(f"Bearer {expired}", arm_audiences(instance))
    assert refused.value.code == "ExpiredAuthenticationToken"
    foreign = Tokens(load_or_create(tmp_path / "other")).issue("https://management.azure.com/")
    with pytest.raises(AuthError):
        Tokens(instance).check(f"Bearer {foreign}", arm_audiences(instance))
    unsigned = jwt.encode(jwt.decode(foreign, options={"verify_signature": False}), "", algorithm="none")
    with pytest.raises(AuthError):
        Tokens(instance).check(f"Bearer {unsigned}", arm_audiences(instance))


def test_default_azure_credential_signs_in(instance: Instance, tmp_path: Path) -> None:
    program = (
        "import json, time\n"
        "from azure.identity import DefaultAzureCredential\n"
        "found = DefaultAzureCredential().get_token('https://management.azure.com/.default')\n"
        "print(json.dumps({'token': found.token, 'left': found.expires_on - time.time()}))\n"
    )

    async def body(client: httpx.AsyncClient) -> None:
        found = json.loads(await python(instance, program, tmp_path))
        claims = Tokens(instance).check(f"Bearer {found['token']}", arm_audiences(instance))
        assert claims["aud"] == "https://management.azure.com"
        assert 23 * 3600 < found["left"] <= 24 * 3600

    with_servers(instance, body)


def test_app_service_s_way_for_the_real_plugin(instance: Instance, tmp_path: Path) -> None:
    """azidentity (Go) of the real azure-native plugin was never tried; azure-identity's same flow stands in for it."""
    program = (
        "from azure.identity import ManagedIdentityCredential\n"
        "credential = ManagedIdentityCredential()\n"
        "print(type(credential._credential).__name__, credential.get_token('https://management.azure.com/.default').token)\n"
    )

    async def body(client: httpx.AsyncClient) -> None:
        plugin = environment.plugin_variables(instance)
        kind, token = (await python(instance, program, tmp_path, **plugin)).split()
        assert kind == "AppServiceCredential"
        claims = Tokens(instance).check(f"Bearer {token}", arm_audiences(instance))
        assert {"appid", "oid", "tid"} <= set(claims)  # getClientConfig reads them
        endpoint, header = plugin["IDENTITY_ENDPOINT"], {"X-IDENTITY-HEADER": plugin["IDENTITY_HEADER"]}
        query = {"resource": "https://management.azure.com/", "api-version": "2019-08-01"}
        assert (await client.get(endpoint, params=query, headers=header)).json()["token_type"] == "Bearer"
        assert (await client.get(endpoint, params=query)).status_code == 401
        assert (await client.get(endpoint, params=query, headers={"X-IDENTITY-HEADER": "x"})).status_code == 401
        assert (await client.get(endpoint, params=query | {"api-version": "1"}, headers=header)).status_code == 400
        strange = await client.get(endpoint, params=query | {"resource": "https://x.example"}, headers=header)
        assert (strange.status_code, set(strange.json())) == (400, {"statusCode", "message"})
        described = (await client.get(f"https://{environment.variables(instance)['ARM_METADATA_HOSTNAME']}/metadata/endpoints",
            params={"api-version": "2022-09-01"})).json()  # fmt: skip
        assert described["name"] and described["resourceManager"] and described["microsoftGraphResourceId"]
        assert described["authentication"]["loginEndpoint"] and described["authentication"]["audiences"]
        assert described["suffixes"]["storage"] and described["suffixes"]["keyVaultDns"]

    with_servers(instance, body)


def test_azureml_core_knows_the_cloud_and_signs_in(instance: Instance, tmp_path: Path) -> None:
    program = (
        "import json\n"
        "from azureml.core.authentication import MsiAuthentication\n"
        "from azureml._vendor.azure_cli_core.cloud import get_active_cloud\n"
        "found = MsiAuthentication()\n"
        "cloud = found._cloud_type\n"
        "print(json.dumps({'name': cloud.name, 'arm': cloud.endpoints.resource_manager,\n"
        "    'header': found.get_authentication_header()['Authorization'], 'ml': found._get_aml_resource_id()}))\n"
    )

    async def body(client: httpx.AsyncClient) -> None:
        found = json.loads((await python(instance, program, tmp_path)).splitlines()[-1])
        assert found["name"] == CLOUD_NAME
        assert found["arm"] == f"{instance.arm_url}/"
        assert found["ml"] == "https://ml.azure.com"
        Tokens(instance).check(found["header"], arm_audiences(instance))

    with_servers(instance, body)


def test_the_managed_identity_refuses_what_azure_refuses(instance: Instance) -> None:
    url, resource = instance.identity_url, "https://management.azure.com/"
    metadata = {"Metadata": "true"}

    async def body(client: httpx.AsyncClient) -> None:
        async def error(**request: object) -> str:
            answer = await client.request(url=url, **request)  # type: ignore[arg-type]
            assert answer.status_code == 400
            return str(answer.json()["error"])

        assert await error(method="POST", data={"resource": resource}) == "invalid_request"
        assert await error(method="POST", headers=metadata) == "invalid_request"
        forwarded = {**metadata, "X-Forwarded-For": "10.0.0.1"}
        assert await error(method="GET", params={"resource": resource}, headers=forwarded) == "invalid_request"
        strange = {"resource": "https://somebody.example"}
        assert await error(method="GET", params=strange, headers=metadata) == "invalid_resource"
        other = {"resource": resource, "client_id": "11111111-1111-1111-1111-111111111111"}
        assert await error(method="GET", params=other, headers=metadata) == "invalid_request"
        answer = await client.get(url, params={"resource": resource}, headers=metadata)
        assert answer.status_code == 200
        assert answer.json()["resource"] == resource
        assert int(answer.json()["expires_in"]) == 24 * 3600

    with_servers(instance, body)


def test_cloud_metadata_in_both_shapes(instance: Instance) -> None:
    url = f"{instance.arm_url}/metadata/endpoints"

    async def body(client: httpx.AsyncClient) -> None:
        listed = (await client.get(url, params={"api-version": "2019-05-01"})).json()
        single = (await client.get(url, params={"api-version": "2022-09-01"})).json()
        assert listed == [single]
        # What azure-native reads: cloud metadata of go-autorest's successors, all required.
        assert single["name"] == CLOUD_NAME
        assert single["resourceManager"].rstrip("/") == instance.arm_url
        assert single["authentication"]["audiences"] == arm_audiences(instance)
        assert {"loginEndpoint", "audiences"} <= single["authentication"].keys()
        assert {"storage", "keyVaultDns"} <= single["suffixes"].keys()
        assert (await client.get(url)).json()["error"]["code"] == "MissingApiVersionParameter"
        strange = await client.get(url, params={"api-version": "1999-01-01"})
        assert (strange.status_code, strange.json()["error"]["code"]) == (400, "InvalidApiVersionParameter")

    with_servers(instance, body)
