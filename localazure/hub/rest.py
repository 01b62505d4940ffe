"""A hub's REST listener: one routing table that reads like the contract.

Contract: the service's OpenAPI document 2021-04-12 and what azure-iot-hub 2.7.0 sends. `ServiceConnect` etc. are the rights of a policy;
`own` means that the device's own key will do (as aziot-identityd uses it).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from localazure.hub import events, rest_fleet, scope
from localazure.hub.access import caller
from localazure.hub.errors import HubError, invalid, not_implemented
from localazure.hub.hub import Hub, Invocation
from localazure.hub.identities import Key
from localazure.hub.plan import Operation
from localazure.hub.rest_call import MAX_TOP, Call, tagged
from localazure.identity import Tokens
from localazure.store import dump

log = logging.getLogger("localazure.hub")

API_VERSIONS = {
    *("2016-11-14", "2017-06-30", "2018-04-01", "2018-06-30", "2019-03-30", "2019-10-01", "2020-03-13", "2020-09-30"),
    *("2021-04-12", "2024-03-31"),  # azure-iot-hub 2.7.0, the CLI extension
    *("2017-11-08-preview", "2018-08-30-preview", "2019-07-01-preview", "2020-05-31-preview", "2020-06-30-preview"),
}


async def list_devices(call: Call) -> Response:
    call.who.need("RegistryRead")
    return JSONResponse(call.hub.devices(call.top))


async def get_device(call: Call) -> Response:
    call.who.need("RegistryRead")
    return tagged(call.hub.identity(call.key))


async def put_device(call: Call) -> Response:
    call.who.need("RegistryWrite")
    device, _ = call.hub.put_identity(call.key, await call.body(), call.if_match)
    return tagged(device)


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
    return tagged(call.hub.identity(call.key))


async def put_module(call: Call) -> Response:
    call.who.need_or_own("RegistryWrite", call.key.device_id)
    module, created = call.hub.put_identity(call.key, await call.body(), call.if_match)
    return tagged(module, 201 if created else 200)


async def get_twin(call: Call) -> Response:
    call.who.need("ServiceConnect")
    return tagged(call.hub.twin(call.key))


async def write_twin(call: Call) -> Response:
    call.who.need("ServiceConnect")
    replace = call.request.method == "PUT"
    return tagged(call.hub.write_twin(call.key, await call.body(), call.if_match, replace))


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
    call.hub.throttle.take(Operation.METHOD, 1 + len(dump(body.get("payload"))) // _METER)
    status, payload = await call.hub.invoke(call.key, Invocation(name, body.get("payload"), connect, response))
    return JSONResponse({"status": status, "payload": payload})


async def device_statistics(call: Call) -> Response:
    call.who.need("RegistryRead")
    return JSONResponse(call.hub.statistics())


async def service_statistics(call: Call) -> Response:
    call.who.need("ServiceConnect")
    return JSONResponse({"connectedDeviceCount": call.hub.connected_devices()})


async def scope_page(call: Call) -> Response:
    query = call.request.query_params
    size = int(events.number(query.get("deviceCount"), "deviceCount", 100, MAX_TOP))
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


class Entry(NamedTuple):
    """`throttled` names the bucket from which a request takes; `feature` what the Basic tier does not have."""

    method: str
    path: str
    handler: Handler
    throttled: Operation | None = None
    feature: str = ""


_REGISTRY, _CONFIGURATION = Operation.REGISTRY, Operation.CONFIGURATION
_EDGE, _TWINS, _METHODS = "A configuration or edge deployment", "A twin", "A direct method"
_METER = 4096  # bytes; "throttling meter size is 4 KB" for direct methods

TABLE: tuple[Entry, ...] = (
    Entry("POST", "/devices/query", rest_fleet.query, Operation.QUERY),
    Entry("GET", "/devices", list_devices, _REGISTRY),
    Entry("POST", "/devices", rest_fleet.bulk_registry, _REGISTRY),
    Entry("GET", _DEVICE, get_device, _REGISTRY),
    Entry("PUT", _DEVICE, put_device, _REGISTRY),
    Entry("DELETE", _DEVICE, delete_identity, _REGISTRY),
    Entry("POST", f"{_DEVICE}/applyConfigurationContent", rest_fleet.apply_content, _CONFIGURATION, _EDGE),
    Entry("POST", f"{_DEVICE}/messages/events", _not_built("messages over HTTP (POST /devices/{id}/messages/events)")),
    Entry("DELETE", f"{_DEVICE}/commands", _not_built("cloud-to-device messages (DELETE /devices/{id}/commands)")),
    Entry("GET", f"{_DEVICE}/modules", list_modules, _REGISTRY),
    Entry("GET", _MODULE, get_module, _REGISTRY),
    Entry("PUT", _MODULE, put_module, _REGISTRY),
    Entry("DELETE", _MODULE, delete_identity, _REGISTRY),
    Entry("GET", f"{_MODULE}/devicesAndModulesInDeviceScope", scope_page),
    Entry("POST", f"{_MODULE}/devicesAndModulesInTargetDeviceScope", nested_scope_page),
    Entry("GET", f"{_MODULE}/deviceAndModuleInDeviceScope", scope_identity),
    Entry("GET", _TWIN, get_twin, Operation.TWIN_READ, _TWINS),
    Entry("PATCH", _TWIN, write_twin, Operation.TWIN_WRITE, _TWINS),
    Entry("PUT", _TWIN, write_twin, Operation.TWIN_WRITE, _TWINS),
    Entry("POST", f"{_TWIN}/methods", invoke_method, None, _METHODS),
    Entry("GET", _MODULE_TWIN, get_twin, Operation.TWIN_READ, _TWINS),
    Entry("PATCH", _MODULE_TWIN, write_twin, Operation.TWIN_WRITE, _TWINS),
    Entry("PUT", _MODULE_TWIN, write_twin, Operation.TWIN_WRITE, _TWINS),
    Entry("POST", f"{_MODULE_TWIN}/methods", invoke_method, None, _METHODS),
    Entry("POST", "/configurations/testQueries", rest_fleet.check_queries, _CONFIGURATION, _EDGE),
    Entry("GET", "/configurations", rest_fleet.list_configurations, _CONFIGURATION, _EDGE),
    Entry("GET", "/configurations/{name}", rest_fleet.get_configuration, _CONFIGURATION, _EDGE),
    Entry("PUT", "/configurations/{name}", rest_fleet.put_configuration, _CONFIGURATION, _EDGE),
    Entry("DELETE", "/configurations/{name}", rest_fleet.delete_configuration, _CONFIGURATION, _EDGE),
    Entry("GET", "/statistics/devices", device_statistics, _REGISTRY),
    Entry("GET", "/statistics/service", service_statistics, _REGISTRY),
    Entry("GET", "/messages/events", message_stream),
    Entry("GET", "/messages/serviceBound/feedback", _not_built("cloud-to-device feedback")),
    Entry("GET", "/jobs/{rest:path}", _not_built("jobs")),
    Entry("PUT", "/jobs/{rest:path}", _not_built("jobs")),
    Entry("POST", "/jobs/{rest:path}", _not_built("jobs")),
    Entry("GET", "/digitaltwins/{rest:path}", _not_built("digital twins")),
    Entry("PATCH", "/digitaltwins/{rest:path}", _not_built("digital twins")),
    Entry("POST", "/digitaltwins/{rest:path}", _not_built("digital twins")),
)


def app(hub: Hub, tokens: Tokens, stopping: asyncio.Event) -> Starlette:
    """The ASGI application of one hub; `stopping` ends its streams."""

    def endpoint(entry: Entry) -> Callable[[Request], Awaitable[Response]]:
        async def run(request: Request) -> Response:
            try:
                who = caller(hub, tokens, request.headers.get("authorization"), request.scope["path"])
                _check_version(request)
                if entry.throttled:
                    hub.throttle.take(entry.throttled)
                if entry.feature:
                    hub.plan.need_standard(entry.feature)
                return await entry.handler(Call(hub, request, who, stopping))
            except HubError as error:
                return error.response()
            except sqlite3.Error as error:
                log.exception("%s %s on %s failed", request.method, request.scope["path"], hub.name)
                text = f"the database of the local Azure failed ({error}): nothing was changed; see daemon.log"
                return HubError("ServerError", text).response()
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it

        return run

    routes = [Route(entry.path, endpoint(entry), methods=[entry.method]) for entry in TABLE]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_route})


def _check_version(request: Request) -> None:
    version = request.query_params.get("api-version")
    if request.scope["path"] != "/messages/events" and version not in API_VERSIONS:
        raise HubError("InvalidProtocolVersion", f"api-version is missing or unknown: {(version or '')[:40]!r}")


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    name = "GenericMethodNotAllowed" if error.status_code == 405 else "GenericNotFound"
    return HubError(name, f"IoT Hub has no {request.method} {request.scope['path'][:200]}").response()
