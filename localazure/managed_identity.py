"""The managed identity of this machine, on plain http as on a virtual machine: as Cloud Shell offers it and as App Service does."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from localazure.identity import LIFETIME_SECONDS, Tokens, known_resources
from localazure.instance import Instance
from localazure.principals import Principals


def identity_app(instance: Instance, tokens: Tokens, principals: Principals | None = None) -> Starlette:
    """`/msi/token` and `/msi/app-service`; `client_id` picks one of `principals`, as on a machine that has several identities."""
    identity = _Identity(instance, tokens, principals)
    return Starlette(
        routes=[
            Route("/msi/token", identity.cloud_shell, methods=["GET", "POST"]),
            Route("/msi/app-service", identity.app_service, methods=["GET"]),
        ]
    )


class _RefusedError(Exception):
    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


class _Identity:
    def __init__(self, instance: Instance, tokens: Tokens, principals: Principals | None) -> None:
        self._instance, self._tokens, self._principals = instance, tokens, principals

    async def cloud_shell(self, request: Request) -> JSONResponse:
        """azure-identity's CloudShellCredential, msrestazure's `get_msi_token`: `resource` in a form (POST) or the query (GET).

        200 `{access_token, expires_in, expires_on, not_before, resource, token_type, client_id}` with numbers as text; 400
        `{error, error_description}` as the instance metadata service words it.
        """
        parameters = dict(request.query_params)
        if request.method == "POST":
            parameters |= dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            # Both protections of the instance metadata service (Microsoft Learn, "How to use managed identities ... to acquire a token").
            if request.headers.get("metadata", "").lower() != "true" or "x-forwarded-for" in request.headers:
                raise _RefusedError("invalid_request", "Required metadata header not specified")
            return self._token(parameters)
        except _RefusedError as error:
            return JSONResponse({"error": error.code, "error_description": str(error)}, 400)

    async def app_service(self, request: Request) -> JSONResponse:
        """What azidentity of the real azure-native plugin asks: learn.microsoft.com/azure/app-service/overview-managed-identity
        ("REST endpoint reference"). Errors are `{statusCode, message}`."""
        given, wanted = request.headers.get("x-identity-header", ""), self._instance.identity_header
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            return _failure(401, "The header X-IDENTITY-HEADER is missing or wrong")
        if request.query_params.get("api-version") != "2019-08-01":
            return _failure(400, "The api-version must be 2019-08-01")
        try:
            return self._token(request.query_params)
        except _RefusedError as error:
            return _failure(400, str(error))

    def _token(self, parameters: Mapping[str, str]) -> JSONResponse:
        resource = parameters.get("resource", "")
        if not resource:
            raise _RefusedError("invalid_request", "Required query variable 'resource' is missing")
        client_id = parameters.get("client_id", self._tokens.client_id)
        principal = self._principals.with_client_id(client_id) if self._principals else None
        if principal is None and client_id != self._tokens.client_id:
            raise _RefusedError("invalid_request", "Identity not found")
        known = known_resources(self._instance)
        if resource.rstrip("/").lower() not in {one.rstrip("/").lower() for one in known}:
            raise _RefusedError(
                "invalid_resource",
                f"AADSTS500011: The resource principal named {resource} was not found in the tenant named "
                f"{self._instance.tenant_id}. Known here: {', '.join(known)}",
            )
        now = int(time.time())
        body = {
            "access_token": self._tokens.issue(resource, who=principal),
            "client_id": client_id,
            "expires_in": str(LIFETIME_SECONDS),
            "expires_on": str(now + LIFETIME_SECONDS),
            "not_before": str(now),
            "resource": resource,
            "token_type": "Bearer",
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})


def _failure(status: int, message: str) -> JSONResponse:
    return JSONResponse({"statusCode": status, "message": message}, status)
