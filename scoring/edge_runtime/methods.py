"""The direct method `score`: a reading in, its score back, for callers on the service's side of the hub.

It is how a deployment is probed: no other way leads from the service to a module of a device that opens no port. The payload is what a
message's body would be; the answer is the scoring server's, with its status. Source of the topics: "Understand and invoke direct methods
from IoT Hub", section MQTT.
"""

from __future__ import annotations

import json
import re

from .messages import Answer, Message, Output, reason_of

FILTER = "$iothub/methods/POST/#"
NAME = "score"
MAX_PAYLOAD_BYTES = 128 * 1024  # IoT Hub's limit for a method's payload

_CALL = re.compile(r"\$iothub/methods/POST/(?P<name>[^/]+)/\?\$rid=(?P<request>[^&]+)")


def call(topic: str) -> tuple[str, str] | None:
    """Name and request id of a call; None for a topic that is no call."""
    match = _CALL.match(topic)
    return (match["name"], match["request"]) if match else None


def message(body: bytes) -> Message:
    """As it would come in on an input."""
    return Message("", body, {"$.ct": "application/json", "$.ce": "utf-8"})


def result(request: str, answer: Answer) -> Output:
    """What the caller gets: JSON as it is, other text as a string; of a failure `{"message": reason}`."""
    if not answer.accepted:
        return _result(request, answer.status, json.dumps({"message": reason_of(answer)}).encode())
    body = answer.body
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        body = json.dumps(body.decode("utf-8", "replace")).encode()
    if len(body) > MAX_PAYLOAD_BYTES:
        text = f"the score of {len(body)} bytes is more than a direct method may answer ({MAX_PAYLOAD_BYTES} bytes)"
        return _result(request, 413, json.dumps({"message": text}).encode())
    return _result(request, answer.status, body)


def unknown(request: str, name: str) -> Output:
    return _result(request, 404, json.dumps({"message": f"there is no method {name}; there is {NAME}"}).encode())


def _result(request: str, status: int, body: bytes) -> Output:
    return Output(f"$iothub/methods/res/{status}/?$rid={request}", body)
