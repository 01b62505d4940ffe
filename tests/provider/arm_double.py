"""A recording stand-in for ARM: it keeps what is PUT, checks tokens, and answers in the shapes of ARM's long-running operations."""

from __future__ import annotations

import copy
import json
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.identity import Tokens, arm_audiences
from localazure.instance import Instance


@dataclass(frozen=True)
class Recorded:
    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Scripted:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class ArmDouble:
    """`style` is how PUT and DELETE are answered; `failure` lets what they started fail; `script` answers single requests."""

    def __init__(self, instance: Instance, tokens: Tokens) -> None:
        self._instance, self._tokens = instance, tokens
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "PUT", "POST", "DELETE"])])
        self.reset()

    def reset(self) -> None:
        self.requests: list[Recorded] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self.style: Literal["sync", "async", "location"] = "sync"
        self.failure: dict[str, str] | None = None
        self.added: dict[str, Any] = {}
        self.hanging = False
        self._polls: defaultdict[str, int] = defaultdict(int)
        self._scripts: defaultdict[tuple[str, str], deque[Scripted]] = defaultdict(deque)

    def script(self, method: str, path: str, *answers: Scripted) -> None:
        """The next answers to this request, before the double goes on as usual."""
        self._scripts[method, path.lower()].extend(answers)

    def sent(self, method: str) -> list[Recorded]:
        """Requests to resources, without polls."""
        return [one for one in self.requests if one.method == method and "/operations/" not in one.path]

    async def _answer(self, request: Request) -> Response:
        path, raw = request.url.path, await request.body()
        body = json.loads(raw) if raw else None
        self.requests.append(Recorded(request.method, path, dict(request.query_params), body))
        self._tokens.check(request.headers.get("authorization"), arm_audiences(self._instance))
        scripted = self._scripts[request.method, path.lower()]
        if scripted:
            answer = scripted.popleft()
            return Response(
                json.dumps(answer.body) if answer.body is not None else "", answer.status, headers=answer.headers
            )
        if "/operations/" in path:
            return self._poll(path)
        return {"GET": self._get, "PUT": self._put, "DELETE": self._delete, "POST": self._post}[request.method](
            path, body
        )

    def _get(self, path: str, _body: Any) -> Response:
        resource = self.resources.get(path.lower())
        if resource is None:
            message = f"The Resource '{path.rpartition('/providers/')[2]}' was not found."
            return JSONResponse({"error": {"code": "ResourceNotFound", "message": message}}, 404)
        return JSONResponse(resource)

    def _put(self, path: str, body: Any) -> Response:
        new = path.lower() not in self.resources
        resource = {"id": path, "name": path.rpartition("/")[2], "type": "Microsoft.Double/things", **body}
        resource["properties"] = {**resource.get("properties", {}), **self.added, "provisioningState": "Succeeded"}
        self.resources[path.lower()] = resource
        if self.style == "sync":
            return JSONResponse(resource, 201 if new else 200)
        operation = self._operation("PUT", path)
        if self.style == "location":
            return Response(status_code=202, headers={"Location": operation, "Retry-After": "0"})
        early = copy.deepcopy(resource)
        early["properties"]["provisioningState"] = "Creating"
        return JSONResponse(early, 201, {"Azure-AsyncOperation": operation, "Retry-After": "0"})

    def _delete(self, path: str, _body: Any) -> Response:
        if self.resources.pop(path.lower(), None) is None:
            return Response(status_code=204)
        if self.style == "sync":
            return Response(status_code=200)
        return Response(status_code=202, headers={"Location": self._operation("DELETE", path), "Retry-After": "0"})

    def _post(self, path: str, _body: Any) -> Response:
        return JSONResponse({"error": {"code": "NotFound", "message": f"no action {path}"}}, 404)

    def _operation(self, method: str, path: str) -> str:
        kind = "async" if self.style == "async" and method == "PUT" else "location"
        return f"{self._instance.arm_url}/subscriptions/s/operations/{kind}/{method}{path}?api-version=2020-01-01"

    def _poll(self, path: str) -> Response:
        self._polls[path] += 1
        kind, _, rest = path.partition("/operations/")[2].partition("/")
        method, _, identity = rest.partition("/")
        if self.hanging or self._polls[path] == 1:
            running = JSONResponse({"status": "InProgress"}, 200, {"Retry-After": "0"})
            location = {"Location": f"{self._instance.arm_url}{path}", "Retry-After": "0"}
            return running if kind == "async" else Response(status_code=202, headers=location)
        if kind == "async":
            done = {"status": "Failed", "error": self.failure} if self.failure else {"status": "Succeeded"}
            return JSONResponse(done)
        if self.failure:
            return JSONResponse({"error": self.failure}, 409)
        if method == "DELETE":
            return Response(status_code=204)
        return JSONResponse(self.resources["/" + identity.lower()])
