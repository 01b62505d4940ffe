"""One TCP connection from CONNECT to its end. A reader takes packets in, a worker brings them to the handler in their order:
acknowledgements and pings are seen while the handler is busy, and a full queue stops the reading."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Hashable

from localazure.mqtt.decoding import Decoder
from localazure.mqtt.encoding import encode
from localazure.mqtt.handler import Handler
from localazure.mqtt.packets import (
    FAILURE,
    Connack,
    Connect,
    Disconnect,
    MalformedPacketError,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Return,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    UnsupportedProtocolLevelError,
)
from localazure.mqtt.session import Limits, ProtocolViolationError, Session, SessionEndedError

log = logging.getLogger("localazure.mqtt")

_READ_SIZE = 65536
_CLOSE_SECONDS = 2.0


class Connection:
    """For the server. `sessions` is its register: an identity stays in it until its `on_disconnected` has returned."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        sessions: dict[Hashable, Session],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._sessions = sessions
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(limits.max_packet)
        self._received: asyncio.Queue[Packet | None] = asyncio.Queue(limits.received)
        self._early: list[Packet] = []
        self._session: Session | None = None
        self._announced = False

    def close(self, reason: str) -> bool:
        """End the session; False when there is none yet."""
        if self._session:
            self._session.close(reason)
        return self._session is not None

    async def serve(self) -> None:
        """Returns when all is over and the handler knows it. Whatever the client sends ends here, never in an exception."""
        try:
            session = await self._admit()
            if session:
                await self._run(session)
        except MalformedPacketError as error:
            log.info("connection refused: %s", error)
        except ProtocolViolationError as error:
            log.info("connection refused: %s", error)
        except (OSError, TimeoutError, SessionEndedError) as error:
            log.debug("connection ended before its session began: %s", error or type(error).__name__)
        except Exception:
            log.exception("the handler failed before a session began")
        finally:
            await self._hang_up()

    async def _admit(self) -> Session | None:
        connect = await self._first_packet()
        if connect is None:
            return None
        if not connect.client_id:
            self._refuse(Return.IDENTIFIER_REJECTED, "an empty client id")
            return None
        try:
            identity = await self._handler.authenticate(connect)
        except Exception:
            log.exception("cannot authenticate client %r", connect.client_id)
            self._refuse(Return.UNAVAILABLE, "an error while authenticating")
            return None
        if identity is None:
            self._refuse(Return.NOT_AUTHORIZED, f"client {connect.client_id!r} is not authorized")
            return None
        while (older := self._sessions.get(identity)) is not None:
            older.close("a newer connection of the same identity took over")
            await older.finished.wait()
        # No await from here on: of two newcomers only one gets past the loop.
        session = Session(identity, dataclasses.replace(connect, password=None), self._writer, self._limits)
        present = self._restore(session)
        self._sessions[identity] = self._session = session
        self._writer.write(encode(Connack(present, Return.ACCEPTED)))
        return session

    async def _first_packet(self) -> Connect | None:
        async with asyncio.timeout(self._limits.connect_timeout):
            while data := await self._reader.read(_READ_SIZE):
                try:
                    packets = self._decoder.feed(data)
                except UnsupportedProtocolLevelError as error:
                    self._refuse(Return.UNACCEPTABLE_PROTOCOL, str(error))
                    return None
                if packets:
                    first, *self._early = packets
                    if not isinstance(first, Connect):
                        raise MalformedPacketError("the first packet is not CONNECT [MQTT-3.1.0-1]")
                    return first
        return None

    def _refuse(self, code: Return, reason: str) -> None:
        log.info("connection refused with CONNACK %d: %s", code, reason)
        self._writer.write(encode(Connack(False, code)))

    def _restore(self, session: Session) -> bool:
        """Take up the subscriptions of a session that the client wants to continue; True if there was one."""
        if session.connect.clean_session:
            self._handler.store_subscriptions(session, None)
            return False
        stored = self._handler.stored_subscriptions(session)
        session.subscriptions.update(stored or {})
        if stored is None:
            self._handler.store_subscriptions(session, {})
        return stored is not None

    async def _run(self, session: Session) -> None:
        reading = asyncio.create_task(self._read(session))
        working = asyncio.create_task(self._work(session))
        ended = asyncio.create_task(session.wait_ended())
        try:
            await asyncio.wait({reading, working, ended}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and session.alive:  # the client left in an orderly way: what it sent before still counts
                await asyncio.wait({working}, timeout=self._limits.drain_timeout)
        finally:
            session.close("the client disconnected")
            log.info("session of %s ended: %s", session.client_id, session.end_reason)
            for task in (reading, working, ended):
                task.cancel()
            await asyncio.gather(reading, working, ended, return_exceptions=True)
            try:
                if self._announced:
                    await self._handler.on_disconnected(session)
            except Exception:
                log.exception("the handler failed at the end of the session of %s", session.client_id)
            finally:
                del self._sessions[session.identity]
                session.finished.set()

    async def _read(self, session: Session) -> None:
        longest = self._limits.max_keep_alive
        patience = min(session.connect.keep_alive or longest, longest) * 1.5
        try:
            await self._take_all(session, patience)
        except TimeoutError:
            session.close(f"no packet within 1.5 times the keep-alive ({patience:g} s)")
        except (MalformedPacketError, SessionEndedError) as error:
            session.close(str(error))
        except OSError as error:
            log.debug("connection of %s lost: %s", session.client_id, error)
        await self._received.put(None)

    async def _take_all(self, session: Session, patience: float) -> None:
        packets, data = self._early, b"-"
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            for packet in packets:
                if not await self._take(session, packet):
                    return
            if not data:
                return
            if packets:
                deadline = asyncio.get_running_loop().time() + patience
            async with asyncio.timeout_at(deadline):
                data = await self._reader.read(_READ_SIZE)
            packets = self._decoder.feed(data)

    async def _take(self, session: Session, packet: Packet) -> bool:
        """False after the last packet."""
        match packet:
            case Puback():
                session.acknowledged(packet)
            case Pingreq():
                await session.send(Pingresp())
            case Publish() | Subscribe() | Unsubscribe():
                await self._received.put(packet)
            case Disconnect():
                return False
            case _:
                raise MalformedPacketError(f"a client must not send {type(packet).__name__} here")
        return True

    async def _work(self, session: Session) -> None:
        try:
            self._announced = True
            await self._handler.on_connected(session)
            if session.subscriptions:
                await self._handler.on_subscribed(session, dict(session.subscriptions))
            while (packet := await self._received.get()) is not None:
                await self._handle(session, packet)
        except ProtocolViolationError as error:
            session.close(str(error))
        except SessionEndedError as error:
            session.close(str(error))
        except Exception as error:
            log.exception("the handler failed in the session of %s", session.client_id)
            session.close(f"the handler failed with {type(error).__name__}")

    async def _handle(self, session: Session, packet: Packet) -> None:
        if isinstance(packet, Publish):
            await self._handler.on_publish(session, packet.topic, packet.payload, packet.qos)
            if packet.packet_id is not None:
                with contextlib.suppress(SessionEndedError):  # it left without waiting; what follows still counts
                    await session.send(Puback(packet.packet_id))
        elif isinstance(packet, Subscribe):
            await self._subscribe(session, packet)
        elif isinstance(packet, Unsubscribe):
            for name in packet.filters:
                session.subscriptions.pop(name, None)
            self._keep(session)
            await session.send(Unsuback(packet.packet_id))

    async def _subscribe(self, session: Session, packet: Subscribe) -> None:
        codes, granted = [], {}
        for name, qos in packet.filters:
            room = name in session.subscriptions or len(session.subscriptions) < self._limits.subscriptions
            if not room or not self._handler.allowed_filter(session, name):
                codes.append(FAILURE)
                continue
            granted[name] = session.subscriptions[name] = min(qos, 1)
            codes.append(granted[name])
        self._keep(session)
        await session.send(Suback(packet.packet_id, tuple(codes)))
        if granted:
            await self._handler.on_subscribed(session, granted)

    def _keep(self, session: Session) -> None:
        if not session.connect.clean_session:
            self._handler.store_subscriptions(session, dict(session.subscriptions))

    async def _hang_up(self) -> None:
        """Let the last packet out, but wait for nobody."""
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
