"""The listener and the register of who is connected."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Hashable
from typing import Any

from localazure.mqtt.connection import Connection
from localazure.mqtt.handler import Handler
from localazure.mqtt.session import Limits, Session


class MqttServer:
    """MQTT 3.1.1 on one address and port. Without `tls` in the clear, for tests and networks inside Docker."""

    def __init__(
        self, handler: Handler, address: str, port: int, tls: ssl.SSLContext | None, limits: Limits | None = None
    ) -> None:
        self.address, self.port = address, port
        self._handler = handler
        self._tls = tls
        self._limits = limits or Limits()
        self._sessions: dict[Hashable, Session] = {}
        self._connections: dict[Connection, asyncio.Task[Any]] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Return once the port answers; port 0 becomes the one that was given. Raises OSError when it is taken."""
        handshake = self._limits.connect_timeout if self._tls else None
        self._server = await asyncio.start_server(
            self._accept, self.address, self.port, ssl=self._tls, ssl_handshake_timeout=handshake
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections; returns when every `on_disconnected` has."""
        if self._server:
            self._server.close()
            self._server = None
        waiting = list(self._connections.values())
        for connection, task in list(self._connections.items()):
            connection.close("the server is stopping") or task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    @property
    def sessions(self) -> list[Session]:
        """Those that are connected now."""
        return [session for session in self._sessions.values() if session.alive]

    def session(self, identity: Hashable) -> Session | None:
        """The identity's session if it is connected."""
        session = self._sessions.get(identity)
        return session if session and session.alive else None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self._handler, self._limits, self._sessions, reader, writer)
        task = asyncio.current_task()
        assert task
        self._connections[connection] = task
        try:
            await connection.serve()
        except asyncio.CancelledError:
            if self._server:  # the loop is being torn down, not only this server
                raise
        finally:
            del self._connections[connection]
