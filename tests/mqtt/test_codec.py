"""The codec: whatever comes in is a packet or MalformedPacketError, and packets survive the way out and in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localazure.mqtt.decoding import Decoder, decode
from localazure.mqtt.encoding import encode
from localazure.mqtt.packets import (
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
    Will,
)
from localazure.mqtt.topics import check_filter, check_topic, matches

LIMIT = 300_000

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
topics = text.filter(lambda value: value and not set(value) & {"+", "#"})
levels = st.one_of(st.just("+"), topics.map(lambda value: value.replace("/", "")))
filters = st.builds(
    lambda parts, tail: "/".join([*parts, *tail]),
    st.lists(levels, min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
ids = st.integers(1, 0xFFFF)
blobs = st.binary(max_size=200)
wills = st.builds(Will, topics, blobs, st.integers(0, 2), st.booleans())


@st.composite
def connects(draw: st.DrawFn) -> Connect:
    username = draw(st.none() | text)
    return Connect(
        client_id=draw(text),
        clean_session=draw(st.booleans()),
        keep_alive=draw(st.integers(0, 0xFFFF)),
        username=username,
        password=None if username is None else draw(st.none() | blobs),
        will=draw(st.none() | wills),
    )


packets: st.SearchStrategy[Packet] = st.one_of(
    connects(),
    st.builds(Connack, st.just(False), st.sampled_from(Return)),
    st.builds(Publish, topics, blobs, st.just(0), st.none(), st.just(False), st.booleans()),
    st.builds(Publish, topics, blobs, st.just(1), ids, st.booleans(), st.booleans()),
    st.builds(Puback, ids),
    st.builds(Subscribe, ids, st.lists(st.tuples(filters, st.integers(0, 2)), min_size=1, max_size=4).map(tuple)),
    st.builds(Suback, ids, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=4).map(tuple)),
    st.builds(Unsubscribe, ids, st.lists(filters, min_size=1, max_size=4).map(tuple)),
    st.builds(Unsuback, ids),
    st.sampled_from([Pingreq(), Pingresp(), Disconnect()]),
)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(packets, max_size=5), st.integers(1, 50))
def test_round_trip_in_portions_of_any_size(sent: list[Packet], portion: int) -> None:
    data = b"".join(map(encode, sent))
    decoder = Decoder(LIMIT)
    got = [packet for at in range(0, len(data), portion) for packet in decoder.feed(data[at : at + portion])]
    assert got == sent


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=300))
def test_noise_is_a_packet_or_malformed(data: bytes) -> None:
    _decodes_or_is_malformed(data)


@settings(deadline=None)  # the machine may be busy
@given(packets, st.data())
def test_damaged_packets_are_a_packet_or_malformed(packet: Packet, data: st.DataObject) -> None:
    damaged = bytearray(encode(packet))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    _decodes_or_is_malformed(bytes(damaged))


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 255), st.binary(max_size=100))
def test_any_body_is_a_packet_or_malformed(first: int, body: bytes) -> None:
    try:
        packet = decode(first, body)
    except MalformedPacketError:
        return
    assert decode(*_split(encode(packet))) == packet


def _decodes_or_is_malformed(data: bytes) -> None:
    try:
        decoded = Decoder(LIMIT).feed(data)
    except MalformedPacketError:
        return
    for packet in decoded:
        assert decode(*_split(encode(packet))) == packet


def _split(data: bytes) -> tuple[int, bytes]:
    at = 1
    while data[at] & 0x80:
        at += 1
    return data[0], data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x30\xff\xff\xff\xff\x01", "four bytes"),
        (b"\x30\xe1\xa7\x12", "larger than the limit"),  # 300,001, refused before its body comes
        (b"\x00\x00", "reserved"),
        (b"\xf0\x00", "reserved"),
        (b"\x50\x02\x00\x01", "QoS 2"),  # PUBREC
        (b"\x34\x06\x00\x01a\x00\x01x", "QoS 0 and 1 only"),
        (b"\x38\x03\x00\x01a", "DUP"),
        (b"\x30\x02\x00\x00", "empty"),
        (b"\x30\x03\x00\x01#", "wildcard"),
        (b"\x30\x03\x00\x01\x00", r"U\+0000"),
        (b"\x30\x05\x00\x03\xed\xa0\x80", "not UTF-8"),  # a surrogate
        (b"\x30\x04\x00\x09ab", "too early"),
        (b"\x32\x05\x00\x01a\x00\x00", "identifier 0"),
        (b"\x80\x06\x00\x01\x00\x01a\x00", "flags"),
        (b"\x82\x02\x00\x01", "without a filter"),
        (b"\x82\x06\x00\x01\x00\x01a\x03", "QoS byte"),
        (b"\x82\x07\x00\x01\x00\x02a#\x00", "not alone"),
        (b"\xa2\x02\x00\x01", "without a filter"),
        (b"\x40\x03\x00\x01\x00", "too many"),
        (b"\xc1\x00", "flags"),
        (b"\xe0\x01\x00", "too many"),
        (b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x00\x00\x00", "protocol name"),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", "CONNECT flags"),  # reserved bit
        (b"\x10\x0c\x00\x04MQTT\x04\x42\x00\x00\x00\x00", "CONNECT flags"),  # password without user name
        (b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x00\x00\x00", "CONNECT flags"),  # retained will without a will
    ],
)
def test_malformed(data: bytes, why: str) -> None:
    with pytest.raises(MalformedPacketError, match=why):
        Decoder(LIMIT).feed(data)


def test_other_versions_are_told_apart() -> None:
    with pytest.raises(UnsupportedProtocolLevelError, match="level 5"):
        Decoder(LIMIT).feed(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00")


def test_the_limit_itself_passes() -> None:
    largest = Publish("t", b"x" * (LIMIT - 3))
    assert Decoder(LIMIT).feed(encode(largest)) == [largest]


@pytest.mark.parametrize(
    "packet",
    [
        Publish("", b""),
        Publish("a/+", b""),
        Publish("a\0", b""),
        Publish("a", b"", qos=2, packet_id=1),
        Publish("a", b"", qos=1),
        Publish("x" * 65536, b""),
        Publish("\ud800", b""),
        Puback(0),
        Connect("c", password=b"p"),
    ],
)
def test_what_cannot_be_encoded(packet: Packet) -> None:
    with pytest.raises(ValueError):
        encode(packet)


def test_the_password_does_not_show() -> None:
    assert "secret" not in repr(Connect("c", username="u", password=b"secret"))


@pytest.mark.parametrize(
    ("name", "topic", "taken"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$iothub/twin", False),
        ("+/twin", "$iothub/twin", False),
        ("$iothub/#", "$iothub/twin", True),
        ("/+", "/a", True),
        ("A", "a", False),
    ],
)
def test_matches(name: str, topic: str, taken: bool) -> None:
    assert matches(name, topic) is taken


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=20))
def test_topic_checks_raise_value_error_only(value: str) -> None:
    for check in (check_topic, check_filter):
        try:
            check(value)
        except ValueError:
            continue
