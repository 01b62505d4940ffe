"""One IoT Hub: its operations, each one transaction, and what connected clients are told after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from localazure.hub import deployments, etags
from localazure.hub.configurations import Configurations
from localazure.hub.errors import HubError, invalid
from localazure.hub.fleet import Fleet, Outcome
from localazure.hub.identities import Identities, Key, keys
from localazure.hub.messages import Messages
from localazure.hub.metrics import Metrics
from localazure.hub.plan import Plan
from localazure.hub.policies import Policies
from localazure.hub.queries import Queries
from localazure.hub.settings import HubSettings
from localazure.hub.throttle import Throttle
from localazure.hub.twin_documents import TwinDocuments
from localazure.hub.twins import DesiredChange, Twins
from localazure.store import Store

Json = dict[str, Any]


@dataclass(frozen=True)
class Invocation:
    """A direct method: how long to wait for the client to be there, and for its answer."""

    name: str
    payload: Any
    connect_seconds: float
    response_seconds: float


class Connections(Protocol):
    """The MQTT side of all hubs, as a hub sees it."""

    def connected(self, hub: Hub, key: Key) -> bool: ...

    def push(self, hub: Hub, change: DesiredChange) -> None:
        """Send a desired patch if the client is there and has subscribed."""
        ...

    def disconnect(self, hub: Hub, key: Key, reason: str) -> None:
        """Close the client's connection; for a device those of its modules too."""
        ...

    def disconnect_strangers(self, hub: Hub, key: Key, reason: str) -> None:
        """Close the client's connection if its token is not signed with one of the identity's keys any more."""
        ...

    async def invoke(self, hub: Hub, key: Key, call: Invocation) -> tuple[int, Any]:
        """A direct method: (status, payload). Raises HubError."""
        ...


Effect = Callable[[], None]
"""What follows a commit."""

EdgeListener = Callable[[str, str, str | None], None]
"""(host name, device id, primary key or None when it is gone)."""


class Hub:
    """`plan` is what its SKU and units allow. `store` is for those who put several operations into one transaction."""

    def __init__(
        self,
        store: Store,
        name: str,
        host: str,
        connections: Connections,
        on_edge: EdgeListener,
        plan: Plan,
        settings: HubSettings,
    ) -> None:
        self.name = name
        self.host = host
        self.plan = plan
        self.store = store
        self.throttle = Throttle(plan, settings.factor)
        self.policies = Policies(store, name)
        self.twins = Twins(store, name)
        self.identities = Identities(store, name, self.twins)
        self.configurations = Configurations(store, name)
        self.messages = Messages(store, name)
        documents = TwinDocuments(store, name, lambda key: connections.connected(self, key))
        self.queries = Queries(documents)
        self._documents = documents
        self._metrics = Metrics(documents, self.queries)
        self._fleet = Fleet(
            store,
            name,
            self.identities,
            self.twins,
            self.configurations,
            self._deployed,
            settings.evaluation_delay,
        )
        self._task: asyncio.Task[None] | None = None
        self._connections = connections
        self._on_edge = on_edge

    def start(self) -> None:
        """Begin to evaluate deployments, first those that were left over."""
        self._task = self._task or asyncio.create_task(self._fleet.run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def change_plan(self, plan: Plan) -> None:
        self.plan = plan
        self.throttle.change(plan)

    def identity(self, key: Key) -> Json:
        return self._with_state(key, self.identities.get(key))

    def devices(self, top: int) -> list[Json]:
        return [self._with_state(Key(device["deviceId"]), device) for device in self.identities.devices(top)]

    def modules(self, device_id: str) -> list[Json]:
        found = self.identities.modules(device_id)
        return [self._with_state(Key(device_id, module["moduleId"]), module) for module in found]

    def put_identity(self, key: Key, body: Json, if_match: str | None) -> tuple[Json, bool]:
        """(the device or module, whether it is new)."""
        with self.store.transaction():
            new = self.identities.find(key) is None
            effect = self.register(key, body, if_match)
        effect()
        return self.identity(key), new

    def delete(self, key: Key, if_match: str | None) -> None:
        with self.store.transaction():
            effect = self.remove(key, if_match)
        effect()

    def register(self, key: Key, body: Json, if_match: str | None) -> Effect:
        """`put_identity` within the caller's transaction; call what it returns after the commit."""
        before = self.identities.find(key)
        if key.module_id:
            self.plan.need_standard("A module identity")
            after = self.identities.put_module(key, body, if_match)
        else:
            after = self.identities.put_device(key.device_id, body, if_match)
            if after["capabilities"]["iotEdge"]:
                self.plan.need_standard("An IoT Edge device")

        def effect() -> None:
            self._disconnect_if_changed(key, before, after)
            if not key.module_id:
                self._tell_edge(key.device_id, before, after)
            self._changed(key)

        return effect

    def remove(self, key: Key, if_match: str | None) -> Effect:
        """`delete` within the caller's transaction; call what it returns after the commit."""
        before = self.identities.find(key)
        self.identities.delete(key, if_match)

        def effect() -> None:
            self._connections.disconnect(self, key, "the identity was deleted")
            if not key.module_id:
                self._tell_edge(key.device_id, before, None)
            self._changed(key)

        return effect

    def twin(self, key: Key) -> Json:
        """As the service side sees it."""
        document = self._documents.get(key)
        if document is None:
            self.identities.get(key)  # says which of the two is missing
            raise key.missing()
        return document

    def write_twin(self, key: Key, body: Json, if_match: str | None, replace: bool) -> Json:
        """PATCH, or PUT with `replace`: a section that a PUT leaves out becomes empty."""
        with self.store.transaction():
            effect = self.merge_twin(key, body, if_match, replace)
        effect()
        return self.twin(key)

    def merge_twin(self, key: Key, body: Json, if_match: str | None, replace: bool) -> Effect:
        """`write_twin` within the caller's transaction; call what it returns after the commit."""
        sections = {"tags": body.get("tags", {} if replace else None)}
        properties = {} if body.get("properties") is None else body["properties"]
        if not isinstance(properties, dict):
            raise invalid("properties is not an object")
        sections["desired"] = properties.get("desired", {} if replace else None)
        for name, section in sections.items():
            if not isinstance(section, dict | None):
                raise invalid(f"{name} is not an object")
        self.identities.get(key)
        etags.check(etags.wanted(if_match), self.twins.get(key).etag)
        change = self.twins.write(key, sections["tags"], sections["desired"], replace)

        def effect() -> None:
            if change:
                self._connections.push(self, change)
            self._changed(key)

        return effect

    def report(self, key: Key, patch: Json) -> int:
        with self.store.transaction():
            version = self.twins.report(key, patch)
            self.identities.touch(key, connection=False)
        self._changed(key)
        return version

    def apply(self, device_id: str, content: Any) -> None:
        """Raises InvalidOperation for a device that an automatic deployment rules: "per-device deployments are no longer supported" then
        (learn.microsoft.com/azure/iot-edge/module-deployment-monitoring); the code is ours."""
        applied = self._fleet.applied(device_id)
        if applied:
            raise HubError(
                "InvalidOperation",
                f"Device {device_id} is configured by the deployment {applied[0]}; a device takes either that or its own content",
            )
        with self.store.transaction():
            changes, gone = deployments.apply(self.identities, self.twins, device_id, content)
        self._deployed(Outcome(device_id, changes, gone))

    def put_configuration(self, name: str, body: Json, if_match: str | None) -> tuple[Json, bool]:
        with self.store.transaction():
            document, created = self.configurations.put(name, body, if_match, self.plan)
        self._fleet.configurations_changed()
        return document, created

    def delete_configuration(self, name: str, if_match: str | None) -> None:
        with self.store.transaction():
            self.configurations.delete(name, if_match)
        self._fleet.configurations_changed()

    async def measured(self, configurations: list[Json]) -> list[Json]:
        """The configurations with the results of their metrics."""
        return await self._metrics.with_results(configurations)

    def receive(self, sender: Key, bag: str, body: bytes) -> None:
        """A device-to-cloud message; it is stored when this returns."""
        with self.store.transaction():
            self.messages.append(sender, bag, body)
            self.identities.touch(sender, connection=False)
        self.messages.announce()

    def statistics(self) -> Json:
        counts = self.identities.counts()
        return {
            "totalDeviceCount": counts["enabled"] + counts["disabled"],
            "enabledDeviceCount": counts["enabled"],
            "disabledDeviceCount": counts["disabled"],
        }

    def connected_devices(self) -> int:
        return sum(self._connections.connected(self, Key(device["deviceId"])) for device in self.identities.devices(-1))

    def edge_devices(self) -> list[tuple[str, str | None]]:
        """(device id, primary key) of the IoT Edge devices."""
        devices = self.identities.devices(-1)
        return [(one["deviceId"], next(iter(keys(one)), None)) for one in devices if one["capabilities"]["iotEdge"]]

    async def invoke(self, key: Key, call: Invocation) -> tuple[int, Any]:
        self.identities.get(key)
        return await self._connections.invoke(self, key, call)

    def _with_state(self, key: Key, identity: Json) -> Json:
        state = "Connected" if self._connections.connected(self, key) else "Disconnected"
        return {**identity, "connectionState": state}

    def _deployed(self, outcome: Outcome) -> None:
        for key in outcome.gone:
            self._connections.disconnect(self, key, "the module was removed by a deployment")
        for change in outcome.changes:
            self._connections.push(self, change)
        self._metrics.changed(outcome.device_id)

    def _changed(self, key: Key) -> None:
        self._metrics.changed(key.device_id)
        if not key.module_id:
            self._fleet.device_changed(key.device_id)

    def _tell_edge(self, device_id: str, before: Json | None, after: Json | None) -> None:
        """The listener hears of a new edge device, of another primary key, and of the end."""
        was = before if before and before["capabilities"]["iotEdge"] else None
        if after and after["capabilities"]["iotEdge"]:
            if was is None or keys(was)[:1] != keys(after)[:1]:
                self._on_edge(self.host, device_id, next(iter(keys(after)), None))
        elif was:
            self._on_edge(self.host, device_id, None)

    def _disconnect_if_changed(self, key: Key, before: Json | None, after: Json) -> None:
        if before is None:
            return
        if after.get("status") == "disabled":
            self._connections.disconnect(self, key, "the device was disabled")
        elif before["authentication"] != after["authentication"]:
            self._connections.disconnect_strangers(self, key, "the key that it came with was removed")
