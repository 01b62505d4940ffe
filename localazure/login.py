"""`https://<ARM's address>/<tenant>/...`: where a service principal logs in with its client secret (OAuth 2.0 client credentials).

Contract: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and .../reference-error-codes; what MSAL
reads is `/v2.0/.well-known/openid-configuration` and the token endpoint.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from localazure.identity import Tokens, known_resources
from localazure.instance import Instance
from localazure.principals import Principals

ADFS = "adfs"
LIFETIME_SECONDS = 3599  # what Entra ID gives applications


class LoginError(Exception):
    """An answer of the token endpoint: OAuth error code, AADSTS number, text, status."""

    def __init__(self, error: str, number: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.error, self.number, self.status = error, number, status

    def response(self) -> JSONResponse:
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        description = f"AADSTS{self.number}: {self} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"  # one line, as today
        body = {
            "error": self.error,
            "error_description": description,
            "error_codes": [self.number],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
        }
        return JSONResponse(body, self.status, {"Cache-Control": "no-store"})


def login_app(instance: Instance, tokens: Tokens, principals: Principals) -> Starlette:
    """`POST /{tenant}/oauth2/v2.0/token` (`scope=<resource>/.default`) and its older form `/oauth2/token` (`resource=`); discovery.

    The tenant may be called `adfs`, with `/oauth2/token` for a scope: MSAL in azureml-core asks the public cloud about any other
    authority that it does not know.
    """

    async def configuration(request: Request) -> JSONResponse:
        tenant = request.path_params["tenant"]
        base = f"{instance.arm_url}/{tenant}"
        if tenant == ADFS:
            return JSONResponse(
                {"issuer": base, "token_endpoint": f"{base}/oauth2/token", "authorization_endpoint": base}
            )
        return JSONResponse(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "response_types_supported": ["token"],
                "tenant_region_scope": None,
            }
        )

    async def token(request: Request) -> JSONResponse:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        v2 = "/v2.0/" in request.url.path or request.path_params["tenant"] == ADFS
        try:
            resource = _resource(form, v2, instance)
            principal = principals.with_client_id(form["client_id"])
            if principal is None:
                raise LoginError(
                    "unauthorized_client",
                    700016,
                    f"Application with identifier '{form['client_id']}' was not found in the directory 'Local Azure'.",
                )
            if not principals.authenticates(principal, form["client_secret"]):
                raise LoginError(
                    "invalid_client",
                    7000215,
                    f"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the "
                    f"client secret ID, for a secret added to app '{principal.client_id}'.",
                    401,
                )
        except LoginError as error:
            return error.response()
        answer: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": tokens.issue(resource, LIFETIME_SECONDS, principal),
        }
        return JSONResponse(answer | ({} if v2 else {"resource": resource}), headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/{tenant}/.well-known/openid-configuration", configuration, methods=["GET"]),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", configuration, methods=["GET"]),
            Route("/{tenant}/oauth2/v2.0/token", token, methods=["POST"]),
            Route("/{tenant}/oauth2/token", token, methods=["POST"]),
        ]
    )


def _resource(form: Mapping[str, str], v2: bool, instance: Instance) -> str:
    """The audience that is asked for, as its owner writes it. Raises LoginError."""
    for name in ("grant_type", "client_id", "client_secret", "scope" if v2 else "resource"):
        if not form.get(name):
            raise LoginError(
                "invalid_request", 900144, f"The request body must contain the following parameter: '{name}'."
            )
    if form["grant_type"] != "client_credentials":
        raise LoginError(
            "unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{form['grant_type']}'."
        )
    asked = form["scope"] if v2 else form["resource"]
    if v2:
        if not asked.endswith("/.default") or " " in asked.strip():
            raise LoginError(
                "invalid_scope",
                1002012,
                f"The provided value for scope {asked} is not valid. Client credential flows must have a scope value with /.default "
                "suffixed to the resource identifier (application ID URI).",
            )
        asked = asked.removesuffix("/.default")
    known = {one.rstrip("/").lower(): one for one in known_resources(instance)}
    found = known.get(asked.rstrip("/").lower())
    if found is None:
        raise LoginError(
            "invalid_resource",
            500011,
            f"The resource principal named {asked} was not found in the tenant named Local Azure. Known here: {', '.join(known.values())}.",
        )
    return found
