"""Device-to-cloud messages as MQTT carries them: system and application properties are in the topic.

Source: learn.microsoft.com, "Communicate with an IoT hub using the MQTT protocol" (`$.mid`, `$.cid`, `$.ct`, `$.ce`, `$.uid`, `$.on`,
`$.cdid`, `$.cmid`, ...) and azure-iot-device `mqtt_topic_iothub.py` (percent-encoding of keys and values).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote

MAX_SIZE = 262144
"""Bytes of body and properties, the limit of IoT Hub and edgeHub."""

SYSTEM_NAMES = {
    "$.mid": "messageId",
    "$.cid": "correlationId",
    "$.uid": "userId",
    "$.to": "to",
    "$.ct": "contentType",
    "$.ce": "contentEncoding",
    "$.on": "outputName",
    "$.cdid": "connectionDeviceId",
    "$.cmid": "connectionModuleId",
    "$.exp": "expiryTimeUtc",
    "$.ctime": "creationTimeUtc",
    "$.ifid": "interfaceId",
}
"""Key in the topic to the name that routes use."""
_TOPIC_KEYS = {name: key for key, name in SYSTEM_NAMES.items()}


@dataclass(frozen=True)
class Message:
    """`system` and `properties` as SYSTEM_NAMES names them; what the sender claims to be never counts."""

    device_id: str
    module_id: str | None
    body: bytes = field(repr=False)
    system: dict[str, str]
    properties: dict[str, str]

    @property
    def sender(self) -> str:
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    @property
    def source(self) -> str:
        """The path that a route's FROM is matched with."""
        if self.module_id is None:
            return "/messages/events"
        output = self.system.get("outputName")
        return f"/messages/modules/{self.module_id}" + (f"/outputs/{output}" if output else "")

    @property
    def size(self) -> int:
        return len(self.body) + sum(len(k) + len(v) for k, v in [*self.system.items(), *self.properties.items()])


def events_topic(client_id: str) -> str:
    """The beginning of the topic on which a device (`d`) or module (`d/m`) publishes."""
    device, _, module = client_id.partition("/")
    return f"devices/{device}/{f'modules/{module}/' if module else ''}messages/events/"


def inputs_filter(device_id: str, module_id: str) -> str:
    return f"devices/{device_id}/modules/{module_id}/inputs/#"


def read(client_id: str, topic: str, body: bytes) -> Message | None:
    """The message on a client's events topic; None for any other topic."""
    start = events_topic(client_id)
    if not topic.startswith(start) and topic != start[:-1]:
        return None
    system: dict[str, str] = {}
    properties: dict[str, str] = {}
    for pair in topic[len(start) :].rstrip("/").split("&"):
        key, _, value = pair.partition("=")
        key = unquote(key)
        if key in SYSTEM_NAMES:
            system[SYSTEM_NAMES[key]] = unquote(value)
        elif key:
            properties[key] = unquote(value)
    device, _, module = client_id.partition("/")
    system["connectionDeviceId"] = device
    system.pop("connectionModuleId", None)
    if module:
        system["connectionModuleId"] = module
    return Message(device, module or None, body, system, properties)


def input_topic(device_id: str, module_id: str, input_name: str, message: Message) -> str:
    """The topic on which a module gets the message at one of its inputs."""
    pairs = [(_TOPIC_KEYS[name], value) for name, value in message.system.items() if name != "outputName"]
    pairs += list(message.properties.items())
    encoded = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    return f"devices/{device_id}/modules/{module_id}/inputs/{input_name}/{encoded}"
