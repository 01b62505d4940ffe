"""ARM's front door: token, api-version, headers, error envelopes; then what `routes` has for the request.

Headers: Azure/azure-resource-manager-rpc, v1.0/common-api-details.md.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import sqlite3
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError, invalid_content
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call
from localazure.arm.rbac import Access
from localazure.arm.resources import Json
from localazure.arm.routes import Routes
from localazure.arm.throttle import Throttle
from localazure.bodies import BodyError, TooLargeError, parse_json, read
from localazure.identity import AuthError, arm_audiences

MAX_BODY = 4 * 1024 * 1024  # what ARM takes in one request
_METHODS = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]
_VERSION = re.compile(r"(\d{4}-\d{2}-\d{2})(-[a-z]+(\.\d+)?)?", re.I)
_log = logging.getLogger(__name__)


class Front:
    def __init__(self, engine: Engine, access: Access, throttle: Throttle, routes: Routes) -> None:
        self._engine, self._instance, self._access = engine, engine.context.instance, access
        self._throttle, self._routes = throttle, routes
        self.app = Starlette(routes=[Route("/{path:path}", self._handle, methods=_METHODS)])

    async def _handle(self, request: Request) -> Response:
        left: dict[str, str] = {}
        try:
            answer = await self._answer(request, left)
        except ArmError as error:
            answer = Answer(error.status, error.body(), error.headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except sqlite3.Error as error:
            _log.exception("%s %s failed", request.method, request.url.path)
            problem = f"The database of the local Azure failed ({error}): nothing was changed; see daemon.log."
            answer = Answer(500, ArmError(500, "InternalServerError", problem).body())
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            problem = "The server encountered an internal error. Please retry the request."
            answer = Answer(500, ArmError(500, "InternalServerError", problem).body())
        headers = dict(answer.headers) | left | _common_headers(request.headers)
        if answer.body is None or request.method == "HEAD":
            return Response(status_code=answer.status, headers=headers)
        return Response(json.dumps(answer.body), answer.status, headers, "application/json; charset=utf-8")

    async def _answer(self, request: Request, left: dict[str, str]) -> Answer:
        """`left` takes what the limits leave, for errors too."""
        query = {key.casefold(): value for key, value in request.query_params.items()}
        claims = self._authenticate(request)
        _check_version(query)
        target = parse(request.url.path)
        if target.subscription and target.subscription.casefold() != self._instance.subscription_id:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{target.subscription}' could not be found.")
        if target.subscription:
            left |= self._throttle.take(request.method, target.subscription, claims)
        need = self._access.check(request.method, target, claims)
        call = Call(request.method, target, query, request.headers, await _body(request), claims)
        self._access.check_links(call.method, target, call.body, claims)
        answer = await self._routes.answer(call)
        if need and need.filtered and answer.status == 200:
            shown = self._access.readable(claims["oid"], answer.body["value"])
            answer = Answer(200, answer.body | {"value": shown}, answer.headers)
        return answer

    def _authenticate(self, request: Request) -> Mapping[str, Any]:
        try:
            return self._engine.context.tokens.check(
                request.headers.get("authorization"), arm_audiences(self._instance)
            )
        except AuthError as error:
            challenge = (
                f'Bearer authorization_uri="{self._instance.arm_url}/{self._instance.tenant_id}", error="invalid_token", '
                f'error_description="{error}"'
            )
            raise ArmError(401, error.code, str(error), headers={"WWW-Authenticate": challenge}) from error


def _check_version(query: Mapping[str, str]) -> None:
    version = query.get("api-version")
    if not version:
        raise ArmError(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    found = _VERSION.fullmatch(version)
    try:
        published = (
            found is not None and datetime.date.fromisoformat(found[1]) <= datetime.datetime.now(datetime.UTC).date()
        )
    except ValueError:
        published = False
    if not published:
        raise ArmError(
            400,
            "InvalidApiVersionParameter",
            f"The api-version '{version}' is invalid. It must be the date of a published version, YYYY-MM-DD, with -preview where it "
            "is one.",
        )


async def _body(request: Request) -> Json | None:
    try:
        content = await read(request, MAX_BODY)
    except TooLargeError as error:
        raise ArmError(
            413, "RequestContentTooLarge", f"The request content is larger than {MAX_BODY} bytes."
        ) from error
    if not content:
        if request.method in ("PUT", "PATCH"):
            raise invalid_content("the request has no content")
        return None
    kind = request.headers.get("content-type", "application/json")
    if "json" not in kind:
        raise ArmError(
            415,
            "UnsupportedMediaType",
            f"The content media type '{kind}' is not supported. Only 'application/json' is.",
        )
    try:
        value = parse_json(content)
    except BodyError as error:
        raise invalid_content(str(error)) from error
    if value is None and request.method == "POST":
        return None
    if not isinstance(value, dict):
        raise invalid_content("an object is expected")
    return value


def _common_headers(asked: Mapping[str, str]) -> dict[str, str]:
    request_id = str(uuid.uuid4())
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
        "Expires": "-1",
        "x-ms-request-id": request_id,
        "x-ms-correlation-request-id": asked.get("x-ms-correlation-request-id", request_id),
        "x-ms-routing-request-id": f"LOCAL:{now}:{request_id}",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
    }
    client = asked.get("x-ms-client-request-id")
    if client and asked.get("x-ms-return-client-request-id", "").lower() == "true":
        headers["x-ms-client-request-id"] = client
    return headers
