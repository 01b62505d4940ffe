"""MQTT for all hubs of an instance: the handler of one `MqttServer`.

The dialect is that of learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub: user name `{host}/{device}[/{module}]/?api-version=...`,
a shared access signature as password, `$iothub/twin`, `$iothub/methods` and `devices/...` topics. A hub is not a broker: clients never
reach each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from localazure.hub import access
from localazure.hub.errors import HubError
from localazure.hub.hub import Hub, Invocation
from localazure.hub.identities import Key
from localazure.hub.messages import MAX_BYTES
from localazure.hub.methods import Methods
from localazure.hub.strict_json import parse_json
from localazure.hub.twins import DesiredChange
from localazure.mqtt import (
    Connect,
    MqttServer,
    NotSubscribedError,
    ProtocolViolationError,
    Session,
    SessionEndedError,
)
from localazure.store import dump

log = logging.getLogger("localazure.hub")

_USER = re.compile(r"([^/]+)/([^/]+)(?:/([^/]+))?/\?(.+)")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_EVENTS = re.compile(r"devices/([^/]+)(?:/modules/([^/]+))?/messages/events/(.*)", re.DOTALL)
_TWIN_GET = "$iothub/twin/GET/"
_TWIN_REPORT = "$iothub/twin/PATCH/properties/reported/"
_METHOD_ANSWER = "$iothub/methods/res/"
_DESIRED = "$iothub/twin/PATCH/properties/desired/"
_MAX_WAITING = 100


@dataclass(frozen=True)
class Client:
    """The identity of a session."""

    hub: str
    key: Key
    expiry: int = field(compare=False)
    """When its token expires and the connection with it, in seconds since 1970."""

    password: bytes = field(compare=False, repr=False)


class Front:
    """`find_hub` gives the hub with that host name. Implements `localazure.mqtt.Handler` and `localazure.hub.hub.Connections`."""

    def __init__(self, find_hub: Callable[[str], Hub | None], hub_named: Callable[[str], Hub | None]) -> None:
        self._find_hub = find_hub
        self._hub_named = hub_named
        self._methods = Methods()
        self._timers: dict[Session, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: Counter[Session] = Counter()
        self._subscribed = asyncio.Event()
        self.server: MqttServer | None = None
        """Set by the service once it exists."""

    # What the MQTT server asks.

    async def authenticate(self, connect: Connect) -> Hashable | None:
        match = _USER.fullmatch(connect.username or "")
        if match is None:
            log.info("client %r refused: the user name is not host/device[/module]/?api-version=...", connect.client_id)
            return None
        host, key = match[1], Key(match[2], match[3] or "")
        hub = self._find_hub(host)
        version = dict(parse_qsl(match[4])).get("api-version", "")
        client_id = "/".join(part for part in key if part)
        if hub is None or client_id != connect.client_id or not _VERSION.fullmatch(version):
            log.info("client %r refused: unknown hub %s, another client id, or no api-version", connect.client_id, host)
            return None
        expiry = access.connecting(hub, key, connect.password or b"")
        return None if expiry is None else Client(hub.name, key, expiry, connect.password or b"")

    def stored_subscriptions(self, session: Session) -> Mapping[str, int] | None:
        hub, key = self._who(session)
        return hub.identities.subscriptions(key)

    def store_subscriptions(self, session: Session, subscriptions: Mapping[str, int] | None) -> None:
        hub, key = self._who(session)
        hub.identities.keep_subscriptions(key, None if subscriptions is None else dict(subscriptions))

    def allowed_filter(self, session: Session, filter_: str) -> bool:
        _, key = self._who(session)
        return filter_ in {
            "$iothub/twin/res/#",
            "$iothub/twin/PATCH/properties/desired/#",
            "$iothub/methods/POST/#",
            f"{key.path}/messages/devicebound/#",
            *((f"{key.path}/inputs/#", f"{key.path}/#") if key.module_id else ()),
        }

    async def on_connected(self, session: Session) -> None:
        hub, key = self._who(session)
        client = session.identity
        assert isinstance(client, Client)
        hub.identities.touch(key, connection=True)
        delay = client.expiry - time.time()
        self._timers[session] = asyncio.get_running_loop().call_later(delay, session.close, "its token has expired")
        log.info("%s: %s connected", hub.name, key.path)

    async def on_subscribed(self, session: Session, filters: Mapping[str, int]) -> None:
        """A hub sends nothing on a subscription: clients ask for the twin. A direct method may be waiting for it, though."""
        self._subscribed.set()
        self._subscribed = asyncio.Event()

    async def on_disconnected(self, session: Session) -> None:
        timer = self._timers.pop(session, None)
        if timer:
            timer.cancel()
        self._methods.forget(session)
        self._waiting.pop(session, None)
        client = session.identity
        assert isinstance(client, Client)
        hub = self._hub_named(client.hub)
        if hub:
            hub.identities.touch(client.key, connection=True)

    async def on_publish(self, session: Session, topic: str, payload: bytes, qos: int) -> None:
        path, _, query = topic.partition("?")
        parameters = dict(parse_qsl(query))
        if path in (_TWIN_GET, _TWIN_REPORT) and self._who(session)[0].plan.basic:
            raise ProtocolViolationError("the Basic tier has no twins")  # it cuts the connection
        if path == _TWIN_GET:
            await self._twin_get(session, parameters)
        elif path == _TWIN_REPORT:
            await self._twin_report(session, parameters, payload)
        elif path.startswith(_METHOD_ANSWER):
            self._methods.answered(session, path.removeprefix(_METHOD_ANSWER).rstrip("/"), parameters, payload)
        else:
            self._event(session, topic, payload)

    async def _twin_get(self, session: Session, parameters: Mapping[str, str]) -> None:
        hub, key = self._who(session)
        twin = hub.twins.get(key)
        document = {"desired": twin.desired.wire(metadata=False), "reported": twin.reported.wire(metadata=False)}
        await self._answer(session, 200, parameters, dump(document).encode())

    async def _twin_report(self, session: Session, parameters: Mapping[str, str], payload: bytes) -> None:
        hub, key = self._who(session)
        try:
            patch = parse_json(payload)
            if not isinstance(patch, dict):
                raise HubError("ArgumentInvalid", "reported properties are not an object")
            version = hub.report(key, patch)
        except HubError as error:
            await self._answer(session, error.status, parameters, dump(error.body()).encode())
            return
        await self._answer(session, 204, parameters, b"", f"&$version={version}")

    async def _answer(
        self, session: Session, status: int, parameters: Mapping[str, str], payload: bytes, more: str = ""
    ) -> None:
        request_id = parameters.get("$rid", "")
        if not request_id or len(request_id) > 128 or set(request_id) & set("+#/\0"):
            raise ProtocolViolationError("a twin request has no usable $rid")
        try:
            await session.publish(f"$iothub/twin/res/{status}/?$rid={request_id}{more}", payload, qos=0)
        except NotSubscribedError:
            log.debug("%s asked for its twin without a subscription to the answers", session.client_id)

    def _event(self, session: Session, topic: str, payload: bytes) -> None:
        hub, key = self._who(session)
        match = _EVENTS.fullmatch(topic)
        if match is None or Key(match[1], match[2] or "") != key:
            raise ProtocolViolationError(f"{key.path} must not publish to {topic[:200]}")
        if len(payload) + len(match[3].encode()) > MAX_BYTES:
            raise ProtocolViolationError(f"a message of {key.path} is larger than {MAX_BYTES} bytes")
        hub.receive(key, match[3], payload)

    # What a hub asks.

    def connected(self, hub: Hub, key: Key) -> bool:
        return self._session(hub, key) is not None

    def push(self, hub: Hub, change: DesiredChange) -> None:
        session = self._session(hub, Key(*change.key))
        topic = f"{_DESIRED}?$version={change.patch['$version']}"
        if session is None or session.granted(topic) is None:
            return
        if self._waiting[session] >= _MAX_WAITING:
            session.close("it does not acknowledge desired properties")  # it asks for the whole twin when it is back
            return
        self._waiting[session] += 1
        task = asyncio.create_task(self._deliver(session, topic, dump(change.patch).encode()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, session: Session, topic: str, payload: bytes) -> None:
        try:
            await session.publish(topic, payload)
        except (NotSubscribedError, SessionEndedError) as error:
            log.info("a desired patch was not delivered: %s", error)
        finally:
            if session in self._waiting:
                self._waiting[session] -= 1

    def disconnect(self, hub: Hub, key: Key, reason: str) -> None:
        for session in self.server.sessions if self.server else []:
            client = session.identity
            assert isinstance(client, Client)
            if client.hub != hub.name or client.key.device_id != key.device_id:
                continue
            if not key.module_id or client.key == key:
                session.close(reason)

    def disconnect_strangers(self, hub: Hub, key: Key, reason: str) -> None:
        session = self._session(hub, key)
        client = session.identity if session else None
        if session and isinstance(client, Client) and access.connecting(hub, key, client.password) is None:
            session.close(reason)

    async def invoke(self, hub: Hub, key: Key, call: Invocation) -> tuple[int, Any]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(call.connect_seconds):
                while not self._methods.can_call(self._session(hub, key), call):
                    await self._subscribed.wait()
        return await self._methods.invoke(self._session(hub, key), call)

    def _session(self, hub: Hub, key: Key) -> Session | None:
        return self.server.session(Client(hub.name, key, 0, b"")) if self.server else None

    def _who(self, session: Session) -> tuple[Hub, Key]:
        client = session.identity
        assert isinstance(client, Client)
        hub = self._hub_named(client.hub)
        if hub is None or hub.identities.find(client.key) is None:
            raise ProtocolViolationError("its hub or identity was deleted")
        return hub, client.key
