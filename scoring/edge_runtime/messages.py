"""What a message becomes: the request to the scoring server, and the output made from its answer. No input or output here."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .settings import EdgeIdentity, Settings
from .topics import MAX_TOPIC_BYTES, output_topic

if TYPE_CHECKING:
    from .topics import Properties

MAX_OUTPUT_BYTES = 256 * 1024  # IoT Hub's limit for a message with its properties
_MAX_HEADER = 100  # the inference server answers 431 to longer ids
_MAX_REASON = 1000
_JSON = "application/json"
_BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Message:
    """As it came in on an input."""

    input: str
    body: bytes
    properties: Properties

    @property
    def id(self) -> str | None:
        return self.properties.get("$.mid")

    @property
    def label(self) -> str:
        """For the log."""
        return f"message {self.id!r}" if self.id else "a message without id"


@dataclass(frozen=True)
class Answer:
    """Of the scoring server."""

    status: int
    body: bytes
    content_type: str
    reason: str = ""
    """The exception of the script, where the server told it (`reasons`)."""

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Output:
    topic: str
    body: bytes


def request_headers(message: Message) -> dict[str, str]:
    """The body goes as it is, with the content type that the message names, else JSON if it is that, else bytes."""
    named = message.properties.get("$.ct") or ""
    kind = named if re.fullmatch(r"[\x21-\x7e][\x20-\x7e]*", named) else (_JSON if _is_json(message.body) else _BYTES)
    charset = (message.properties.get("$.ce") or "").lower()
    if charset in {"utf-8", "utf-16", "utf-32"} and "charset" not in kind.lower():
        kind = f"{kind}; charset={charset}"
    headers = {"Content-Type": kind}
    if message.id and re.fullmatch(rf"[\x21-\x7e]{{1,{_MAX_HEADER}}}", message.id):
        headers["x-ms-client-request-id"] = message.id
    return headers


def output_of(message: Message, answer: Answer, settings: Settings, identity: EdgeIdentity) -> Output:
    """The score, or what is said on the error output when there is none or the IoT hub would not take it."""
    if not answer.accepted:
        return _error(message, answer.status, reason_of(answer), settings, identity)
    kind, _, parameters = answer.content_type.partition(";")
    kind = kind.strip() or _BYTES
    charset = re.search(r"charset=\"?([\w.-]+)", parameters, re.IGNORECASE)
    encoding = charset.group(1) if charset else ("utf-8" if kind == _JSON else None)
    output = _output(message, settings.output, answer.body, kind, encoding, identity, carry=True)
    if output is None:
        reason = f"the score of {len(answer.body)} bytes with its properties is more than IoT Hub takes ({MAX_OUTPUT_BYTES} bytes)"
        return _error(message, 413, reason, settings, identity)
    return output


def reason_of(answer: Answer) -> str:
    """The script's exception; else what the inference server says, `{"message": ...}`; other text is cut."""
    if answer.reason:
        return answer.reason[:_MAX_REASON]
    text = answer.body.decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and isinstance(said.get("message"), str):
        text = said["message"]
    return text[:_MAX_REASON] or f"status {answer.status} without a text"


def _error(message: Message, status: int, reason: str, settings: Settings, identity: EdgeIdentity) -> Output:
    content = {"messageId": message.id, "input": message.input, "status": status, "reason": reason}
    body = json.dumps(content, ensure_ascii=False).encode()
    for carry in (True, False):
        output = _output(message, settings.error_output, body, _JSON, "utf-8", identity, carry=carry)
        if output:
            return output
    raise AssertionError("an error message without the input's properties is small")


def _output(
    message: Message, name: str, body: bytes, kind: str, encoding: str | None, identity: EdgeIdentity, *, carry: bool
) -> Output | None:
    """None if it is too large. The input's own system properties stay behind: they say where it came from and went to."""
    properties: dict[str, str | None] = {"$.mid": _message_id(message, name, identity)}
    if message.id:
        properties["$.cid"] = message.id
    properties["$.ct"] = kind
    if encoding:
        properties["$.ce"] = encoding
    if carry:
        properties |= {key: value for key, value in message.properties.items() if key and not key.startswith("$.")}
    topic = output_topic(identity, name, properties)
    size = len(body) + sum(len(key.encode()) + len((value or "").encode()) for key, value in properties.items())
    if size > MAX_OUTPUT_BYTES or len(topic.encode()) > MAX_TOPIC_BYTES:
        return None
    return Output(topic, body)


def _message_id(message: Message, output: str, identity: EdgeIdentity) -> str:
    """Ids are unique only within their sender, so the sender is part of what is hashed."""
    if not message.id:
        return str(uuid.uuid4())
    sender = [message.properties.get("$.cdid") or "", message.properties.get("$.cmid") or ""]
    parts = [identity.hub, identity.device, identity.module, output, message.input, *sender, message.id]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts)))


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):  # ValueError covers bytes that are no text
        return False
    return True
