"""The edge hub: MQTT for modules and leaf devices, routes between them and the hub, at least once.

A handler of `localazure.mqtt`. A sender is acknowledged after its message is in the outbox; a message leaves the outbox with its
receiver's acknowledgement, else it is sent again: after 30 s (edgeHub's MessageAckTimeoutSecs), or in the next session, or after a restart.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from typing import Any

from localazure import certs
from localazure.edge import sas
from localazure.edge.book import IdentityBook
from localazure.edge.config import DeviceConfig
from localazure.edge.identities import Identity
from localazure.edge.memory import Memory
from localazure.edge.messages import MAX_SIZE, Message, input_topic, inputs_filter, read
from localazure.edge.outbox import Delivery, Outbox, Stored
from localazure.edge.proxy import DeviceProxy
from localazure.edge.reported import utc
from localazure.edge.routes import HubConfig
from localazure.edge.uplink import Uplinks
from localazure.mqtt import (
    Connect,
    Limits,
    MqttServer,
    NotSubscribedError,
    ProtocolViolationError,
    Session,
    SessionEndedError,
)

log = logging.getLogger("localazure.edge.hub")

PORT = 8883
WINDOW = 10
"""Unacknowledged messages a module may have: edgeHub's IotHubClient.MaxPendingOutboundMessages."""
ACK_SECONDS = 30
_EXPIRY_SECONDS = 60


class EdgeHub:
    """`use(config)` sets the routes and comes before `start`: without routes nobody knows where a message should go."""

    def __init__(
        self, config: DeviceConfig, memory: Memory, book: IdentityBook, outbox: Outbox, uplinks: Uplinks
    ) -> None:
        self._config = config
        self._memory = memory
        self._book = book
        self._outbox = outbox
        self._uplinks = uplinks
        self._hub: HubConfig | None = None
        self._wakes: dict[str, asyncio.Event] = {}
        self._pumps: dict[Session, asyncio.Task[None]] = {}
        self._proxies: dict[Session, DeviceProxy] = {}
        self._server: MqttServer | None = None
        self._housekeeping: asyncio.Task[None] | None = None
        self.clients: dict[str, dict[str, str]] = {}
        """What `$edgeHub` reports as `clients`: status and times by client id."""
        self.clients_changed = asyncio.Event()

    def use(self, config: HubConfig) -> None:
        self._hub = config
        log.info("%d route(s): %s", len(config.routes), ", ".join(route.name for route in config.routes) or "none")

    async def start(self) -> None:
        """Returns once port 8883 of the device's gateway answers. Raises OSError when it is taken or the address is not there."""
        context = certs.server_context(self._config.certificate, self._config.certificate_key)
        self._server = MqttServer(self, self._config.gateway, PORT, context, Limits(in_flight=WINDOW))
        await self._server.start()
        self._housekeeping = asyncio.create_task(self._expire())
        self._book.on_change.append(self._drop_unknown)

    async def stop(self) -> None:
        if self._housekeeping:
            self._housekeeping.cancel()
        if self._server:
            await self._server.stop()

    # What the MQTT server asks

    async def authenticate(self, connect: Connect) -> Hashable | None:
        client_id = connect.client_id
        name, _, query = (connect.username or "").partition("/?")
        if name.rstrip("/") != f"{self._config.iothub_hostname}/{client_id}" or "api-version=" not in query:
            log.info("%s refused: the user name must be <hub>/<client id>/?api-version=...", client_id)
            return None
        refusal = self._refusal(client_id, connect)
        if refusal and await self._book.try_refresh():
            refusal = self._refusal(client_id, connect)
        if refusal:
            log.info("%s refused: %s", client_id, refusal)
            return None
        return client_id

    def stored_subscriptions(self, session: Session) -> Mapping[str, int] | None:
        return self._memory.subscriptions(session.client_id)

    def store_subscriptions(self, session: Session, subscriptions: Mapping[str, int] | None) -> None:
        self._memory.set_subscriptions(session.client_id, None if subscriptions is None else dict(subscriptions))

    def allowed_filter(self, session: Session, filter_: str) -> bool:
        device, _, module = session.client_id.partition("/")
        return filter_ in DeviceProxy.FILTERS or bool(module and filter_ == inputs_filter(device, module))

    async def on_publish(self, session: Session, topic: str, payload: bytes, qos: int) -> None:
        if await self._proxy(session).handles(topic, payload):
            return
        message = read(session.client_id, topic, payload)
        if message is None:
            raise ProtocolViolationError(f"{session.client_id} may not publish to {topic[:200]!r}")
        if message.size > MAX_SIZE:
            raise ProtocolViolationError(
                f"a message of {session.client_id} has {message.size} bytes, more than {MAX_SIZE}"
            )
        self.route(message)

    async def on_subscribed(self, session: Session, filters: Mapping[str, int]) -> None:
        device, _, module = session.client_id.partition("/")
        if module and inputs_filter(device, module) in filters:
            if session not in self._pumps:
                self._pumps[session] = asyncio.create_task(self._pump(session, module))
            self._wake(module).set()
        await self._proxy(session).subscribed(filters)

    async def on_connected(self, session: Session) -> None:
        log.info("%s connected", session.client_id)
        self._note(session.client_id, "Connected", "lastConnectedTimeUtc")

    async def on_disconnected(self, session: Session) -> None:
        await self._end_pump(session)
        proxy = self._proxies.pop(session, None)
        if proxy:
            await proxy.stop()
        log.info("%s disconnected: %s", session.client_id, session.end_reason)
        self._note(session.client_id, "Disconnected", "lastDisconnectedTimeUtc")

    # Routing

    def route(self, message: Message) -> None:
        """Into the outbox once for each endpoint that a route leads to; without a route the message is dropped, as edgeHub does."""
        assert self._hub
        best: dict[Any, Delivery] = {}
        for route in self._hub.routes:
            if not route.takes(message.source, message):
                continue
            lifetime = route.time_to_live if route.time_to_live is not None else self._hub.time_to_live
            delivery = Delivery(route.endpoint, route.priority, lifetime if lifetime >= 0 else 10**9)
            known = best.get(route.endpoint)
            if known is None or (delivery.priority, -delivery.time_to_live) < (known.priority, -known.time_to_live):
                best[route.endpoint] = delivery
        if not best:
            log.info("no route takes a message from %s: dropped", message.source)
            return
        self._outbox.put(message, best.values())
        for endpoint in best:
            if endpoint.upstream:
                self._uplinks.wake(message.sender)
            else:
                self._wake(endpoint.module).set()

    # Delivery to modules

    async def _pump(self, session: Session, module: str) -> None:
        """Keeps up to a window of messages under way to one module, in order."""
        under_way: dict[int, asyncio.Task[None]] = {}
        wake = self._wake(module)
        device = session.client_id.partition("/")[0]
        try:
            while session.alive:
                wake.clear()
                subscribed = inputs_filter(device, module) in session.subscriptions
                room = WINDOW - len(under_way) if subscribed else 0
                for stored in self._outbox.for_module(module, room, under_way):
                    task = asyncio.create_task(self._deliver(session, stored))
                    under_way[stored.id] = task
                    task.add_done_callback(functools.partial(self._delivered, under_way, wake, stored.id))
                await wake.wait()
        finally:
            for task in list(under_way.values()):
                task.cancel()

    @staticmethod
    def _delivered(
        under_way: dict[int, asyncio.Task[None]], wake: asyncio.Event, id_: int, task: asyncio.Task[None]
    ) -> None:
        under_way.pop(id_, None)
        if not task.cancelled() and task.exception():
            log.error("delivering message %d failed, trying again", id_, exc_info=task.exception())
        wake.set()

    async def _deliver(self, session: Session, stored: Stored) -> None:
        device, _, module = session.client_id.partition("/")
        topic = input_topic(device, module, stored.endpoint.input, stored.message)
        while True:
            try:
                async with asyncio.timeout(ACK_SECONDS):
                    await session.publish(topic, stored.message.body, qos=1)
            except TimeoutError:
                log.warning(
                    "%s did not acknowledge a message within %d s: sending it again", session.client_id, ACK_SECONDS
                )
            except (SessionEndedError, NotSubscribedError):
                return  # it stays in the outbox for the next session or subscription
            else:
                self._outbox.delete(stored.id)
                return

    async def _end_pump(self, session: Session) -> None:
        pump = self._pumps.pop(session, None)
        if pump:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    def _wake(self, module: str) -> asyncio.Event:
        return self._wakes.setdefault(module, asyncio.Event())

    def _proxy(self, session: Session) -> DeviceProxy:
        if session not in self._proxies:
            self._proxies[session] = DeviceProxy(session, self._uplinks.link(session.client_id))
        return self._proxies[session]

    # Who is who

    def _refusal(self, client_id: str, connect: Connect) -> str | None:
        identity = self._book.get(client_id)
        if identity is None:
            return "no identity of that name on this device or below it"
        if not self._enabled(identity):
            return "the identity is disabled"
        device, _, module = client_id.partition("/")
        resource = f"{self._config.iothub_hostname}/devices/{device}" + (f"/modules/{module}" if module else "")
        keys = [key for key in (identity.primary_key, identity.secondary_key) if key]
        return sas.refusal((connect.password or b"").decode(errors="replace"), resource, keys)

    def _enabled(self, identity: Identity) -> bool:
        device = self._book.get(identity.device_id)
        return identity.enabled and (device is None or device.enabled)

    def _drop_unknown(self) -> None:
        """An identity that the hub no longer knows loses its connection."""
        for session in self._server.sessions if self._server else []:
            if self._book.get(session.client_id) is None:
                session.close("the identity was removed")

    def _note(self, client_id: str, status: str, time_key: str) -> None:
        entry = self.clients.setdefault(client_id, {})
        entry |= {"status": status, time_key: utc(datetime.now(UTC))}
        self.clients_changed.set()

    async def _expire(self) -> None:
        while True:
            gone = self._outbox.delete_expired()
            if gone:
                log.warning("%d message(s) outlived their time to live and were dropped", gone)
            await asyncio.sleep(_EXPIRY_SECONDS)
