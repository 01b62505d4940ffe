"""A raw MQTT client for tests."""

from __future__ import annotations

import asyncio
from typing import Any

from localazure.mqtt import Connect, Decoder, Packet, encode
from localazure.mqtt.packets import Connack, Suback, Subscribe
from tests.waiting import PATIENCE


class Client:
    """Speaks with the codec and nothing else: keeps no promises by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = Decoder(1_000_000)
        self._packets: list[Packet] = []

    async def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(map(encode, packets)))
        await self.writer.drain()

    async def receive(self) -> Packet:
        async with asyncio.timeout(PATIENCE):
            while not self._packets:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                self._packets += self._decoder.feed(data)
        return self._packets.pop(0)

    async def closed(self) -> bool:
        """Whether the server closes without another packet."""
        try:
            packet = await self.receive()
        except (EOFError, ConnectionError):
            return True
        raise AssertionError(packet)

    async def connect(self, client_id: str = "c", **fields: Any) -> Connack:
        """Without a keep-alive of its own the server ends no silence within PATIENCE: what it closes, it closes for another reason."""
        await self.send(Connect(client_id, **{"username": "u", "password": b"good", "keep_alive": 0, **fields}))
        answer = await self.receive()
        assert isinstance(answer, Connack)
        return answer

    async def subscribe(self, *names: str, qos: int = 1) -> tuple[int, ...]:
        await self.send(Subscribe(1, tuple((name, qos) for name in names)))
        answer = await self.receive()
        assert isinstance(answer, Suback)
        return answer.codes
