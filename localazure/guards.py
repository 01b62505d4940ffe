"""Role assignments before the data planes: ASGI middleware for Azure ML's services and for hubs that are called with a bearer token.

Data actions of IoT Hub: learn.microsoft.com/azure/iot-hub/authenticate-authorize-azure-ad ("IoT Hub permissions"). Azure ML's
services take control plane actions below the workspace: learn.microsoft.com/azure/machine-learning/how-to-assign-roles.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from localazure.arm.rbac.access import Access, refusal
from localazure.hub.errors import unauthorized
from localazure.identity import AuthError, Tokens
from localazure.ml.errors import ServiceError

_log = logging.getLogger(__name__)

_ML_PATH = re.compile(
    r"/[^/]+/v\d\.\d(?P<id>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+)"
    r"/(?P<kind>[^/]+)",
    re.IGNORECASE,
)
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "POST": "write", "DELETE": "delete"}
# operations and packages are of images; assets of models
_ML_KINDS = {"operations": "images", "assets": "models"}

_HUB_RULES: tuple[tuple[str, str, str], ...] = (
    ("POST", r"/devices/query", "twins/read"),
    ("POST", r"/devices/[^/]+/applyConfigurationContent", "configurations/applyToEdgeDevice/action"),
    ("POST", r"/devices", "devices/write"),
    ("GET", r"/devices(/.*)?", "devices/read"),
    ("POST", r"/devices/.*InTargetDeviceScope", "devices/read"),
    ("PUT", r"/devices/.*", "devices/write"),
    ("DELETE", r"/devices/.*", "devices/delete"),
    ("POST", r"/twins/.*/methods", "directMethods/invoke/action"),
    ("GET", r"/twins/.*", "twins/read"),
    ("(PUT|PATCH)", r"/twins/.*", "twins/write"),
    ("POST", r"/configurations/testQueries", "configurations/testQueries/action"),
    ("GET", r"/configurations(/.*)?", "configurations/read"),
    ("PUT", r"/configurations/.*", "configurations/write"),
    ("DELETE", r"/configurations/.*", "configurations/delete"),
    ("GET", r"/statistics/.*", "statistics/read"),
    ("GET", r"/jobs.*", "jobs/read"),
    ("(PUT|POST)", r"/jobs.*", "jobs/write"),
)


class MlGuard:
    """Before the ML service's application. Blobs are not its business: they are opened by signed URLs."""

    def __init__(self, app: ASGIApp, access: Access, tokens: Tokens, audiences: Iterable[str]) -> None:
        self._app, self._access, self._tokens, self._audiences = app, access, tokens, list(audiences)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _ML_PATH.match(scope["path"]) if scope["type"] == "http" and self._access.strict else None
        claims = _claims(self._tokens, scope, self._audiences) if match else None
        if match and claims:  # without a valid token the service itself says 401
            kind = match["kind"].lower()
            action = f"Microsoft.MachineLearningServices/workspaces/{_ML_KINDS.get(kind, kind)}/{_VERBS.get(scope['method'], 'write')}"
            if not self._access.allowed(claims["oid"], action, match["id"]):
                error = ServiceError(403, "AuthorizationFailed", refusal(claims, action, match["id"]))
                await error.response(scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


class HubGuard:
    """Before a hub's REST application. `resource_id()` is the hub's ARM id, None when ARM does not know it."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        tokens: Tokens,
        audiences: Iterable[str],
        resource_id: Callable[[], str | None],
    ) -> None:
        self._app, self._access, self._tokens, self._audiences = app, access, tokens, list(audiences)
        self._resource_id = resource_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._access.strict:
            claims = _claims(self._tokens, scope, self._audiences)  # none for a shared access signature
            if claims and not self._may(claims, scope):
                await unauthorized().response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _may(self, claims: dict[str, Any], scope: Scope) -> bool:
        where = self._resource_id()
        action = hub_action(scope["method"], scope["path"])
        allowed = where is not None and self._access.allowed(claims["oid"], action, where, data=True)
        if not allowed:
            _log.info("refused: %s", refusal(claims, action, where or "(not in ARM)"))
        return allowed


def hub_action(method: str, path: str) -> str:
    """The data action of a request. What no rule names needs all of them: IoT Hub Data Contributor."""
    for methods, pattern, action in _HUB_RULES:
        if re.fullmatch(methods, method) and re.fullmatch(pattern, path):
            return f"Microsoft.Devices/IotHubs/{action}"
    return "Microsoft.Devices/IotHubs/other/action"


def _claims(tokens: Tokens, scope: Scope, audiences: Iterable[str]) -> dict[str, Any] | None:
    header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    if not header.lower().startswith("bearer "):
        return None
    try:
        return tokens.check(header, audiences)
    except AuthError:
        return None
