"""An ASGI application behind a socket, run in the daemon's own event loop; slow and oversized clients are cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from localazure.connection import Connection, Patience, cut, reset
from localazure.instance import InstanceError

__all__ = ["HttpServer", "Patience", "cut", "reset", "wrapped"]

Wrapper = Callable[[ASGIApp, str], ASGIApp]

_wrappers: dict[str, Wrapper] = {}


@contextlib.contextmanager
def wrapped(address: str, wrapper: Wrapper) -> Iterator[None]:
    """Every HttpServer made for this address meanwhile serves `wrapper(app, "address:port")`: how the daemon puts its request
    log round the listeners that rooms open by themselves."""
    _wrappers[address] = wrapper
    try:
        yield
    finally:
        del _wrappers[address]


class HttpServer:
    """HTTP/1.1 on one address and port; with `tls` (certificate chain, key) HTTPS. Never binds to all addresses."""

    def __init__(
        self,
        app: ASGIApp,
        address: str,
        port: int,
        tls: tuple[Path, Path] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.address, self.port = address, port
        wrapper = _wrappers.get(address)
        patience = patience or Patience()
        served = wrapper(app, f"{address}:{port}") if wrapper else app
        config = uvicorn.Config(
            Connection(served, patience),
            http=patience.protocol(),
            limit_concurrency=patience.connections,
            host=address,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # nobody stands before us: X-Forwarded-* is the client's own claim
            timeout_keep_alive=75,  # seconds; longer than clients wait between polls, so that they reuse connections as with Azure
            timeout_graceful_shutdown=2,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
        )
        self._server = _Embedded(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the port answers. Raises InstanceError when somebody else has it."""
        self._task = asyncio.create_task(self._serve())
        while not self._server.started:
            if self._task.done():
                raise InstanceError(
                    f"cannot listen on {self.address}:{self.port}: the port is taken by another program; stop it "
                    "(the local Azure of another clone: 'python -m localazure down' there)"
                )
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Answer what is in flight (two seconds at most), then close."""
        if self._task is None:
            return
        self._server.should_exit = True
        while not self._task.done():
            if not self._server.server_state.tasks:
                self._server.force_exit = True  # the rest are idle connections, which clients keep open for long
            await asyncio.sleep(0.02)
        await self._task

    async def _serve(self) -> None:
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that the port is taken
            await self._server.serve()


class _Embedded(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the daemon, not to one of its listeners."""
        yield
