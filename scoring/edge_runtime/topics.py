"""MQTT names of a module at its edge hub: user name, topics and the properties that topics carry.

Source: "Communicate with an IoT hub using the MQTT protocol" (learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub); the input
topic and the encoding are those of azure-iot-device's `mqtt_topic_iothub.py`. Identifiers are not encoded, properties are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from .settings import EdgeIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

    Properties = Mapping[str, str | None]
    """System properties begin with `$.`; None is a property without a value."""

MAX_TOPIC_BYTES = 65535

_API_VERSION = "2019-10-01"  # what azure-iot-device uses against edge hubs of every version
_CLIENT_TYPE = "aml-edge-runtime"


def client_id(identity: EdgeIdentity) -> str:
    return f"{identity.device}/{identity.module}"


def user_name(identity: EdgeIdentity) -> str:
    """Names the IoT hub, not the gateway."""
    query = f"api-version={_API_VERSION}&DeviceClientType={_CLIENT_TYPE}"
    return f"{identity.hub}/{identity.device}/{identity.module}/?{query}"


def input_filter(identity: EdgeIdentity) -> str:
    """All inputs: the edge hub knows no narrower subscription."""
    return f"{_inputs(identity)}#"


def parse_input(identity: EdgeIdentity, topic: str) -> tuple[str, dict[str, str | None]]:
    """The input's name and the message's properties. Raises ValueError for a topic that is not one of an input."""
    start = _inputs(identity)
    if not topic.startswith(start):
        raise ValueError(f"the topic {topic!r} is not one of an input")
    name, _, bag = topic[len(start) :].partition("/")
    return unquote(name), decode(bag)


def output_topic(identity: EdgeIdentity, output: str, properties: Properties) -> str:
    bag = encode({"$.on": output, **properties})
    return f"devices/{identity.device}/modules/{identity.module}/messages/events/{bag}"


def encode(properties: Properties) -> str:
    return "&".join(
        quote(key, safe="") if value is None else f"{quote(key, safe='')}={quote(value, safe='')}"
        for key, value in properties.items()
    )


def decode(bag: str) -> dict[str, str | None]:
    """Bytes that are not UTF-8 become replacement characters: a message must not be lost for them."""
    properties: dict[str, str | None] = {}
    for entry in filter(None, bag.strip("/").split("&")):
        key, equals, value = entry.partition("=")
        properties[unquote(key)] = unquote(value) if equals else None
    return properties


def _inputs(identity: EdgeIdentity) -> str:
    return f"devices/{identity.device}/modules/{identity.module}/inputs/"
