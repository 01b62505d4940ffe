"""What the edge hub passes on for a module or leaf device: its twin and its direct methods, between its session and the hub.

Topics: learn.microsoft.com, "Communicate with an IoT hub using the MQTT protocol". While the hub is away a twin request gets 503
(edgeHub answers from a cache instead) and method calls do not come in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from localazure.edge.uplink import Uplink
from localazure.mqtt import NotSubscribedError, ProtocolViolationError, Session, SessionEndedError

log = logging.getLogger("localazure.edge.hub")

_TWIN_RESULTS = "$iothub/twin/res/#"
_DESIRED = "$iothub/twin/PATCH/properties/desired/#"
_METHODS = "$iothub/methods/POST/#"
_GET = "$iothub/twin/GET/"
_REPORT = "$iothub/twin/PATCH/properties/reported/"
_METHOD_RESULT = "$iothub/methods/res/"


class DeviceProxy:
    """For one session."""

    FILTERS = frozenset({_TWIN_RESULTS, _DESIRED, _METHODS})

    def __init__(self, session: Session, link: Uplink) -> None:
        self._session = session
        self._link = link
        self._tasks: set[asyncio.Task[None]] = set()

    async def handles(self, topic: str, payload: bytes) -> bool:
        """True if the topic is one of ours; the answer comes later, so that messages behind it need not wait."""
        path, _, query = topic.partition("?")
        request = parse_qs(query).get("$rid", [""])[0]
        if path == _GET:
            self._spawn(self._twin(request))
        elif path == _REPORT:
            self._spawn(self._report(request, payload))
        elif path.startswith(_METHOD_RESULT):
            status = path.removeprefix(_METHOD_RESULT).strip("/")
            if not status.lstrip("-").isdigit():
                raise ProtocolViolationError(f"{self._session.client_id} answered a method without a status: {topic!r}")
            self._spawn(self._link.answer_method(request, int(status), _json(payload)))
        else:
            return False
        return True

    async def subscribed(self, filters: Mapping[str, int]) -> None:
        if _DESIRED in filters:
            self._spawn(self._link.follow_desired(self._desired_came))
        if _METHODS in filters:
            self._spawn(self._link.serve_methods(self._method_came))

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.follow_desired(None)
        await self._link.serve_methods(None)

    async def _twin(self, request: str) -> None:
        try:
            twin = await self._link.twin()
        except Exception as error:
            log.warning(
                "the twin of %s could not be read: %s: %s", self._session.client_id, type(error).__name__, error
            )
            await self._answer(f"$iothub/twin/res/503/?$rid={request}", b"")
            return
        await self._answer(f"$iothub/twin/res/200/?$rid={request}", json.dumps(twin).encode())

    async def _report(self, request: str, payload: bytes) -> None:
        patch = _json(payload)
        if not isinstance(patch, dict):
            await self._answer(f"$iothub/twin/res/400/?$rid={request}", b"")
            return
        try:
            await self._link.report(patch)
            version = (await self._link.twin())["reported"].get("$version", 0)
        except Exception as error:
            log.warning("%s could not report: %s: %s", self._session.client_id, type(error).__name__, error)
            await self._answer(f"$iothub/twin/res/503/?$rid={request}", b"")
            return
        await self._answer(f"$iothub/twin/res/204/?$rid={request}&$version={version}", b"")

    def _desired_came(self, patch: dict[str, Any]) -> None:
        topic = f"$iothub/twin/PATCH/properties/desired/?$version={patch.get('$version', 0)}"
        self._spawn(self._answer(topic, json.dumps(patch).encode()))

    def _method_came(self, request: str, name: str, payload: Any) -> None:
        self._spawn(self._answer(f"$iothub/methods/POST/{name}/?$rid={request}", json.dumps(payload).encode()))

    async def _answer(self, topic: str, payload: bytes) -> None:
        with contextlib.suppress(NotSubscribedError, SessionEndedError):
            await self._session.publish(topic, payload, qos=0)

    def _spawn(self, work: Any) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                log.warning("for %s: %s: %s", self._session.client_id, type(error).__name__, error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload.strip() else None
    except ValueError:
        return None
