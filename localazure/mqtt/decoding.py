"""Bytes to packets, strict: what the standard calls malformed is refused, nothing is guessed.

Source: OASIS "MQTT Version 3.1.1", chapters 2 and 3; its statement numbers are in brackets.
"""

from __future__ import annotations

from collections.abc import Callable

from localazure.mqtt.packets import (
    FAILURE,
    Connack,
    Connect,
    Disconnect,
    Kind,
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
    Will,
)
from localazure.mqtt.topics import check_filter, check_topic


class Decoder:
    """Bytes in any portions to packets. A packet whose body is longer than `max_packet` bytes is refused by its header alone."""

    def __init__(self, max_packet: int) -> None:
        self._max_packet = max_packet
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are complete now. Raises MalformedPacketError; the decoder is of no use afterwards."""
        self._buffer += data
        packets: list[Packet] = []
        start = 0
        while (header := self._header(start)) is not None:
            first, body_at, length = header
            if len(self._buffer) < body_at + length:
                break
            packets.append(decode(first, bytes(self._buffer[body_at : body_at + length])))
            start = body_at + length
        del self._buffer[:start]
        return packets

    def _header(self, start: int) -> tuple[int, int, int] | None:
        """(first byte, offset of the body, its length), or None while the header is incomplete."""
        length = 0
        for index in range(4):
            at = start + 1 + index
            if at >= len(self._buffer):
                return None
            length |= (self._buffer[at] & 0x7F) << (7 * index)
            if not self._buffer[at] & 0x80:
                if length > self._max_packet:
                    raise MalformedPacketError(
                        f"a packet of {length} bytes is larger than the limit of {self._max_packet}"
                    )
                return self._buffer[start], at + 1, length
        raise MalformedPacketError("the remaining length takes more than four bytes")


def decode(first: int, body: bytes) -> Packet:
    """One packet from the first byte of its fixed header and its body. Raises MalformedPacketError and nothing else."""
    kind, flags = first >> 4, first & 0x0F
    parse = _PARSERS.get(kind)
    if parse is None:
        raise MalformedPacketError(f"packet type {kind} is reserved or belongs to QoS 2, which is not supported")
    if kind != Kind.PUBLISH and flags != (2 if kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE) else 0):
        raise MalformedPacketError(f"packet type {kind} must not have the flags {flags:04b} [MQTT-2.2.2-2]")
    cursor = _Cursor(body)
    packet = parse(cursor, flags)
    if cursor.left:
        raise MalformedPacketError(f"{cursor.left} bytes too many in a packet of type {kind}")
    return packet


class _Cursor:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise MalformedPacketError(f"the packet ends {count - self.left} bytes too early")
        self._at += count
        return self._body[self._at - count : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        identifier = self.short()
        if not identifier:
            raise MalformedPacketError("packet identifier 0 [MQTT-2.3.1-1]")
        return identifier

    def blob(self) -> bytes:
        return self.take(self.short())

    def text(self) -> str:
        try:
            text = self.blob().decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedPacketError(f"a string is not UTF-8 [MQTT-1.5.3-1]: {error.reason}") from None
        if "\0" in text:
            raise MalformedPacketError("a string holds U+0000 [MQTT-1.5.3-2]")
        return text

    def topic(self) -> str:
        return self._checked(check_topic)

    def filter(self) -> str:
        return self._checked(check_filter)

    def _checked(self, check: Callable[[str], None]) -> str:
        text = self.text()
        try:
            check(text)
        except ValueError as error:
            raise MalformedPacketError(str(error)) from None
        return text


def _connect(cursor: _Cursor, _flags: int) -> Connect:
    if cursor.blob() != b"MQTT":
        raise MalformedPacketError("the protocol name is not MQTT [MQTT-3.1.2-1]")
    level = cursor.byte()
    if level != 4:
        raise UnsupportedProtocolLevelError(f"protocol level {level}, only 4 (MQTT 3.1.1) is spoken here")
    flags = cursor.byte()
    has_user, has_password, has_will = bool(flags & 0x80), bool(flags & 0x40), bool(flags & 0x04)
    will_qos, will_retain = flags >> 3 & 3, bool(flags & 0x20)
    if flags & 1 or will_qos == 3 or (has_password and not has_user) or (not has_will and (will_qos or will_retain)):
        raise MalformedPacketError(f"CONNECT flags {flags:08b}")
    keep_alive = cursor.short()
    client_id = cursor.text()
    will = None
    if has_will:
        will = Will(topic=cursor.topic(), payload=cursor.blob(), qos=will_qos, retain=will_retain)
    return Connect(
        client_id=client_id,
        clean_session=bool(flags & 2),
        keep_alive=keep_alive,
        username=cursor.text() if has_user else None,
        password=cursor.blob() if has_password else None,
        will=will,
    )


def _connack(cursor: _Cursor, _flags: int) -> Connack:
    acknowledge, code = cursor.byte(), cursor.byte()
    if acknowledge > 1 or code > 5 or (acknowledge and code):
        raise MalformedPacketError(f"CONNACK {acknowledge} {code}")
    return Connack(bool(acknowledge), Return(code))


def _publish(cursor: _Cursor, flags: int) -> Publish:
    dup, qos, retain = bool(flags & 8), flags >> 1 & 3, bool(flags & 1)
    if qos > 1 or (dup and not qos):
        raise MalformedPacketError(
            f"PUBLISH flags {flags:04b}: QoS 0 and 1 only, and DUP only with QoS 1 [MQTT-3.3.1-2]"
        )
    topic = cursor.topic()
    packet_id = cursor.packet_id() if qos else None
    return Publish(topic, cursor.take(cursor.left), qos, packet_id, dup, retain)


def _subscribe(cursor: _Cursor, _flags: int) -> Subscribe:
    packet_id, filters = cursor.packet_id(), []
    while cursor.left:
        name, qos = cursor.filter(), cursor.byte()
        if qos > 2:
            raise MalformedPacketError(f"SUBSCRIBE asks for QoS byte {qos} [MQTT-3.8.3-4]")
        filters.append((name, qos))
    if not filters:
        raise MalformedPacketError("SUBSCRIBE without a filter [MQTT-3.8.3-3]")
    return Subscribe(packet_id, tuple(filters))


def _suback(cursor: _Cursor, _flags: int) -> Suback:
    packet_id, codes = cursor.packet_id(), tuple(cursor.take(cursor.left))
    if not codes or any(code > 2 and code != FAILURE for code in codes):
        raise MalformedPacketError(f"SUBACK codes {codes} [MQTT-3.9.3-2]")
    return Suback(packet_id, codes)


def _unsubscribe(cursor: _Cursor, _flags: int) -> Unsubscribe:
    packet_id, filters = cursor.packet_id(), []
    while cursor.left:
        filters.append(cursor.filter())
    if not filters:
        raise MalformedPacketError("UNSUBSCRIBE without a filter [MQTT-3.10.3-2]")
    return Unsubscribe(packet_id, tuple(filters))


_PARSERS: dict[int, Callable[[_Cursor, int], Packet]] = {
    Kind.CONNECT: _connect,
    Kind.CONNACK: _connack,
    Kind.PUBLISH: _publish,
    Kind.PUBACK: lambda cursor, _: Puback(cursor.packet_id()),
    Kind.SUBSCRIBE: _subscribe,
    Kind.SUBACK: _suback,
    Kind.UNSUBSCRIBE: _unsubscribe,
    Kind.UNSUBACK: lambda cursor, _: Unsuback(cursor.packet_id()),
    Kind.PINGREQ: lambda cursor, _: Pingreq(),
    Kind.PINGRESP: lambda cursor, _: Pingresp(),
    Kind.DISCONNECT: lambda cursor, _: Disconnect(),
}
