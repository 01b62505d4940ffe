"""One IoT Hub: its operations, each one transaction, and what connected clients are told after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from localazure.hub import deployments, etags
from localazure.hub.deployments import Configurations
from localazure.hub.errors import invalid
from localazure.hub.identities import Identities, Key, keys
from localazure.hub.messages import Messages
from localazure.hub.policies import Policies
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

    async def invoke(self, hub: Hub, key: Key, call: Invocation) -> tuple[int, Any]:
        """A direct method: (status, payload). Raises HubError."""
        ...


EdgeListener = Callable[[str, str, str | None], None]
"""(host name, device id, primary key or None when it is gone)."""


class Hub:
    def __init__(self, store: Store, name: str, host: str, connections: Connections, on_edge: EdgeListener) -> None:
        self.name = name
        self.host = host
        self.policies = Policies(store, name)
        self.twins = Twins(store, name)
        self.identities = Identities(store, name, self.twins)
        self.configurations = Configurations(store, name)
        self.messages = Messages(store, name)
        self._store = store
        self._connections = connections
        self._on_edge = on_edge

    def identity(self, key: Key) -> Json:
        return self._with_state(key, self.identities.get(key))

    def devices(self, top: int) -> list[Json]:
        return [self._with_state(Key(device["deviceId"]), device) for device in self.identities.devices(top)]

    def modules(self, device_id: str) -> list[Json]:
        found = self.identities.modules(device_id)
        return [self._with_state(Key(device_id, module["moduleId"]), module) for module in found]

    def put_device(self, device_id: str, body: Json, if_match: str | None) -> Json:
        key = Key(device_id)
        with self._store.transaction():
            before = self.identities.find(key)
            after = self.identities.put_device(device_id, body, if_match)
        self._disconnect_if_changed(key, before, after)
        primary = next(iter(keys(after)), None)
        if after["capabilities"]["iotEdge"]:
            if before is None or not before["capabilities"]["iotEdge"] or keys(before)[:1] != keys(after)[:1]:
                self._on_edge(self.host, device_id, primary)
        elif before and before["capabilities"]["iotEdge"]:
            self._on_edge(self.host, device_id, None)
        return self._with_state(key, after)

    def put_module(self, key: Key, body: Json, if_match: str | None) -> tuple[Json, bool]:
        """(the module, whether it is new)."""
        with self._store.transaction():
            before = self.identities.find(key)
            after = self.identities.put_module(key, body, if_match)
        self._disconnect_if_changed(key, before, after)
        return self._with_state(key, after), before is None

    def delete(self, key: Key, if_match: str | None) -> None:
        with self._store.transaction():
            gone = self.identities.find(key)
            self.identities.delete(key, if_match)
        self._connections.disconnect(self, key, "the identity was deleted")
        if gone and not key.module_id and gone["capabilities"]["iotEdge"]:
            self._on_edge(self.host, key.device_id, None)

    def twin(self, key: Key) -> Json:
        """As the service side sees it."""
        identity = self.identity(key)
        device = self.identities.get(Key(key.device_id))
        twin = self.twins.get(key)
        document = {
            "deviceId": key.device_id,
            **({"moduleId": key.module_id} if key.module_id else {}),
            "etag": twin.etag,
            "deviceEtag": identity["etag"],
            "status": device["status"],
            "statusUpdateTime": device["statusUpdatedTime"],
            "connectionState": identity["connectionState"],
            "lastActivityTime": identity["lastActivityTime"],
            "cloudToDeviceMessageCount": 0,
            "authenticationType": identity["authentication"]["type"],
            "x509Thumbprint": identity["authentication"]["x509Thumbprint"],
            "modelId": "",
            "version": twin.version,
            "properties": {"desired": twin.desired.wire(metadata=True), "reported": twin.reported.wire(metadata=True)},
        }
        if not key.module_id:
            document["capabilities"] = device["capabilities"]
            document.update({name: device[name] for name in ("deviceScope", "parentScopes") if name in device})
        if twin.tags or not key.module_id:
            document["tags"] = twin.tags
        return document

    def write_twin(self, key: Key, body: Json, if_match: str | None, replace: bool) -> Json:
        """PATCH, or PUT with `replace`: a section that a PUT leaves out becomes empty."""
        sections = {"tags": body.get("tags", {} if replace else None)}
        properties = {} if body.get("properties") is None else body["properties"]
        if not isinstance(properties, dict):
            raise invalid("properties is not an object")
        sections["desired"] = properties.get("desired", {} if replace else None)
        for name, section in sections.items():
            if not isinstance(section, dict | None):
                raise invalid(f"{name} is not an object")
        with self._store.transaction():
            self.identities.get(key)
            etags.check(etags.wanted(if_match), self.twins.get(key).etag)
            change = self.twins.write(key, sections["tags"], sections["desired"], replace)
        if change:
            self._connections.push(self, change)
        return self.twin(key)

    def report(self, key: Key, patch: Json) -> int:
        with self._store.transaction():
            version = self.twins.report(key, patch)
            self.identities.touch(key, connection=False)
        return version

    def apply(self, device_id: str, content: Any) -> None:
        with self._store.transaction():
            changes, gone = deployments.apply(self.identities, self.twins, device_id, content)
        for key in gone:
            self._connections.disconnect(self, key, "the module was removed by a deployment")
        for change in changes:
            self._connections.push(self, change)

    def put_configuration(self, name: str, body: Json, if_match: str | None) -> tuple[Json, bool]:
        with self._store.transaction():
            return self.configurations.put(name, body, if_match)

    def delete_configuration(self, name: str, if_match: str | None) -> None:
        with self._store.transaction():
            self.configurations.delete(name, if_match)

    def receive(self, sender: Key, bag: str, body: bytes) -> None:
        """A device-to-cloud message; it is stored when this returns."""
        with self._store.transaction():
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

    def _disconnect_if_changed(self, key: Key, before: Json | None, after: Json) -> None:
        if before is None:
            return
        if after.get("status") == "disabled":
            self._connections.disconnect(self, key, "the device was disabled")
        elif before["authentication"] != after["authentication"]:
            self._connections.disconnect(self, key, "the keys were changed")
