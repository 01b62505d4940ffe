"""One connected client: what may be sent to it, and what became of it."""

from __future__ import annotations

import asyncio
import collections
import logging
import socket
from collections.abc import Hashable
from dataclasses import dataclass

from localazure.mqtt.encoding import encode
from localazure.mqtt.packets import Connect, Packet, Puback, Publish
from localazure.mqtt.topics import check_topic, matches

log = logging.getLogger("localazure.mqtt")


class SessionEndedError(Exception):
    """The client went away (or was closed) before it acknowledged: the message may or may not have reached it."""


class NotSubscribedError(Exception):
    """The client has no subscription that takes this topic: nothing was sent."""


class ProtocolViolationError(Exception):
    """For handlers: the client did what this front does not allow; close its connection and log the message in one line."""


@dataclass(frozen=True)
class Limits:
    """Bounds for every connection; times in seconds, sizes in bytes."""

    max_packet: int = 300_000
    """Body of the largest packet that is taken."""
    in_flight: int = 10
    """QoS 1 messages sent and not yet acknowledged; edgeHub's and IoT Hub's window."""
    received: int = 64
    """Packets read ahead while the handler is busy; then reading stops, and TCP slows the client down."""
    write_buffer: int = 1_000_000
    """Bytes that wait in memory for a client that does not read ..."""
    write_timeout: float = 60.0
    """... and how long, until it is cut off."""
    subscriptions: int = 100
    """Filters of one session."""
    connect_timeout: float = 30.0
    """For the TLS handshake and then for the CONNECT packet."""
    max_keep_alive: float = 1767.0
    """Used for clients that ask for none or for more; IoT Hub's limit."""
    drain_timeout: float = 10.0
    """For the handler to finish what was received before the client went."""


class Session:
    """Made by the server. `identity` is what `Handler.authenticate` returned; `connect` has no password any more."""

    def __init__(self, identity: Hashable, connect: Connect, writer: asyncio.StreamWriter, limits: Limits) -> None:
        self.identity = identity
        self.connect = connect
        self.subscriptions: dict[str, int] = {}
        self.end_reason: str | None = None
        self.finished = asyncio.Event()
        """Set when `on_disconnected` has returned."""
        self._writer = writer
        self._limits = limits
        self._free = limits.in_flight
        self._queue: collections.deque[asyncio.Future[None]] = collections.deque()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._last_id = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writer.transport.set_write_buffer_limits(high=limits.write_buffer)
        _no_delay(writer)

    def __repr__(self) -> str:
        return f"<Session {self.identity!r}{' ended: ' + self.end_reason if self.end_reason else ''}>"

    @property
    def client_id(self) -> str:
        return self.connect.client_id

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    def granted(self, topic: str) -> int | None:
        """The highest QoS of a subscription that takes `topic`, None without one."""
        return max((qos for name, qos in self.subscriptions.items() if matches(name, topic)), default=None)

    async def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send with the lower of `qos` and the subscription's QoS. Returns when the client has acknowledged it (QoS 1) or when it
        is in the connection's buffer (QoS 0); waits for a place in the window first, in the order of the calls.

        Raises NotSubscribedError, SessionEndedError, ValueError (topic with wildcards). There is no time limit but the session's end:
        use `asyncio.timeout`. A call that was cancelled keeps its place in the window until the client acknowledges after all.
        """
        granted = self.granted(topic)
        if granted is None:
            raise NotSubscribedError(f"{self.client_id} has no subscription for {topic}")
        if min(qos, granted) == 0:
            await self.send(Publish(topic, payload))
            return
        check_topic(topic)
        await self._take_place()
        packet_id, acknowledged = self._register()
        await self.send(Publish(topic, payload, 1, packet_id))
        await asyncio.shield(acknowledged)

    def close(self, reason: str) -> None:
        """End the session now; what the client has not acknowledged fails with SessionEndedError. `reason` is for the log."""
        if self._ended.done():
            return
        self.end_reason = reason
        self._ended.set_result(None)
        for future in [*self._waiting.values(), *self._queue]:
            if not future.done():
                future.set_exception(SessionEndedError(f"{self.client_id}: {reason}"))
                future.exception()  # its caller may have been cancelled: then nobody else asks
        self._waiting.clear()
        self._queue.clear()

    async def wait_ended(self) -> None:
        await asyncio.shield(self._ended)

    async def send(self, packet: Packet) -> None:
        """For the server: write and wait while the client's buffer is full. Raises SessionEndedError."""
        data = encode(packet)
        self._check_alive()
        try:
            self._writer.write(data)
            async with asyncio.timeout(self._limits.write_timeout):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            self.close(f"the client did not read for {self._limits.write_timeout:g} s")
        except OSError as error:
            self.close(f"connection lost ({type(error).__name__})")
        self._check_alive()

    def acknowledged(self, packet: Puback) -> None:
        """For the server: a PUBACK came in. Identifiers that were not asked for are ignored."""
        acknowledged = self._waiting.pop(packet.packet_id, None)
        if acknowledged is None:
            return
        self._give_place()
        if not acknowledged.done():
            acknowledged.set_result(None)

    async def _take_place(self) -> None:
        self._check_alive()
        if self._free and not self._queue:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_place()  # the place came together with the cancellation
            raise
        self._check_alive()

    def _give_place(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _register(self) -> tuple[int, asyncio.Future[None]]:
        self._last_id = self._last_id % 0xFFFF + 1
        while self._last_id in self._waiting:
            self._last_id = self._last_id % 0xFFFF + 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[self._last_id] = future
        return self._last_id, future

    def _check_alive(self) -> None:
        if self._ended.done():
            raise SessionEndedError(f"{self.client_id}: {self.end_reason}")


def _no_delay(writer: asyncio.StreamWriter) -> None:
    """Two small writes (PUBACK, PUBLISH) would cost 40 ms with Nagle's algorithm and delayed acknowledgements."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
