"""What only the owner of the instance's folder may ask the daemon: faults, role enforcement, principals, the simulated fleet,
connection strings.

It answers at `/localazure/...` of ARM's listener, so that it counts for the very next request of any service. Who asks proves with a
token signed with the key in `instance.json`, which nobody but the folder's owner can read; no endpoint gives out such tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.arm.errors import ArmError
from localazure.bodies import BodyError, TooLargeError, parse_json, read
from localazure.faults import Fault, FaultBook, FaultError
from localazure.faults import rules as fault_rules
from localazure.fleet import FleetError
from localazure.identity import OWNER_AUDIENCE, AuthError, Tokens
from localazure.principals import Principal, PrincipalError, Principals

_MAX_BODY = 64 * 1024
Json = dict[str, Any]


class Arm(Protocol):
    @property
    def access(self) -> Any: ...
    async def assign(self, object_id: str, role: str, scope: str | None = None) -> str: ...


class Hubs(Protocol):
    def names(self) -> list[str]: ...
    def host_name(self, name: str) -> str: ...
    def keys(self, name: str) -> list[dict[str, str]]: ...


class Fleet(Protocol):
    async def change(self, size: int | None, match: str | None, fail: float | None) -> None: ...
    def describe(self) -> Json: ...


class OwnerApi:
    """`routes` belong to the daemon's own router. `disconnect(device)` drops a device's MQTT sessions and says how many there were."""

    def __init__(
        self,
        tokens: Tokens,
        book: FaultBook,
        principals: Principals,
        arm: Arm,
        hubs: Hubs,
        fleet: Fleet,
        disconnect: Callable[[str], int],
    ) -> None:
        self._tokens, self._book, self._principals = tokens, book, principals
        self._arm, self._hubs, self._fleet, self._disconnect = arm, hubs, fleet, disconnect
        table: tuple[tuple[str, str, Callable[[Request], Awaitable[Any]]], ...] = (
            ("GET", "/localazure/faults", self._list_faults),
            ("POST", "/localazure/faults", self._add_fault),
            ("DELETE", "/localazure/faults", self._clear_faults),
            ("DELETE", "/localazure/faults/{id:int}", self._clear_faults),
            ("GET", "/localazure/rbac", self._rbac),
            ("PUT", "/localazure/rbac", self._set_rbac),
            ("GET", "/localazure/principals", self._list_principals),
            ("POST", "/localazure/principals", self._add_principal),
            ("DELETE", "/localazure/principals/{name}", self._remove_principal),
            ("GET", "/localazure/fleet", self._show_fleet),
            ("PUT", "/localazure/fleet", self._change_fleet),
            ("GET", "/localazure/hubs/{name}/connection-string", self._connection_string),
        )
        self.routes = [Route(path, self._owned(handler), methods=[method]) for method, path, handler in table]

    def _owned(self, handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def run(request: Request) -> Response:
            try:
                self._tokens.check(request.headers.get("authorization"), [OWNER_AUDIENCE])
                return JSONResponse(await handler(request))
            except AuthError as error:
                return _refused(401, error.code, "only the owner of the instance's folder may ask this")
            except ArmError as error:
                return _refused(error.status, error.code, str(error))
            except (FaultError, FleetError, PrincipalError, BodyError) as error:
                return _refused(400, "BadRequest", str(error))
            except TooLargeError:
                return _refused(413, "RequestTooLarge", f"more than {_MAX_BODY} bytes")

        return run

    async def _list_faults(self, request: Request) -> Any:
        return [_shown(fault) for fault in self._book.all()]

    async def _add_fault(self, request: Request) -> Any:
        spec = await _object(request)
        fault = fault_rules.parse(spec)
        if fault.action == "disconnect" and spec.get("match") is None:
            dropped = self._disconnect(fault.device)
            if not dropped:
                raise FaultError(f"no device '{fault.device}' is connected by MQTT at this moment")
            return {"dropped": dropped}
        return _shown(self._book.add(fault))

    async def _clear_faults(self, request: Request) -> Any:
        wanted = request.path_params.get("id")
        cleared = self._book.clear(wanted)
        if wanted is not None and not cleared:
            raise FaultError(f"there is no fault {wanted}")
        return {"cleared": cleared}

    async def _rbac(self, request: Request) -> Any:
        return {"strict": self._arm.access.strict}

    async def _set_rbac(self, request: Request) -> Any:
        strict = (await _object(request)).get("strict")
        if not isinstance(strict, bool):
            raise BodyError("'strict' is true or false")
        self._arm.access.strict = strict
        return {"strict": strict}

    async def _list_principals(self, request: Request) -> Any:
        return [_named(one) for one in self._principals.all()]

    async def _add_principal(self, request: Request) -> Any:
        """With its first role. Nothing is kept when the role or scope is refused."""
        asked = await _object(request)
        made, secret = self._principals.add(str(asked.get("name") or ""))
        try:
            assignment = await self._arm.assign(made.object_id, str(asked.get("role") or ""), asked.get("scope"))
        except BaseException:
            self._principals.remove(made.name)
            raise
        return _named(made) | {"clientSecret": secret, "roleAssignment": assignment, "strict": self._arm.access.strict}

    async def _remove_principal(self, request: Request) -> Any:
        return _named(self._principals.remove(request.path_params["name"]))

    async def _show_fleet(self, request: Request) -> Any:
        return self._fleet.describe()

    async def _change_fleet(self, request: Request) -> Any:
        asked = await _object(request)
        size, match, fail = asked.get("size"), asked.get("match"), asked.get("fail")
        if not _is(size, int) or not _is(match, str) or not _is(fail, int | float):
            raise BodyError("size is a whole number, match a text, fail a number")
        await self._fleet.change(size, match, fail)
        return self._fleet.describe()

    async def _connection_string(self, request: Request) -> Any:
        name, policy = request.path_params["name"], request.query_params.get("policy") or "iothubowner"
        found = next((one for one in self._hubs.names() if one.lower() == name.lower()), None)
        if found is None:
            there = ", ".join(self._hubs.names()) or "none"
            raise ArmError(404, "NotFound", f"there is no IoT hub '{name}'; there are: {there}")
        keys = {key["keyName"]: key["primaryKey"] for key in self._hubs.keys(found)}
        if policy not in keys:
            raise ArmError(
                404, "NotFound", f"the IoT hub '{found}' has no policy '{policy}'; it has: {', '.join(keys)}"
            )
        host = self._hubs.host_name(found)
        return {"connectionString": f"HostName={host};SharedAccessKeyName={policy};SharedAccessKey={keys[policy]}"}


def _is(value: Any, kind: Any) -> bool:
    return value is None or (isinstance(value, kind) and not isinstance(value, bool))


async def _object(request: Request) -> Json:
    value = parse_json(await read(request, _MAX_BODY))
    if not isinstance(value, dict):
        raise BodyError("an object is expected")
    return value


def _shown(fault: Fault) -> Json:
    return {**vars(fault), "exhausted": fault.exhausted}


def _named(principal: Principal) -> Json:
    return {"name": principal.name, "objectId": principal.object_id, "clientId": principal.client_id}


def _refused(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
