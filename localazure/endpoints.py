"""The endpoints that clients find everything else with: cloud metadata on the TLS listener, managed identity on plain http.

Who is not the managed identity logs in at `login.py`.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from localazure.identity import LIFETIME_SECONDS, Tokens, arm_audiences, known_resources
from localazure.instance import CLOUD_NAME, Instance
from localazure.principals import Principals


def metadata_app(instance: Instance) -> Starlette:
    """`GET /metadata/endpoints`, without a token: with api-version 2019-05-01 and 2020-06-01 a list of clouds (what azureml-core's
    `cloud.py` reads), with 2022-09-01 the one cloud (what azure-native reads), as management.azure.com answers them."""

    async def endpoints(request: Request) -> JSONResponse:
        version = request.query_params.get("api-version")
        if not version:
            return _arm_error(
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        listed = [cloud(instance)]
        clouds = {"2019-05-01": listed, "2020-06-01": listed, "2022-09-01": cloud(instance)}
        if version not in clouds:
            return _arm_error(
                "InvalidApiVersionParameter",
                f"The api-version '{version}' is invalid. The supported versions are '{','.join(clouds)}'.",
            )
        return JSONResponse(clouds[version])

    return Starlette(routes=[Route("/metadata/endpoints", endpoints, methods=["GET"])])


def cloud(instance: Instance) -> dict[str, Any]:
    """The cloud's description. Keys as in Azure's public answer; suffixes are in `.invalid` (RFC 2606), so that a client
    that builds a host name instead of taking it from ARM fails here and never reaches the public Azure."""
    return {
        "name": CLOUD_NAME,
        "portal": "https://portal.azure.com",  # azureml-core takes the suffix of its token audience (https://ml.azure.com) from here
        "authentication": {
            "loginEndpoint": instance.arm_url,
            "audiences": arm_audiences(instance),
            "tenant": instance.tenant_id,
            "identityProvider": "AAD",
        },
        "resourceManager": f"{instance.arm_url}/",
        "graph": "https://graph.azurelocal.invalid/",
        "graphAudience": "https://graph.windows.net/",
        "microsoftGraphResourceId": "https://graph.microsoft.com/",
        "sqlManagement": "https://sql.azurelocal.invalid/",
        "batch": "https://batch.azurelocal.invalid/",
        "gallery": "https://gallery.azurelocal.invalid/",
        "media": "https://media.azurelocal.invalid/",
        "vmImageAliasDoc": "https://images.azurelocal.invalid/",
        "activeDirectoryDataLake": "https://datalake.azurelocal.invalid/",
        "logAnalyticsResourceId": "https://api.loganalytics.io",
        "suffixes": {
            "storage": "core.azurelocal.invalid",
            "keyVaultDns": "vault.azurelocal.invalid",
            "acrLoginServer": "cr.azurelocal.invalid",
            "sqlServerHostname": "database.azurelocal.invalid",
            "azureDataLakeStoreFileSystem": "datalakestore.azurelocal.invalid",
            "azureDataLakeAnalyticsCatalogAndJob": "datalakeanalytics.azurelocal.invalid",
        },
    }


def identity_app(instance: Instance, tokens: Tokens, principals: Principals | None = None) -> Starlette:
    """`/msi/token`: the managed identity as Cloud Shell offers it (azure-identity's CloudShellCredential, msrestazure's
    `get_msi_token`): `resource` in a form (POST) or the query (GET), the header `Metadata: true` against forged requests.

    200 `{access_token, expires_in, expires_on, not_before, resource, token_type, client_id}` with numbers as text; 400
    `{error, error_description}` as the instance metadata service words it. `client_id` picks one of `principals`, as on a machine
    that has several identities.
    """

    async def token(request: Request) -> JSONResponse:
        # Both protections of the instance metadata service (Microsoft Learn, "How to use managed identities ... to acquire a token").
        if request.headers.get("metadata", "").lower() != "true" or "x-forwarded-for" in request.headers:
            return _oauth_error("invalid_request", "Required metadata header not specified")
        parameters = dict(request.query_params)
        if request.method == "POST":
            parameters |= dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        resource = parameters.get("resource", "")
        if not resource:
            return _oauth_error("invalid_request", "Required query variable 'resource' is missing")
        client_id = parameters.get("client_id", tokens.client_id)
        principal = principals.with_client_id(client_id) if principals else None
        if principal is None and client_id != tokens.client_id:
            return _oauth_error("invalid_request", "Identity not found")
        if resource.rstrip("/").lower() not in {known.rstrip("/").lower() for known in known_resources(instance)}:
            return _oauth_error(
                "invalid_resource",
                f"AADSTS500011: The resource principal named {resource} was not found in the tenant named "
                f"{instance.tenant_id}. Known here: {', '.join(known_resources(instance))}",
            )
        now = int(time.time())
        return JSONResponse(
            {
                "access_token": tokens.issue(resource, who=principal),
                "client_id": client_id,
                "expires_in": str(LIFETIME_SECONDS),
                "expires_on": str(now + LIFETIME_SECONDS),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
            },
            headers={"Cache-Control": "no-store"},
        )

    return Starlette(routes=[Route("/msi/token", token, methods=["GET", "POST"])])


def _arm_error(code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=400)


def _oauth_error(code: str, description: str) -> JSONResponse:
    return JSONResponse({"error": code, "error_description": description}, status_code=400)
