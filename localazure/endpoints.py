"""The endpoint that clients find everything else with: cloud metadata on the TLS listener.

Tokens come from `managed_identity.py` and, for who is not the managed identity, from `login.py`.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from localazure.identity import arm_audiences
from localazure.instance import CLOUD_NAME, Instance


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


def _arm_error(code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=400)
