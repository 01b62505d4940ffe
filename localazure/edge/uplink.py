"""`$upstream`: what modules and leaf devices send to the hub, each as itself and with the real device SDK (azure-iot-device).

edgeHub multiplexes all identities over one AMQP connection; the hub sees the same: one identity, its messages in its order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from azure.iot.device import Message as SdkMessage
from azure.iot.device import MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

from localazure.edge.book import IdentityBook
from localazure.edge.config import DeviceConfig
from localazure.edge.messages import Message
from localazure.edge.outbox import Outbox

log = logging.getLogger("localazure.edge.upstream")

_SEND_SECONDS = 20
_LONGEST_PAUSE = 15.0
_BATCH = 10


class Uplinks:
    """One connection for each sender that has something for the hub. Messages stay in the outbox until the hub has them."""

    def __init__(self, config: DeviceConfig, book: IdentityBook, outbox: Outbox) -> None:
        self._config = config
        self._book = book
        self._outbox = outbox
        self._links: dict[str, Uplink] = {}

    def start(self) -> None:
        """Take up what was not delivered before the restart."""
        for sender in self._outbox.hub_senders():
            self.wake(sender)

    def wake(self, sender: str) -> None:
        """There is something new of this sender's in the outbox."""
        self.link(sender).wake()

    def link(self, client_id: str) -> Uplink:
        """The one connection of an identity; IoT Hub would close the older of two."""
        if client_id not in self._links:
            self._links[client_id] = Uplink(client_id, self._config, self._book, self._outbox)
        return self._links[client_id]

    async def stop(self) -> None:
        await asyncio.gather(*(link.stop() for link in self._links.values()))
        self._links.clear()


class Uplink:
    """One identity at the hub. `on_desired` and `on_method` are what its client subscribed to; they run on our loop."""

    def __init__(self, sender: str, config: DeviceConfig, book: IdentityBook, outbox: Outbox) -> None:
        self._sender = sender
        self._config = config
        self._book = book
        self._outbox = outbox
        self._client: Any = None
        self._key = ""
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._on_desired: Callable[[dict[str, Any]], None] | None = None
        self._on_method: Callable[[str, str, Any], None] | None = None
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._wanted.set()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()

    async def twin(self) -> dict[str, Any]:
        """`desired` and `reported` with their versions, as MQTT carries them. Raises what the SDK raises."""
        async with asyncio.timeout(_SEND_SECONDS):
            return await (await self._connected()).get_twin()

    async def report(self, patch: dict[str, Any]) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await (await self._connected()).patch_twin_reported_properties(patch)

    async def follow_desired(self, on_desired: Callable[[dict[str, Any]], None] | None) -> None:
        """Every patch of the desired properties from now on, with `$version`."""
        self._on_desired = on_desired
        if on_desired:
            await self._subscribe(await self._connected())

    async def serve_methods(self, on_method: Callable[[str, str, Any], None] | None) -> None:
        """Direct methods from now on: request id, name, payload."""
        self._on_method = on_method
        if on_method:
            await self._subscribe(await self._connected())

    async def answer_method(self, request_id: str, status: int, payload: Any) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await (await self._connected()).send_method_response(MethodResponse(request_id, status, payload))

    async def _subscribe(self, client: Any) -> None:
        """In threads, because the SDK's setters wait for the hub."""
        if self._on_desired:
            await asyncio.to_thread(setattr, client, "on_twin_desired_properties_patch_received", self._desired_came)
        if self._on_method:
            await asyncio.to_thread(setattr, client, "on_method_request_received", self._method_came)

    def _desired_came(self, patch: dict[str, Any]) -> None:
        if self._on_desired:
            self._loop.call_soon_threadsafe(self._on_desired, patch)

    def _method_came(self, request: Any) -> None:
        if self._on_method:
            self._loop.call_soon_threadsafe(self._on_method, request.request_id, request.name, request.payload)

    async def _run(self) -> None:
        pause = 0.5
        while True:
            try:
                if await self._send_batch():
                    pause = 0.5
                    continue
                await self._wanted.wait()
                self._wanted.clear()
            except Exception as error:  # the SDK's own exceptions have no common base with paho's and OS errors
                log.warning("messages of %s wait for the hub: %s: %s", self._sender, type(error).__name__, error)
                await self._drop()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                await self._book.try_refresh()

    async def _send_batch(self) -> bool:
        """False when nothing waits. In order, one after the other: a message counts as sent with the hub's acknowledgement."""
        batch = self._outbox.for_hub(self._sender, _BATCH)
        for stored in batch:
            client = await self._connected()
            message = stored.message
            async with asyncio.timeout(_SEND_SECONDS):
                output = message.system.get("outputName")
                if message.module_id and output:
                    await client.send_message_to_output(to_sdk(message), output)
                else:
                    await client.send_message(to_sdk(message))
            self._outbox.delete(stored.id)
        return bool(batch)

    async def _connected(self) -> Any:
        async with self._lock:
            made = self._client is None
            client = await self._open()
            if made and (self._on_desired or self._on_method):
                await self._subscribe(client)
            return client

    async def _open(self) -> Any:
        identity = self._book.get(self._sender)
        if identity is None or not identity.primary_key:
            raise LookupError(f"the hub knows no identity {self._sender} with a key (any more)")
        if self._client is not None and self._key != identity.primary_key:
            await self._drop()
        if self._client is None:
            kind = IoTHubModuleClient if identity.module_id else IoTHubDeviceClient
            self._key = identity.primary_key
            self._client = kind.create_from_connection_string(
                identity.connection_string(self._config.iothub_hostname, self._config.hub_address),
                server_verification_cert=self._config.ca.read_text(),
                connection_retry_interval=2,
            )
            self._client.on_background_exception = lambda error: log.info("%s: %s", self._sender, error)
        return self._client

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await client.shutdown()


def to_sdk(message: Message) -> SdkMessage:
    """The same message for the SDK: ids, content type and encoding, properties. The hub itself adds who sent it."""
    system = message.system
    made = SdkMessage(message.body, message_id=system.get("messageId"))
    made.correlation_id = system.get("correlationId")
    made.user_id = system.get("userId")
    made.content_type = system.get("contentType")
    made.content_encoding = system.get("contentEncoding")
    made.expiry_time_utc = system.get("expiryTimeUtc")
    made.custom_properties = dict(message.properties)
    return made
