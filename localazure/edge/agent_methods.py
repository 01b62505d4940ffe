"""`$edgeAgent`'s built-in direct methods: `ping`, `RestartModule`, `GetModuleLogs`.

Contract: learn.microsoft.com/azure/iot-edge/how-to-edgeagent-direct-method and .../how-to-retrieve-iot-edge-logs; status codes and
error texts: Azure/iotedge, `RequestManager.cs`, `RestartRequestHandler.cs`, `ModuleLogsRequestHandler.cs`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from localazure.edge import module_logs
from localazure.edge.containers import ContainerError, Containers
from localazure.edge.module_logs import LogsRequestError

log = logging.getLogger("localazure.edge.agent")

Json = dict[str, Any]
_NOT_HERE = ("UploadModuleLogs", "GetTaskStatus", "UploadSupportBundle")


class AgentMethods:
    """`answer(name, payload)` is (status, payload) of the response. System modules are no containers here: they have no logs."""

    def __init__(self, containers: Containers, iothub: str, device_id: str) -> None:
        self._containers, self._iothub, self._device_id = containers, iothub, device_id
        self._methods: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "ping": self._ping,
            "restartmodule": self._restart,
            "getmodulelogs": self._logs,
        }

    async def answer(self, name: str, payload: Any) -> tuple[int, Any]:
        """Never raises: 400 for what the caller did wrong, 500 for what went wrong here."""
        log.info("direct method %s", name)
        method = self._methods.get(name.lower())
        if name.lower() in map(str.lower, _NOT_HERE):
            return 501, {"message": f"Command '{name}' is not part of the local Azure"}
        if method is None:
            return 400, {
                "message": f"Command '{name}' not found. The supported commands are - ping,RestartModule,GetModuleLogs"
            }
        try:
            return 200, await method(payload)
        except LogsRequestError as error:
            return 400, {"message": str(error)}
        except (_FailedError, ContainerError) as error:
            return 500, {"message": str(error)}
        except Exception as error:
            log.exception("direct method %s failed", name)
            return 500, {"message": f"{type(error).__name__}: {error}"}

    async def _ping(self, payload: Any) -> None:
        return None

    async def _restart(self, payload: Any) -> None:
        """Docker restarts the container; edgeAgent does not count that as a failure."""
        request = _request(payload)
        module = request.get("id")
        if not isinstance(module, str) or not module.strip():
            raise LogsRequestError("Error parsing command payload because of error - 'id' must name a module")
        container = (await asyncio.to_thread(self._containers.find)).get(module)
        if container is None:
            raise _FailedError(f"Module {module} not found in the current environment")
        if container.state != "running":
            raise _FailedError(f"Module {module} cannot be restarted since it is not running")
        await asyncio.to_thread(self._containers.restart, container.id, module)

    async def _logs(self, payload: Any) -> list[Json]:
        request = module_logs.parse(_request(payload))
        found = await asyncio.to_thread(self._containers.find)
        answers = []
        for name, filter_ in module_logs.chosen(request, sorted(found)).items():
            lines = await asyncio.to_thread(
                self._containers.log_lines, found[name].id, name, since=filter_.since, until=filter_.until
            )
            origin = {"iothub": self._iothub, "device": self._device_id, "id": name}
            answers.append(module_logs.response(request, filter_, origin, lines))
        return answers


class _FailedError(Exception):
    pass


def _request(payload: Any) -> Json:
    if payload is None:
        raise LogsRequestError("Request payload not found")
    if not isinstance(payload, dict):
        raise LogsRequestError("Error parsing command payload because of error - an object is expected")
    request = {key.lower(): value for key, value in payload.items()}
    version = request.get("schemaversion")
    if not isinstance(version, str) or not re.fullmatch(r"1\.\d+(\.\d+)?", version):
        raise _FailedError(f"The schema version {version!r} is not compatible with the expected version 1.0")
    return request
