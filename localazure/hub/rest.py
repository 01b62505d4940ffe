"""A hub's REST listener: one routing table that reads like the contract.

Contract: the service's OpenAPI document 2021-04-12 and what azure-iot-hub 2.7.0 sends. `ServiceConnect` etc. are the rights of a policy;
`own` means that the device's own key will do (as aziot-identityd uses it).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from localazure.hub import events, scope
from localazure.hub.access import Caller, caller
from localazure.hub.errors import HubError, invalid, not_implemented
from localazure.hub.hub import Hub, Invocation
from localazure.hub.identities import Key
from localazure.hub.strict_json import parse_json
from localazure.identity import Tokens

log = logging.getLogger("localazure.hub")

MAX_BODY = 512 * 1024
API_VERSIONS = {
    *("2016-11-14", "2017-06-30", "2018-04-01", "2018-06-30", "2019-03-30", "2019-10-01", "2020-03-13", "2020-09-30"),
    *("2021-04-12", "2024-03-31"),  # azure-iot-hub 2.7.0, the CLI extension
    *("2017-11-08-preview", "2018-08-30-preview", "2019-07-01-preview", "2020-05-31-preview", "2020-06-30-preview"),
}
_MAX_DISCARDED = 16 * MAX_BODY
_MAX_TOP = 1000

Json = dict[str, Any]


class Call:
    """One request on its way: who asks, for what."""

    def __init__(self, hub: Hub, request: Request, who: Caller, stopping: asyncio.Event) -> None:
        self.hub = hub
        self.request = request
        self.who = who
        self.stopping = stopping
        self.if_match = request.headers.get("if-match")

    @property
    def key(self) -> Key:
        """The device or module of the path."""
        return Key(self.request.path_params["device"], self.request.path_params.get("module", ""))

    @property
    def name(self) -> str:
        return self.request.path_params["name"]

    @property
    def top(self) -> int:
        return int(events.number(self.request.query_params.get("top"), "top", _MAX_TOP, _MAX_TOP))

    async def body(self) -> Json:
        """The body as a JSON object. Raises 400 and 413."""
        data, length = bytearray(), 0
        async for chunk in self.request.stream():
            length += len(chunk)
            if length <= MAX_BODY:
                data += chunk
            elif length > _MAX_DISCARDED:  # up to here the client is heard out, so that it reads the answer
                break
        if length > MAX_BODY:
            raise HubError("GenericRequestEntityTooLarge", f"the body is larger than {MAX_BODY} bytes")
        document = parse_json(bytes(data))
        if not isinstance(document, dict):
            raise invalid("the body is not a JSON object")
        return document


async def list_devices(call: Call) -> Response:
    call.who.need("RegistryRead")
    return JSONResponse(call.hub.devices(call.top))


async def get_device(call: Call) -> Response:
    call.who.need("RegistryRead")
    return _tagged(call.hub.identity(call.key))


async def put_device(call: Call) -> Response:
    call.who.need("RegistryWrite")
    return _tagged(call.hub.put_device(call.key.device_id, await call.body(), call.if_match))


async def delete_identity(call: Call) -> Response:
    if call.key.module_id:
        call.who.need_or_own("RegistryWrite", call.key.device_id)
    else:
        call.who.need("RegistryWrite")
    call.hub.delete(call.key, call.if_match)
    return Response(status_code=204)


async def list_modules(call: Call) -> Response:
    call.who.need_or_own("RegistryRead", call.key.device_id)
    return JSONResponse(call.hub.modules(call.key.device_id))


async def get_module(call: Call) -> Response:
    call.who.need_or_own("RegistryRead", call.key.device_id)
    return _tagged(call.hub.identity(call.key))


async def put_module(call: Call) -> Response:
    call.who.need_or_own("RegistryWrite", call.key.device_id)
    module, created = call.hub.put_module(call.key, await call.body(), call.if_match)
    return _tagged(module, 201 if created else 200)


async def get_twin(call: Call) -> Response:
    call.who.need("ServiceConnect")
    return _tagged(call.hub.twin(call.key))


async def write_twin(call: Call) -> Response:
    call.who.need("ServiceConnect")
    replace = call.request.method == "PUT"
    return _tagged(call.hub.write_twin(call.key, await call.body(), call.if_match, replace))


async def invoke_method(call: Call) -> Response:
    call.who.need("ServiceConnect")
    body = await call.body()
    name = body.get("methodName")
    if not isinstance(name, str) or not name or set(name) & set("/+#?\0"):
        raise invalid("methodName is missing, empty or holds one of /+#?")
    response, connect = body.get("responseTimeoutInSeconds"), body.get("connectTimeoutInSeconds")
    response = 30 if response is None else response
    connect = connect or 0
    if not (isinstance(response, int) and 5 <= response <= 300 and isinstance(connect, int) and 0 <= connect <= 300):
        raise invalid("responseTimeoutInSeconds is not in 5..300, or connectTimeoutInSeconds not in 0..300")
    status, payload = await call.hub.invoke(call.key, Invocation(name, body.get("payload"), connect, response))
    return JSONResponse({"status": status, "payload": payload})


async def apply_content(call: Call) -> Response:
    call.who.need("RegistryWrite")
    call.hub.apply(call.key.device_id, await call.body())
    return Response(status_code=204)


async def list_configurations(call: Call) -> Response:
    call.who.need("RegistryRead")
    return JSONResponse(call.hub.configurations.all(call.top))


async def get_configuration(call: Call) -> Response:
    call.who.need("RegistryRead")
    return _tagged(call.hub.configurations.get(call.name))


async def put_configuration(call: Call) -> Response:
    call.who.need("RegistryWrite")
    document, created = call.hub.put_configuration(call.name, await call.body(), call.if_match)
    return _tagged(document, 201 if created else 200)


async def delete_configuration(call: Call) -> Response:
    call.who.need("RegistryWrite")
    call.hub.delete_configuration(call.name, call.if_match)
    return Response(status_code=204)


async def device_statistics(call: Call) -> Response:
    call.who.need("RegistryRead")
    return JSONResponse(call.hub.statistics())


async def service_statistics(call: Call) -> Response:
    call.who.need("ServiceConnect")
    return JSONResponse({"connectedDeviceCount": call.hub.connected_devices()})


async def scope_page(call: Call) -> Response:
    query = call.request.query_params
    size = int(events.number(query.get("deviceCount"), "deviceCount", 100, _MAX_TOP))
    return JSONResponse(scope.page(call.hub, call.who, *call.key, size, query.get("continuationToken")))


async def nested_scope_page(call: Call) -> Response:
    body = await call.body()
    if str(body.get("authChain") or "").split(";")[0] not in (call.key.device_id, f"{call.key.device_id}/$edgeHub"):
        raise invalid(f"authChain does not begin with {call.key.device_id}")
    return JSONResponse(scope.page(call.hub, call.who, *call.key, body.get("pageSize"), body.get("continuationLink")))


async def scope_identity(call: Call) -> Response:
    query = call.request.query_params
    target = Key(query.get("targetDeviceId", ""), query.get("targetModuleId", ""))
    return JSONResponse(scope.one(call.hub, call.who, *call.key, target))


async def message_stream(call: Call) -> Response:
    call.who.need("ServiceConnect")
    query = call.request.query_params
    since = int(events.number(query.get("since"), "since", 0, 2**62))
    seconds = events.number(query.get("timeout"), "timeout", 30, events.MAX_SECONDS)
    return StreamingResponse(
        events.lines(call.hub.messages, since, seconds, call.stopping), media_type="application/x-ndjson"
    )


def _not_built(operation: str) -> Handler:
    async def refuse(call: Call) -> Response:
        raise not_implemented(operation)

    return refuse


Handler = Callable[[Call], Awaitable[Response]]
_DEVICE, _MODULE = "/devices/{device}", "/devices/{device}/modules/{module}"
_TWIN, _MODULE_TWIN = "/twins/{device}", "/twins/{device}/modules/{module}"

TABLE: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/devices/query", _not_built("the query language (POST /devices/query)")),
    ("GET", "/devices", list_devices),
    ("POST", "/devices", _not_built("the bulk registry (POST /devices)")),
    ("GET", _DEVICE, get_device),
    ("PUT", _DEVICE, put_device),
    ("DELETE", _DEVICE, delete_identity),
    ("POST", f"{_DEVICE}/applyConfigurationContent", apply_content),
    ("POST", f"{_DEVICE}/messages/events", _not_built("messages over HTTP (POST /devices/{id}/messages/events)")),
    ("DELETE", f"{_DEVICE}/commands", _not_built("cloud-to-device messages (DELETE /devices/{id}/commands)")),
    ("GET", f"{_DEVICE}/modules", list_modules),
    ("GET", _MODULE, get_module),
    ("PUT", _MODULE, put_module),
    ("DELETE", _MODULE, delete_identity),
    ("GET", f"{_MODULE}/devicesAndModulesInDeviceScope", scope_page),
    ("POST", f"{_MODULE}/devicesAndModulesInTargetDeviceScope", nested_scope_page),
    ("GET", f"{_MODULE}/deviceAndModuleInDeviceScope", scope_identity),
    ("GET", _TWIN, get_twin),
    ("PATCH", _TWIN, write_twin),
    ("PUT", _TWIN, write_twin),
    ("POST", f"{_TWIN}/methods", invoke_method),
    ("GET", _MODULE_TWIN, get_twin),
    ("PATCH", _MODULE_TWIN, write_twin),
    ("PUT", _MODULE_TWIN, write_twin),
    ("POST", f"{_MODULE_TWIN}/methods", invoke_method),
    ("POST", "/configurations/testQueries", _not_built("target conditions (POST /configurations/testQueries)")),
    ("GET", "/configurations", list_configurations),
    ("GET", "/configurations/{name}", get_configuration),
    ("PUT", "/configurations/{name}", put_configuration),
    ("DELETE", "/configurations/{name}", delete_configuration),
    ("GET", "/statistics/devices", device_statistics),
    ("GET", "/statistics/service", service_statistics),
    ("GET", "/messages/events", message_stream),
    ("GET", "/messages/serviceBound/feedback", _not_built("cloud-to-device feedback")),
    ("GET", "/jobs/{rest:path}", _not_built("jobs")),
    ("PUT", "/jobs/{rest:path}", _not_built("jobs")),
    ("POST", "/jobs/{rest:path}", _not_built("jobs")),
    ("GET", "/digitaltwins/{rest:path}", _not_built("digital twins")),
    ("PATCH", "/digitaltwins/{rest:path}", _not_built("digital twins")),
    ("POST", "/digitaltwins/{rest:path}", _not_built("digital twins")),
)


def app(hub: Hub, tokens: Tokens, stopping: asyncio.Event) -> Starlette:
    """The ASGI application of one hub; `stopping` ends its streams."""

    def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def run(request: Request) -> Response:
            try:
                who = caller(hub, tokens, request.headers.get("authorization"), request.scope["path"])
                _check_version(request)
                return await handler(Call(hub, request, who, stopping))
            except HubError as error:
                return error.response()
            except sqlite3.Error as error:
                log.exception("%s %s on %s failed", request.method, request.scope["path"], hub.name)
                text = f"the database of the local Azure failed ({error}): nothing was changed; see daemon.log"
                return HubError("ServerError", text).response()
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it

        return run

    routes = [Route(path, endpoint(handler), methods=[method]) for method, path, handler in TABLE]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_route})


def _check_version(request: Request) -> None:
    version = request.query_params.get("api-version")
    if request.scope["path"] != "/messages/events" and version not in API_VERSIONS:
        raise HubError("InvalidProtocolVersion", f"api-version is missing or unknown: {(version or '')[:40]!r}")


def _tagged(document: Json, status: int = 200) -> Response:
    return JSONResponse(document, status, {"ETag": f'"{document["etag"]}"'})


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    name = "GenericMethodNotAllowed" if error.status_code == 405 else "GenericNotFound"
    return HubError(name, f"IoT Hub has no {request.method} {request.scope['path'][:200]}").response()
