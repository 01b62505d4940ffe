"""The engine's side of the connection: log lines to it, and noticing that it is gone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

_ALIVE_EVERY_SECONDS = 10.0
_DIRECT = (("grpc.enable_http_proxy", 0),)  # the engine is on this machine, whatever http_proxy says


class Engine:
    """Nothing is sent, and nothing fails, while no address is known."""

    def __init__(self) -> None:
        self._address = ""
        self._stub: engine_pb2_grpc.EngineStub | None = None

    def attach(self, address: str) -> None:
        """`address`: `host:port` of the engine, as the plugin's argument or Attach give it."""
        if address and address != self._address:
            self._address = address
            self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address, options=_DIRECT))

    def debug(self, message: str, urn: str = "") -> None:
        """Shown with `pulumi --debug` only, so that previews and their JSON hold nothing but changes."""
        self._log(engine_pb2.LogRequest(severity=engine_pb2.DEBUG, message=message, urn=urn))

    def warning(self, message: str, urn: str = "") -> None:
        self._log(engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=message, urn=urn))

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` once when nobody listens at the engine's address any more: a killed engine cannot end its plugins."""

        def loop() -> None:
            pause = threading.Event()
            while not pause.wait(_ALIVE_EVERY_SECONDS):
                if self._address and not _listens(self._address):
                    gone()
                    return

        threading.Thread(target=loop, name="engine-watch", daemon=True).start()

    def _log(self, request: engine_pb2.LogRequest) -> None:
        if self._stub:
            with contextlib.suppress(grpc.RpcError):  # a lost log line must not fail the operation
                self._stub.Log(request, timeout=10)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True
