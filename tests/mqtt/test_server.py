"""The server with a front that records, and raw clients that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localazure import certs
from localazure.instance import load_or_create
from localazure.mqtt import (
    Connect,
    Limits,
    MqttServer,
    NotSubscribedError,
    ProtocolViolationError,
    Session,
    SessionEndedError,
    encode,
)
from localazure.mqtt.packets import (
    Connack,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Return,
    Suback,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.mqtt.client import Client


@dataclass
class Front:
    stored: dict[Hashable, Mapping[str, int]] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """While it is not set, on_publish waits."""

    async def authenticate(self, connect: Connect) -> Hashable | None:
        if connect.username == "broken":
            raise RuntimeError("database away")
        return connect.client_id if connect.password == b"good" else None

    def stored_subscriptions(self, session: Session) -> Mapping[str, int] | None:
        return self.stored.get(session.identity)

    def store_subscriptions(self, session: Session, subscriptions: Mapping[str, int] | None) -> None:
        if subscriptions is None:
            self.stored.pop(session.identity, None)
        else:
            self.stored[session.identity] = subscriptions

    def allowed_filter(self, session: Session, filter_: str) -> bool:
        return not filter_.startswith("forbidden")

    async def on_publish(self, session: Session, topic: str, payload: bytes, qos: int) -> None:
        if self.gate:
            await self.gate.wait()
        if topic == "violation":
            raise ProtocolViolationError("not here")
        if topic == "bug":
            raise RuntimeError("bug")
        self.events.append(("publish", session.client_id, topic, payload, qos))

    async def on_subscribed(self, session: Session, filters: Mapping[str, int]) -> None:
        self.events.append(("subscribed", session.client_id, dict(filters)))

    async def on_connected(self, session: Session) -> None:
        self.events.append(("connected", session.client_id, session.connect.keep_alive))

    async def on_disconnected(self, session: Session) -> None:
        self.events.append(("disconnected", session.client_id, session.connect.keep_alive))

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event[0] == kind]


@dataclass
class Setup:
    front: Front
    server: MqttServer
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection(self.server.address, self.server.port)))
        return self.clients[-1]

    def session(self, identity: str = "c") -> Session:
        session = self.server.session(identity)
        assert session
        return session


@contextlib.asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[Setup]:
    front = Front()
    server = MqttServer(front, "127.0.0.1", 0, None, Limits(**limits))
    await server.start()
    setup = Setup(front, server)
    try:
        async with asyncio.timeout(300):
            yield setup
    finally:
        async with asyncio.timeout(120):
            await server.stop()
        for client in setup.clients:
            client.writer.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.005)


def test_connect_and_its_refusals() -> None:
    async def main() -> None:
        async with running() as setup:
            assert await (await setup.client()).connect() == Connack(False, Return.ACCEPTED)
            for fields, code in (
                ({"password": b"bad"}, Return.NOT_AUTHORIZED),
                ({"username": "broken"}, Return.UNAVAILABLE),
                ({"client_id": ""}, Return.IDENTIFIER_REJECTED),
            ):
                client = await setup.client()
                assert await client.connect(**fields) == Connack(False, code)
                assert await client.closed()
            other = await setup.client()
            other.writer.write(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00")
            assert await other.receive() == Connack(False, Return.UNACCEPTABLE_PROTOCOL)
            assert await other.closed()
            rude = await setup.client()
            await rude.send(Pingreq())
            assert await rude.closed()
            assert setup.session().connect.password is None

    asyncio.run(main())


def test_publish_is_acknowledged_after_the_handler_and_in_order() -> None:
    async def main() -> None:
        async with running() as setup:
            client = await setup.client()
            await client.connect()
            setup.front.gate = asyncio.Event()
            await client.send(*(Publish("t", b"%d" % i, 1, i) for i in (1, 2, 3)), Pingreq())
            assert await client.receive() == Pingresp()  # while the handler is busy
            setup.front.gate.set()
            assert [await client.receive() for _ in range(3)] == [Puback(1), Puback(2), Puback(3)]
            assert [event[3] for event in setup.front.of("publish")] == [b"1", b"2", b"3"]

    asyncio.run(main())


@pytest.mark.parametrize("topic", ["violation", "bug"])
def test_a_failing_handler_closes_without_an_acknowledgement(topic: str) -> None:
    async def main() -> None:
        async with running() as setup:
            client = await setup.client()
            await client.connect()
            await client.send(Publish(topic, b"", 1, 7))
            assert await client.closed()
            await until(lambda: setup.front.of("disconnected"))

    asyncio.run(main())


def test_what_was_sent_before_the_disconnect_counts() -> None:
    async def main() -> None:
        async with running() as setup:
            client = await setup.client()
            await client.connect()
            await client.send(*(Publish("t", b"", 1, i) for i in range(1, 31)), Publish("last", b""), Disconnect())
            client.writer.close()
            await until(lambda: setup.front.of("disconnected"))
            assert len(setup.front.of("publish")) == 31

    asyncio.run(main())


def test_subscriptions() -> None:
    async def main() -> None:
        async with running(subscriptions=3) as setup:
            client = await setup.client()
            await client.connect()
            assert await client.subscribe("a/#", "forbidden/x", qos=2) == (1, 0x80)
            session = setup.session()
            with pytest.raises(NotSubscribedError):
                await session.publish("b", b"")
            with pytest.raises(ValueError, match="wildcard"):
                await session.publish("a/+", b"")
            sending = asyncio.create_task(session.publish("a/b", b"x"))
            message = await client.receive()
            assert isinstance(message, Publish)
            assert (message.topic, message.payload, message.qos, sending.done()) == ("a/b", b"x", 1, False)
            assert message.packet_id
            await client.send(Puback(message.packet_id))
            await sending
            assert await client.subscribe("z", qos=0) == (0,)
            await session.publish("z", b"y", qos=1)  # downgraded: nobody acknowledges
            assert await client.receive() == Publish("z", b"y")
            assert await client.subscribe("one", "two") == (1, 0x80)
            await client.send(Unsubscribe(9, ("a/#",)))
            assert await client.receive() == Unsuback(9)
            assert session.granted("a/b") is None

    asyncio.run(main())


def test_a_session_is_kept_on_request() -> None:
    async def main() -> None:
        async with running() as setup:
            client = await setup.client()
            assert not (await client.connect(clean_session=False)).session_present
            await client.subscribe("a", "b")
            await client.send(Unsubscribe(2, ("b",)), Disconnect())
            assert await client.receive() == Unsuback(2)
            assert await client.closed()
            again = await setup.client()
            assert (await again.connect(clean_session=False)).session_present
            sending = asyncio.create_task(setup.session().publish("a", b""))
            message = await again.receive()
            assert isinstance(message, Publish)
            sending.cancel()
            await until(lambda: ("subscribed", "c", {"a": 1}) in setup.front.events)
            clean = await setup.client()
            assert not (await clean.connect(clean_session=True)).session_present
            assert setup.front.stored == {}
            fresh = await setup.client()
            assert not (await fresh.connect(clean_session=False)).session_present

    asyncio.run(main())


def test_the_newest_session_wins() -> None:
    async def main() -> None:
        async with running() as setup:
            first = await setup.client()
            await first.connect(keep_alive=11)
            await first.subscribe("a")
            lost = asyncio.create_task(setup.session().publish("a", b""))
            assert isinstance(await first.receive(), Publish)
            second = await setup.client()
            await second.connect(keep_alive=22)
            assert await first.closed()
            with pytest.raises(SessionEndedError, match="took over"):
                await lost
            await until(lambda: len(setup.front.of("connected")) == 2)
            calls = [(kind, keep) for kind, _, keep in setup.front.events if kind.endswith("connected")]
            assert calls == [("connected", 11), ("disconnected", 11), ("connected", 22)]
            assert setup.session().connect.keep_alive == 22

    asyncio.run(main())


def test_many_newcomers_leave_one_session() -> None:
    async def main() -> None:
        async with running() as setup:
            clients = [await setup.client() for _ in range(12)]
            await asyncio.gather(*(client.connect() for client in clients), return_exceptions=True)
            await until(lambda: len(setup.front.of("connected")) - len(setup.front.of("disconnected")) == 1)
            assert len(setup.server.sessions) == 1

    asyncio.run(main())


def test_the_window_is_bounded_and_in_order() -> None:
    async def main() -> None:
        async with running(in_flight=10) as setup:
            client = await setup.client()
            await client.connect()
            await client.subscribe("a")
            sending = [asyncio.create_task(setup.session().publish("a", b"%d" % i)) for i in range(25)]
            got: list[bytes] = []
            for _ in range(10):
                message = await client.receive()
                assert isinstance(message, Publish)
                got.append(message.payload)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.receive()
            for task in sending[:10:2]:
                task.cancel()  # its place stays taken until the client acknowledges
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.receive()
            sending[12].cancel()  # never sent
            for packet_id in range(1, 25):
                await client.send(Puback(packet_id), Puback(packet_id), Puback(60000))
                if len(got) < 24:
                    message = await client.receive()
                    assert isinstance(message, Publish)
                    got.append(message.payload)
            assert got == [b"%d" % i for i in range(25) if i != 12]
            await asyncio.gather(*sending, return_exceptions=True)
            assert setup.session()._free == 10

    asyncio.run(main())


class HurriedLoop(asyncio.SelectorEventLoop):
    """A loop on which the test lets seconds pass."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_keep_alive_is_enforced() -> None:
    async def main() -> None:
        async with running() as setup:
            client = await setup.client()
            await client.connect(keep_alive=60)
            loop.ahead += 60
            await client.send(Pingreq())
            assert await client.receive() == Pingresp()
            client.writer.write(b"\x30")  # a packet that never ends does not count
            loop.ahead += 60
            await asyncio.sleep(0.05)
            assert not setup.front.of("disconnected"), "120 s from the beginning, and 60 s from the ping"
            loop.ahead += 30
            assert await client.closed()

    loop = HurriedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_silence_before_connect_is_bounded() -> None:
    async def main() -> None:
        async with running(connect_timeout=0.2) as setup:
            assert await (await setup.client()).closed()

    asyncio.run(main())


@pytest.mark.parametrize(
    "data",
    [
        encode(Publish("t", b"x" * 1000)),  # larger than the limit of this server
        b"\x34\x05\x00\x01t\x00\x01",  # QoS 2
        encode(Connect("c")),  # a second time
        encode(Suback(1, (0,))),
        b"\xf0\x00",
    ],
)
def test_malformed_packets_close_the_connection(data: bytes) -> None:
    async def main() -> None:
        async with running(max_packet=500) as setup:
            client = await setup.client()
            await client.connect()
            client.writer.write(data)
            assert await client.closed()
            await until(lambda: setup.front.of("disconnected"))

    asyncio.run(main())


def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def main() -> None:
        async with running(write_buffer=100_000, write_timeout=0.3) as setup:
            client = await setup.client()
            await client.connect()
            await client.subscribe("a", qos=0)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            session = setup.session()

            async def flood() -> None:
                for _ in range(1000):
                    await session.publish("a", b"x" * 100_000)

            with pytest.raises(SessionEndedError, match="did not read"):
                await flood()
            await until(lambda: setup.front.of("disconnected"))

    asyncio.run(main())


def test_a_client_that_only_writes_is_slowed_down() -> None:
    async def main() -> None:
        async with running(received=4) as setup:
            client = await setup.client()
            await client.connect()
            setup.front.gate = asyncio.Event()

            async def flood() -> None:
                for _ in range(500):
                    await client.send(Publish("t", b"x" * 100_000))

            flooding = asyncio.create_task(flood())
            done, _ = await asyncio.wait({flooding}, timeout=0.5)
            assert not done
            setup.front.gate.set()
            await flooding
            await until(lambda: len(setup.front.of("publish")) == 500)

    asyncio.run(main())


def test_stop_ends_sessions_and_half_open_connections() -> None:
    async def main() -> None:
        async with running() as setup:
            silent, client = await setup.client(), await setup.client()
            await client.connect(will=Will("w", b""))
            await client.subscribe("a")
            lost = asyncio.create_task(setup.session().publish("a", b""))
            assert isinstance(await client.receive(), Publish)
            await setup.server.stop()
            assert await client.closed()
            assert await silent.closed()
            with pytest.raises(SessionEndedError, match="stopping"):
                await lost
            assert setup.front.of("disconnected")
            with pytest.raises(OSError):
                await setup.client()

    asyncio.run(main())


def test_tls_and_no_delay(tmp_path: Path) -> None:
    async def main() -> None:
        instance = load_or_create(tmp_path)
        certs.ensure(instance)
        tls = certs.server_context(instance.pki / "server.pem", instance.pki / "server.key")
        server = MqttServer(Front(), instance.address, 0, tls)
        await server.start()
        try:
            trust = ssl.create_default_context(cafile=str(instance.ca))
            client = Client(*await asyncio.open_connection(instance.address, server.port, ssl=trust))
            await client.connect()
            await client.send(Pingreq())
            assert await client.receive() == Pingresp()
            session = server.session("c")
            assert session
            raw = session._writer.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.writer.close()
        finally:
            await server.stop()

    asyncio.run(main())
