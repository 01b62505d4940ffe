"""The front of a registry: ACR's authentication before docker-registry's distribution API.

Why a gateway and not docker-registry's own `auth`: ACR's admin user has two passwords, both valid, that can be used for Basic
directly on `/v2/` and at `/oauth2/token`; disabling or regenerating works at once. docker-registry's `htpasswd` knows one hash a
user, its `token` refuses Basic and believes a token until it expires. A gateway is also what ACR is.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from localazure.registry import tokens
from localazure.registry.accounts import Accounts

# Hop-by-hop headers (RFC 9110, 7.6.1), and what the gateway itself answers for.
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
_NOT_FORWARDED = _HOP | {"host", "authorization", "expect"}
_NOT_RETURNED = _HOP | {"date"}  # our server writes its own
# A layer may take long, a silent registry not: the limits are between two chunks.
_TIMEOUT = httpx.Timeout(60, connect=5)
_API_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


class Gateway:
    """An ASGI application for one registry. `upstream` is the way to its docker-registry process."""

    def __init__(
        self,
        *,
        name: str,
        login_server: str,
        accounts: Accounts,
        signing_key: str,
        upstream: httpx.AsyncBaseTransport,
    ) -> None:
        self._name, self._login_server = name, login_server
        self._accounts, self._signing_key, self._upstream = accounts, signing_key, upstream
        self.app = Starlette(
            routes=[
                Route("/oauth2/token", self._token_by_basic, methods=["GET"]),
                Route("/oauth2/token", self._token_by_form, methods=["POST"]),
                Route("/v2", self._distribution, methods=["GET"]),
                Route("/v2/{rest:path}", self._distribution, methods=list(tokens.METHODS)),
                Route("/oauth2/exchange", _not_here, methods=["POST"]),
                Route("/acr/v1/{rest:path}", _not_here, methods=["GET", "PATCH", "DELETE"]),
            ]
        )

    async def _token_by_basic(self, request: Request) -> Response:
        user, password = _basic(request) or ("", "")
        return self._token(request.query_params.get("service"), request.query_params.getlist("scope"), user, password)

    async def _token_by_form(self, request: Request) -> Response:
        form = {key: str(value) for key, value in (await request.form()).items()}
        if form.get("grant_type") != "password":
            return _error(400, "UNSUPPORTED", f"grant_type '{form.get('grant_type')}' is not supported; use 'password'")
        scopes = [str(value) for value in (await request.form()).getlist("scope")]
        return self._token(form.get("service"), scopes, form.get("username", ""), form.get("password", ""))

    def _token(self, service: str | None, scopes: list[str], user: str, password: str) -> Response:
        if service != self._login_server:
            return _error(400, "UNSUPPORTED", f"service '{service}' is not this registry's '{self._login_server}'")
        serial = self._accounts.login(self._name, user, password)
        if serial is None:
            return self._unauthorized([], "authentication required, visit https://aka.ms/acr/authorization")
        token = tokens.issue(self._signing_key, self._login_server, user, serial, tokens.requested(scopes))
        return JSONResponse({"access_token": token, "expires_in": tokens.LIFETIME_SECONDS})

    async def _distribution(self, request: Request) -> Response:
        scopes = tokens.needed(request.method, request.url.path, request.url.query)
        if not self._authorized(request, scopes):
            return self._unauthorized(scopes, "authentication required, visit https://aka.ms/acr/authorization")
        return await self._forward(request)

    def _authorized(self, request: Request, scopes: list[tokens.Scope]) -> bool:
        basic = _basic(request)
        if basic:
            return self._accounts.login(self._name, *basic) is not None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = tokens.read(self._signing_key, self._login_server, token) if scheme.lower() == "bearer" else None
        if claims is None or not self._accounts.is_current(self._name, claims["serial"]):
            return False
        return tokens.allows(claims, scopes)

    def _unauthorized(self, scopes: list[tokens.Scope], message: str) -> Response:
        detail = [{"Type": scope.kind, "Name": scope.name, "Action": scope.action} for scope in scopes]
        headers = {"Www-Authenticate": tokens.challenge(self._login_server, scopes)}
        return _error(401, "UNAUTHORIZED", message, detail or None, headers)

    async def _forward(self, request: Request) -> Response:
        """Both bodies are streamed: a layer is never in memory."""
        target = request.scope["raw_path"] + (b"?" + request.scope["query_string"] if request.url.query else b"")
        headers = [(key, value) for key, value in request.headers.raw if key.decode().lower() not in _NOT_FORWARDED]
        outgoing = httpx.Request(
            request.method,
            httpx.URL("http://registry", raw_path=target),
            headers=[*headers, (b"host", self._login_server.encode()), (b"x-forwarded-proto", b"https")],
            content=_body(request),
            extensions={"timeout": _TIMEOUT.as_dict()},
        )
        try:
            answer = await self._upstream.handle_async_request(outgoing)
        except httpx.TransportError as error:
            return _error(
                503, "UNAVAILABLE", f"the registry '{self._name}' is starting again ({type(error).__name__}); try again"
            )
        response = StreamingResponse(
            answer.aiter_raw(), status_code=answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = [
            (key.lower(), value) for key, value in answer.headers.raw if key.decode().lower() not in _NOT_RETURNED
        ]
        return response


async def _not_here(request: Request) -> Response:
    """ACR's own interface beside the distribution API, and logins with tokens of Entra ID."""
    return _error(501, "NOT_IMPLEMENTED", f"{request.method} {request.url.path} is not part of the local Azure")


def _body(request: Request) -> AsyncIterator[bytes] | None:
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        return None

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async for chunk in request.stream():
                yield chunk
        except ClientDisconnect as error:
            raise httpx.ReadError("the client went away in the middle of an upload") from error

    return chunks()


def _basic(request: Request) -> tuple[str, str] | None:
    """User and password of a Basic header; None when there is another scheme or none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, not ASCII, not UTF-8
        return "", ""
    return user, password


def _error(
    status: int, code: str, message: str, detail: Any = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    error = {"code": code, "message": message, **({"detail": detail} if detail else {})}
    return JSONResponse({"errors": [error]}, status_code=status, headers={**_API_VERSION, **(headers or {})})
