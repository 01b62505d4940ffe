"""The packets of MQTT 3.1.1 without QoS 2 as plain values.

Source: OASIS "MQTT Version 3.1.1", chapter 3. QoS 2 is left out on purpose: Azure's fronts close the connection on it, so its
packets count as malformed here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class MalformedPacketError(Exception):
    """The bytes are not a packet of MQTT 3.1.1 without QoS 2: the connection must be closed [MQTT-4.8.0-1]."""


class UnsupportedProtocolLevelError(MalformedPacketError):
    """A CONNECT of another MQTT version: answer CONNACK 1, then close [MQTT-3.1.2-2]."""


class Kind(enum.IntEnum):
    """Packet types, the upper half of the first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Return(enum.IntEnum):
    """CONNACK return codes."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    UNAVAILABLE = 3
    BAD_CREDENTIALS = 4
    NOT_AUTHORIZED = 5


FAILURE = 0x80
"""SUBACK return code of a filter that was refused."""


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True)
class Connect:
    """`keep_alive` is in seconds, 0 for none. The password never shows in a repr."""

    client_id: str
    clean_session: bool = True
    keep_alive: int = 60
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None


@dataclass(frozen=True)
class Connack:
    session_present: bool
    code: Return


@dataclass(frozen=True)
class Publish:
    """`packet_id` is 1..65535 with QoS 1 and None with QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int | None = None
    dup: bool = False
    retain: bool = False


@dataclass(frozen=True)
class Puback:
    packet_id: int


@dataclass(frozen=True)
class Subscribe:
    """`filters` are (topic filter, requested QoS 0..2), at least one."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Suback:
    """One granted QoS or FAILURE for each filter, in their order."""

    packet_id: int
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Unsubscribe:
    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True)
class Unsuback:
    packet_id: int


@dataclass(frozen=True)
class Pingreq:
    pass


@dataclass(frozen=True)
class Pingresp:
    pass


@dataclass(frozen=True)
class Disconnect:
    pass


Packet = (
    Connect | Connack | Publish | Puback | Subscribe | Suback | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect
)
