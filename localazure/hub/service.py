"""All IoT Hubs of an instance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from localazure import certs
from localazure.hub.front import Front
from localazure.hub.hub import EdgeListener, Hub
from localazure.hub.identities import Key, keys
from localazure.hub.plan import Plan
from localazure.hub.rest import app
from localazure.hub.settings import HubSettings
from localazure.hub.settings import load as load_settings
from localazure.hub.tables import SCHEMA
from localazure.identity import Tokens
from localazure.instance import HUB_PORTS, MQTT_PORT, Instance, InstanceError
from localazure.mqtt import MqttServer
from localazure.server import HttpServer
from localazure.store import Store

log = logging.getLogger("localazure.hub")


class HubService:
    """Creates, serves and deletes hubs. Names are compared without case. A host name is `127.0.0.N:205xx` and stays the hub's for its life.

    Methods that take a hub's name raise KeyError when there is none of that name. The certificates must exist (`certs.ensure`).
    """

    def __init__(self, instance: Instance, store: Store, settings: HubSettings | None = None) -> None:
        """`settings` are those of the instance's folder if not given; InstanceError when they are wrong."""
        store.script(SCHEMA)
        self._settings = settings or load_settings(instance.folder)
        self._instance = instance
        self._store = store
        self._tokens = Tokens(instance)
        self._listeners: list[EdgeListener] = []
        self._front = Front(self._by_host, self._by_name)
        self._hubs: dict[str, Hub] = {}
        self._servers: dict[str, HttpServer] = {}
        self._stopping: dict[str, asyncio.Event] = {}
        self._lock = asyncio.Lock()
        self._started = False
        for row in store.all("SELECT name, port, sku, units FROM hub_hubs LEFT JOIN hub_plans ON hub = name"):
            plan = Plan(row["sku"], row["units"]) if row["sku"] else Plan()
            self._add(row["name"], row["port"], plan)

    async def start(self) -> None:
        """Serve MQTT and every hub that the database knows, on the port it had.

        Raises InstanceError when a port is taken: for MQTT at once; else after the other hubs are served, naming those that are not.
        Call `stop` in either case.
        """
        tls = certs.server_context(self._instance.pki / "server.pem", self._instance.pki / "server.key")
        server = MqttServer(self._front, self._instance.address, MQTT_PORT, tls)
        try:
            await server.start()
        except OSError as error:
            raise InstanceError(
                f"cannot listen for MQTT on {self._instance.address}:{MQTT_PORT}: {error.strerror}; stop the program that has the port"
            ) from error
        self._front.server = server
        self._started = True
        failed = []
        for name in self._hubs:
            try:
                await self._serve(name)
            except InstanceError as error:
                log.exception("IoT Hub '%s' cannot be served", name)
                failed.append(f"IoT Hub '{name}': {error}")
        if failed:
            raise InstanceError("; ".join(failed))

    async def stop(self) -> None:
        """Close all listeners and connections."""
        self._started = False
        for name in list(self._servers):
            await self._hubs[name].stop()
            await self._unserve(name)
        if self._front.server:
            await self._front.server.stop()
            self._front.server = None

    async def create(self, name: str, sku: str | None = None, units: int = 1) -> str:
        """Make the hub with its policies, unless it is there, and serve it. Returns its host name.

        `sku` (F1, B1..B3, S1..S3) and `units` set its limits, of one that is there too; None is S1, or what the hub has.
        """
        plan = Plan(sku, units) if sku else None
        async with self._lock:
            hub = self._by_name(name)
            if hub is None:
                return await self._create(name, plan or Plan())
            if plan and hub.plan != plan:
                self._keep_plan(name, plan)
                hub.change_plan(plan)
            return hub.host

    async def delete(self, name: str) -> None:
        """Remove the hub with all that it knows."""
        async with self._lock:
            hub = self._get(name)
            await hub.stop()
            edge_devices = hub.edge_devices()
            await self._unserve(name.lower())
            del self._hubs[name.lower()]
            for device in hub.identities.devices(-1):
                self._front.disconnect(hub, Key(device["deviceId"]), "the hub was deleted")
            self._store.execute("DELETE FROM hub_hubs WHERE name = ?", name)
            for device_id, _ in edge_devices:
                self._tell(hub.host, device_id, None)

    def names(self) -> list[str]:
        """As they were created, in the order of their names."""
        return sorted(hub.name for hub in self._hubs.values())

    def host_name(self, name: str) -> str:
        return self._get(name).host

    def keys(self, name: str) -> list[dict[str, str]]:
        """`keyName`, `primaryKey`, `secondaryKey`, `rights` of each policy, as ARM's listkeys."""
        return self._get(name).policies.all()

    def set_policies(self, name: str, policies: Iterable[Mapping[str, str]]) -> None:
        """Replace the shared access policies; see Policies.replace. Old keys are refused at once."""
        self._get(name).policies.replace(policies)

    def usage(self, name: str) -> tuple[int, int]:
        """(identities of devices, device-to-cloud messages of this day in UTC that are still kept)."""
        hub = self._get(name)
        return hub.statistics()["totalDeviceCount"], hub.messages.today()

    def regenerate(self, name: str, key_name: str, which: str) -> None:
        """A new `primary` or `secondary` key, or `swap`; the old one is refused at once. Raises KeyError for an unknown policy too."""
        self._get(name).policies.regenerate(key_name, which)

    def agent_key(self, host: str, device_id: str) -> str | None:
        """The primary key of an IoT Edge device's `$edgeAgent`."""
        hub = self._by_host(host)
        found = hub.identities.find(Key(device_id, "$edgeAgent")) if hub else None
        return next(iter(keys(found)), None) if found else None

    def on_edge_devices(self, callback: EdgeListener) -> None:
        """Have `callback(host_name, device_id, primary_key or None)` called for every IoT Edge device: at once for those there are, then
        for each one that is created, gets another primary key, or (None) is deleted. It must return quickly."""
        self._listeners.append(callback)
        for hub in self._hubs.values():
            for device_id, key in hub.edge_devices():
                callback(hub.host, device_id, key)

    async def _create(self, name: str, plan: Plan) -> str:
        taken = {row["port"] for row in self._store.all("SELECT port FROM hub_hubs")}
        for port in HUB_PORTS:
            if port in taken:
                continue
            with self._store.transaction():
                self._store.execute("INSERT INTO hub_hubs VALUES (?, ?)", name, port)
                self._keep_plan(name, plan)
                hub = self._add(name, port, plan)
                hub.policies.create()
            try:
                await self._serve(name.lower())
            except InstanceError:
                log.info("port %d is taken by another program; trying the next", port)
                self._store.execute("DELETE FROM hub_hubs WHERE name = ?", name)
                del self._hubs[name.lower()]
                continue
            return hub.host
        raise InstanceError(
            f"cannot create IoT Hub '{name}': all ports {HUB_PORTS.start}..{HUB_PORTS.stop - 1} are taken"
        )

    def _keep_plan(self, name: str, plan: Plan) -> None:
        self._store.execute("INSERT OR REPLACE INTO hub_plans VALUES (?, ?, ?)", name, plan.sku, plan.units)

    def _add(self, name: str, port: int, plan: Plan) -> Hub:
        host = f"{self._instance.address}:{port}"
        hub = Hub(self._store, name, host, self._front, self._tell, plan, self._settings)
        self._hubs[name.lower()] = hub
        return hub

    async def _serve(self, name: str) -> None:
        if not self._started:
            return
        hub, stopping = self._hubs[name], asyncio.Event()
        address, _, port = hub.host.rpartition(":")
        tls = (self._instance.pki / "server.pem", self._instance.pki / "server.key")
        server = HttpServer(app(hub, self._tokens, stopping), address, int(port), tls)
        await server.start()
        self._servers[name], self._stopping[name] = server, stopping
        hub.start()

    async def _unserve(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server:
            self._stopping.pop(name).set()
            await server.stop()

    def _get(self, name: str) -> Hub:
        hub = self._by_name(name)
        if hub is None:
            raise KeyError(f"there is no IoT Hub '{name}'")
        return hub

    def _by_name(self, name: str) -> Hub | None:
        return self._hubs.get(name.lower())

    def _by_host(self, host: str) -> Hub | None:
        return next((hub for hub in self._hubs.values() if hub.host == host.lower()), None)

    def _tell(self, host: str, device_id: str, primary_key: str | None) -> None:
        for listener in self._listeners:
            try:
                listener(host, device_id, primary_key)
            except Exception:  # the registry's answer does not depend on who listens
                log.exception("a listener failed for the edge device %s of %s", device_id, host)
