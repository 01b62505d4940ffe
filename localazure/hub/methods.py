"""Direct methods: requests to a connected client and the answers that come back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from localazure.hub.errors import HubError
from localazure.hub.hub import Invocation
from localazure.hub.strict_json import parse_json
from localazure.mqtt import NotSubscribedError, ProtocolViolationError, Session, SessionEndedError
from localazure.store import dump

MAX_PAYLOAD = 128 * 1024  # learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling


class Methods:
    def __init__(self) -> None:
        self._calls: dict[tuple[Session, str], asyncio.Future[tuple[int, Any]]] = {}

    @staticmethod
    def can_call(session: Session | None, call: Invocation) -> bool:
        return session is not None and session.granted(_topic(call, "0")) is not None

    async def invoke(self, session: Session | None, call: Invocation) -> tuple[int, Any]:
        """(status, payload) of the client's answer. Raises DeviceNotOnline (404) and GatewayTimeout (504)."""
        data = dump(call.payload).encode()
        if len(data) > MAX_PAYLOAD:
            raise HubError("GenericRequestEntityTooLarge", f"the payload is larger than {MAX_PAYLOAD} bytes")
        if session is None or not self.can_call(session, call):
            raise _offline()
        request = (session, uuid.uuid4().hex)
        answer = self._calls[request] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(call.response_seconds):
                await session.publish(_topic(call, request[1]), data)
                return await answer
        except TimeoutError:
            raise HubError("GatewayTimeout", "Timed out waiting for the response from device.") from None
        except (NotSubscribedError, SessionEndedError):
            raise _offline() from None
        finally:
            self._calls.pop(request, None)

    def answered(self, session: Session, status: str, parameters: Mapping[str, str], payload: bytes) -> None:
        """A client published an answer. Late and unknown ones are ignored."""
        try:
            code = int(status)
            document = parse_json(payload) if payload.strip() else None
        except (ValueError, HubError):
            raise ProtocolViolationError("the answer to a direct method is not a status with JSON") from None
        answer = self._calls.get((session, parameters.get("$rid", "")))
        if answer and not answer.done():
            answer.set_result((code, document))

    def forget(self, session: Session) -> None:
        """The client is gone: nobody will answer."""
        for (owner, _), answer in self._calls.items():
            if owner is session and not answer.done():
                answer.set_exception(SessionEndedError("the client went before it answered"))


def _topic(call: Invocation, request_id: str) -> str:
    return f"$iothub/methods/POST/{call.name}/?$rid={request_id}"


def _offline() -> HubError:
    return HubError(
        "DeviceNotOnline",
        "The operation failed because the requested device isn't online or hasn't registered the direct method callback.",
    )
