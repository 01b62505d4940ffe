"""One module's MQTT connection to a hub, with nothing but the codec: what an agent of a simulated fleet needs and no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localazure.edge.sas import token
from localazure.mqtt import Connect, Decoder, Packet, encode
from localazure.mqtt.packets import Connack, Disconnect, Pingreq, Puback, Publish, Return, Suback, Subscribe

_API = "2019-10-01"
_KEEP_ALIVE = 240
_ANSWER_SECONDS = 60.0
_TWIN, _DESIRED = "$iothub/twin/res/", "$iothub/twin/PATCH/properties/desired/"
_MAX_PACKET = 300_000


class ConnectionEndedError(Exception):
    """The connection is over, or the hub refused it; the message says which."""


@dataclass(frozen=True)
class Place:
    """Where the hub's MQTT front is and what its certificate is checked with."""

    address: str
    port: int
    tls: ssl.SSLContext = field(repr=False)


class HubClient:
    """`on_desired` gets every desired patch. Connect, then `read_twin` and `report` as often as wanted; `closed` is then done."""

    def __init__(
        self, place: Place, host: str, device: str, module: str, key: str, on_desired: Callable[[dict[str, Any]], None]
    ) -> None:
        self._place, self._host, self._id, self._key = place, host, f"{device}/{module}", key
        self._resource = f"{host}/devices/{device}/modules/{module}"
        self._on_desired = on_desired
        self._decoder = Decoder(_MAX_PACKET)
        self._answers: dict[str, asyncio.Future[tuple[int, bytes]]] = {}
        self._acknowledged: asyncio.Future[Packet] | None = None
        self._next = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, lifetime: int) -> None:
        """With a token of `lifetime` seconds, and subscribed to its twin. Raises ConnectionEndedError, OSError, TimeoutError."""
        self._reader, self._writer = await asyncio.open_connection(
            self._place.address, self._place.port, ssl=self._place.tls
        )
        self._tasks.append(asyncio.create_task(self._read()))
        user = f"{self._host}/{self._id}/?api-version={_API}&DeviceClientType=localazure-fleet"
        password = token(self._resource, self._key, lifetime).encode()
        answer = await self._ask(Connect(self._id, False, _KEEP_ALIVE, user, password))
        if not isinstance(answer, Connack) or answer.code != Return.ACCEPTED:
            raise ConnectionEndedError(f"the hub refused {self._id}: {answer}")
        await self._ask(Subscribe(1, ((f"{_TWIN}#", 0), (f"{_DESIRED}#", 1))))
        self._tasks.append(asyncio.create_task(self._ping()))

    async def read_twin(self) -> dict[str, Any]:
        """{desired, reported}"""
        status, payload = await self._request("$iothub/twin/GET/", b" ")
        if status != 200:
            raise ConnectionEndedError(f"the twin of {self._id} was not given: {status}")
        twin: dict[str, Any] = json.loads(payload)
        return twin

    async def report(self, patch: dict[str, Any]) -> None:
        status, payload = await self._request("$iothub/twin/PATCH/properties/reported/", json.dumps(patch).encode())
        if status != 204:
            raise ConnectionEndedError(f"the hub did not take what {self._id} reports: {status} {payload[:200]!r}")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_writer"):
            with contextlib.suppress(OSError):
                self._writer.write(encode(Disconnect()))
            self._writer.close()

    async def _request(self, topic: str, payload: bytes) -> tuple[int, bytes]:
        self._next += 1
        request_id = str(self._next)
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        try:
            await self._send(Publish(f"{topic}?$rid={request_id}", payload))
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        finally:
            self._answers.pop(request_id, None)

    async def _ask(self, packet: Packet) -> Packet:
        self._acknowledged = asyncio.get_running_loop().create_future()
        await self._send(packet)
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await self._acknowledged

    async def _send(self, packet: Packet) -> None:
        if self.closed.done():
            raise ConnectionEndedError(self.closed.result())
        self._writer.write(encode(packet))
        await self._writer.drain()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_ALIVE * 0.7)
            await self._send(Pingreq())

    async def _read(self) -> None:
        reason = "the hub closed the connection"
        try:
            while data := await self._reader.read(65536):
                for packet in self._decoder.feed(data):
                    self._came(packet)
        except (OSError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        finally:
            if not self.closed.done():
                self.closed.set_result(reason)
            for answer in self._answers.values():
                _fail(answer, reason)
            if self._acknowledged:
                _fail(self._acknowledged, reason)

    def _came(self, packet: Packet) -> None:
        match packet:
            case Connack() | Suback():
                if self._acknowledged and not self._acknowledged.done():
                    self._acknowledged.set_result(packet)
            case Publish(topic, payload, _, packet_id):
                if packet_id is not None:
                    self._writer.write(encode(Puback(packet_id)))
                self._published(topic, payload)

    def _published(self, topic: str, payload: bytes) -> None:
        if topic.startswith(_DESIRED):
            self._on_desired(json.loads(payload))
        elif topic.startswith(_TWIN):
            status, _, query = topic.removeprefix(_TWIN).partition("/")
            request_id = query.partition("$rid=")[2].partition("&")[0]
            answer = self._answers.get(request_id)
            if answer and not answer.done():
                answer.set_result((int(status), payload))


def _fail(future: asyncio.Future[Any], reason: str) -> None:
    if not future.done():
        future.set_exception(ConnectionEndedError(reason))
        future.exception()  # its caller may be gone: then nobody else asks
