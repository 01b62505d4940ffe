"""The workload API, with which a module proves who it is without knowing its key: one Unix socket for each module.

Source: Azure/iotedge `edgelet/api/workload*.yaml` and the client in azure-iot-device (`common/.../iotedge_hsm.py`): two calls,
GET /trust-bundle and POST /modules/{module}/genid/{generation}/sign, both with `api-version`. aziot-edged, too, gives every module
a socket of its own, and a socket signs for its own module only.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

log = logging.getLogger("localazure.edge.workload")

SOCKET_NAME = "workload.sock"


@dataclass(frozen=True)
class Signer:
    """A module's key (base64) and the generation of its identity."""

    generation: str
    key: str = field(repr=False)


class WorkloadServer:
    """The socket `<folder>/workload.sock` of one module. `signer` is asked at each call: a re-made identity counts at once."""

    def __init__(self, folder: Path, module: str, trust_bundle: Path, signer: Callable[[], Signer | None]) -> None:
        self.folder = folder
        self._module = module
        self._trust_bundle = trust_bundle
        self._signer = signer
        app = Starlette(
            routes=[
                Route("/trust-bundle", self._trust),
                Route("/modules/{module}/genid/{generation}/sign", self._sign, methods=["POST"]),
            ]
        )
        self._server = _Embedded(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # modules run as any user
        listener = _bind(self.folder)
        # Connections wait in the listener's queue until uvicorn takes them.
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        if self._task:
            self._server.should_exit = True
            await self._task
        (self.folder / SOCKET_NAME).unlink(missing_ok=True)

    async def _trust(self, request: Request) -> JSONResponse:
        if not request.query_params.get("api-version"):
            return _error(400, "api-version is missing")
        return JSONResponse({"certificate": self._trust_bundle.read_text()})

    async def _sign(self, request: Request) -> JSONResponse:
        if not request.query_params.get("api-version"):
            return _error(400, "api-version is missing")
        signer = self._signer()
        module, generation = request.path_params["module"], request.path_params["generation"]
        if module != self._module:
            log.warning("module %s asked for a signature of %s: refused", self._module, module)
            return _error(403, f"this socket belongs to another module than {module}")
        if signer is None or generation != signer.generation:
            return _error(404, f"module {module} with generation id {generation} was not found")
        try:
            order = await request.json()
            data = base64.b64decode(order["data"], validate=True)
            key_id, algorithm = order["keyId"], order["algo"]
        except (ValueError, KeyError, TypeError, binascii.Error):
            return _error(422, 'the body must be {"keyId": "primary", "algo": "HMACSHA256", "data": "<base64>"}')
        if key_id != "primary" or algorithm != "HMACSHA256":
            return _error(400, "keyId must be 'primary' and algo 'HMACSHA256'")
        digest = hmac.new(base64.b64decode(signer.key), data, hashlib.sha256).digest()
        return JSONResponse({"digest": base64.b64encode(digest).decode()})


class _Embedded(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the device."""
        yield


def _bind(folder: Path) -> socket.socket:
    """A Unix address has room for 107 bytes, a folder may be longer: so bind by way of the folder's descriptor."""
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/{SOCKET_NAME}")
    finally:
        os.close(descriptor)
    listener.listen(128)
    (folder / SOCKET_NAME).chmod(0o666)
    return listener


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status_code=status)
