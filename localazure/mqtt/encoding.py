"""Packets to bytes."""

from __future__ import annotations

import struct

from localazure.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from localazure.mqtt.topics import check_topic

MAX_REMAINING_LENGTH = 268_435_455

_PLAIN: dict[type[Packet], Kind] = {
    Puback: Kind.PUBACK,
    Unsuback: Kind.UNSUBACK,
    Pingreq: Kind.PINGREQ,
    Pingresp: Kind.PINGRESP,
    Disconnect: Kind.DISCONNECT,
}
"""Packets that hold an identifier or nothing."""


def encode(packet: Packet) -> bytes:
    """The packet's bytes. Raises ValueError for what the standard cannot express (a string over 65,535 bytes and the like)."""
    first, body = _build(packet)
    if len(body) > MAX_REMAINING_LENGTH:
        raise ValueError(f"an MQTT packet of {len(body)} bytes cannot be sent")
    length = bytearray()
    rest = len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes((first,)) + bytes(length) + body


def _build(packet: Packet) -> tuple[int, bytes]:
    match packet:
        case Connect():
            return Kind.CONNECT << 4, _connect_body(packet)
        case Connack(session_present, code):
            return Kind.CONNACK << 4, bytes((session_present, code))
        case Publish(topic, payload, qos, packet_id, dup, retain):
            check_topic(topic)
            if qos not in (0, 1) or (packet_id is None) != (qos == 0) or (dup and not qos):
                raise ValueError(f"a PUBLISH cannot have QoS {qos}, packet id {packet_id}, dup {dup}")
            identifier = _short(packet_id) if packet_id is not None else b""
            return Kind.PUBLISH << 4 | dup << 3 | qos << 1 | retain, _text(topic) + identifier + payload
        case Subscribe(packet_id, filters):
            return Kind.SUBSCRIBE << 4 | 2, _short(packet_id) + b"".join(
                _text(name) + bytes((qos,)) for name, qos in filters
            )
        case Suback(packet_id, codes):
            return Kind.SUBACK << 4, _short(packet_id) + bytes(codes)
        case Unsubscribe(packet_id, names):
            return Kind.UNSUBSCRIBE << 4 | 2, _short(packet_id) + b"".join(_text(name) for name in names)
        case Puback(packet_id) | Unsuback(packet_id):
            return _PLAIN[type(packet)] << 4, _short(packet_id)
        case _:
            return _PLAIN[type(packet)] << 4, b""


def _connect_body(packet: Connect) -> bytes:
    will = packet.will
    if packet.password is not None and packet.username is None:
        raise ValueError("an MQTT 3.1.1 CONNECT with a password needs a user name")
    flags = (packet.username is not None) << 7 | (packet.password is not None) << 6 | packet.clean_session << 1
    if will:
        flags |= 4 | will.qos << 3 | will.retain << 5
    body = _text("MQTT") + bytes((4, flags)) + struct.pack("!H", packet.keep_alive) + _text(packet.client_id)
    if will:
        body += _text(will.topic) + _blob(will.payload)
    if packet.username is not None:
        body += _text(packet.username)
    if packet.password is not None:
        body += _blob(packet.password)
    return body


def _text(text: str) -> bytes:
    if "\0" in text:
        raise ValueError("an MQTT string cannot hold U+0000")
    return _blob(text.encode("utf-8"))


def _blob(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise ValueError(f"an MQTT string of {len(data)} bytes is longer than 65,535")
    return struct.pack("!H", len(data)) + data


def _short(packet_id: int) -> bytes:
    if not 0 < packet_id <= 0xFFFF:
        raise ValueError(f"packet identifier {packet_id} is not in 1..65535")
    return struct.pack("!H", packet_id)
