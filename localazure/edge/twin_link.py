"""A system module's connection to its twin, with the real device SDK (azure-iot-device), which holds it for days.

Three things the SDK leaves to its user: it gives up for good when the hub refuses a reconnection once; desired patches of the time
without connection are lost; its handlers run on a loop of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from azure.iot.device import MethodResponse
from azure.iot.device.aio import IoTHubModuleClient

from localazure.edge.config import DeviceConfig
from localazure.edge.identities import HubError, Identity
from localazure.edge.reported import merge

log = logging.getLogger("localazure.edge.twin")

_RETRY_SECONDS = 2
_PATIENCE_SECONDS = 20
_CALL_SECONDS = 30


class LinkError(Exception):
    """The twin could not be read or written now."""


class TwinLink:
    """`on_desired(desired, reported)` gets the whole desired properties after each connect and each change, on our loop.

    `reported` is what the hub has, after a connect, and None after a change. `on_method(name, payload)` answers direct methods with
    (status, payload).
    """

    def __init__(
        self,
        config: DeviceConfig,
        identity: Callable[[], Awaitable[Identity]],
        on_desired: Callable[[dict[str, Any], dict[str, Any] | None], None],
        on_method: Callable[[str, Any], Awaitable[tuple[int, Any]]] | None = None,
    ) -> None:
        self._config = config
        self._identity = identity
        self._on_desired = on_desired
        self._on_method = on_method
        self._calls: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._client: IoTHubModuleClient | None = None
        self._desired: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return bool(self._client and self._client.connected)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()

    async def report(self, patch: dict[str, Any]) -> None:
        """Patch the reported properties. Raises LinkError."""
        client = self._client
        if client is None or not client.connected:
            raise LinkError("not connected to the hub")
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await client.patch_twin_reported_properties(patch)
        except Exception as error:  # the SDK's own exceptions have no common base with paho's and OS errors
            raise LinkError(f"the hub did not take the reported properties: {_words(error)}") from error

    async def _run(self) -> None:
        while True:
            try:
                await self._connect()
                await self._watch()
            except HubError as error:
                log.warning("no identity to connect with: %s", error)
            except Exception as error:
                log.warning("twin connection failed, trying again: %s", _words(error))
            await self._drop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _connect(self) -> None:
        identity = await self._identity()
        client = IoTHubModuleClient.create_from_connection_string(
            identity.connection_string(self._config.iothub_hostname, self._config.hub_address),
            server_verification_cert=self._config.ca.read_text(),
            connection_retry_interval=_RETRY_SECONDS,
        )
        client.on_connection_state_change = self._wake
        client.on_background_exception = lambda error: log.info("the hub connection had a problem: %s", _words(error))
        self._client = client
        async with asyncio.timeout(_CALL_SECONDS):
            await client.connect()
        log.info("connected to the hub as %s", identity.client_id)

    async def _watch(self) -> None:
        """Read the whole twin after each connect; returns when the connection has been gone for too long."""
        client, was_connected, lost = self._client, False, 0.0
        assert client
        while True:
            if client.connected and not was_connected:
                await self._read(client)
            if was_connected and not client.connected:
                lost = self._loop.time()
            was_connected = client.connected
            if not was_connected and self._loop.time() - lost > _PATIENCE_SECONDS:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 5)

    async def _read(self, client: IoTHubModuleClient) -> None:
        async with asyncio.timeout(_CALL_SECONDS):
            # Off and on again: after a reconnection the hub may have lost the session, and the SDK does not subscribe again.
            # In a thread, because the setter waits for the hub's answer.
            await asyncio.to_thread(setattr, client, "on_twin_desired_properties_patch_received", None)
            await asyncio.to_thread(setattr, client, "on_twin_desired_properties_patch_received", self._patch_received)
            if self._on_method:
                await asyncio.to_thread(setattr, client, "on_method_request_received", None)
                await asyncio.to_thread(setattr, client, "on_method_request_received", self._method_came)
            twin = await client.get_twin()
        self._desired = twin["desired"]
        self._on_desired(self._desired, twin["reported"])

    def _method_came(self, request: Any) -> None:
        self._loop.call_soon_threadsafe(self._answer_soon, request)

    def _answer_soon(self, request: Any) -> None:
        task = asyncio.create_task(self._answer(request))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer(self, request: Any) -> None:
        assert self._on_method
        client = self._client
        status, payload = await self._on_method(request.name, request.payload)
        if client is None:
            return  # the connection ended meanwhile: nobody waits for the answer any more
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await client.send_method_response(MethodResponse(request.request_id, status, payload))
        except Exception as error:
            log.warning("the answer to the direct method %s did not reach the hub: %s", request.name, _words(error))

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)

    def _patch_received(self, patch: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._patched, patch)

    def _patched(self, patch: dict[str, Any]) -> None:
        if patch.get("$version", 0) <= self._desired.get("$version", 0):
            return  # the twin that was read after it holds it already
        if patch["$version"] > self._desired.get("$version", 0) + 1:
            log.info("a change of the desired properties was missed: reading the whole twin")
            asyncio.create_task(self._reread())  # noqa: RUF006 - it ends by itself and reports its errors
            return
        self._desired = merge(self._desired, patch)
        self._on_desired(self._desired, None)

    async def _reread(self) -> None:
        try:
            if self._client:
                await self._read(self._client)
        except Exception as error:
            log.warning("the twin could not be read: %s", _words(error))
            await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(10):
                    await client.shutdown()


def _words(error: BaseException) -> str:
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}{cause}"
