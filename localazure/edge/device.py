"""One device from its start to its end: who it is, its network, edgeAgent, edgeHub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import docker

from localazure import docker_engine
from localazure.edge import names, network, settings
from localazure.edge.agent import Agent
from localazure.edge.agent_methods import AgentMethods
from localazure.edge.book import IdentityBook
from localazure.edge.config import ConfigError, DeviceConfig
from localazure.edge.container_body import Surroundings
from localazure.edge.containers import ContainerError, Containers
from localazure.edge.edge_hub import EdgeHub
from localazure.edge.executor import Executor
from localazure.edge.hub_twin import HubTwin
from localazure.edge.identities import EDGE_AGENT, EDGE_HUB, HubError, HubRest, Identity
from localazure.edge.memory import Memory
from localazure.edge.outbox import Outbox
from localazure.edge.twin_link import TwinLink
from localazure.edge.uplink import Uplinks

log = logging.getLogger("localazure.edge")

_REFRESH_SECONDS = 600
_EVENTS_PAUSE = 3


class Device:
    """`run(stop)` works until `stop` is set, then stops the modules (they stay, for the next start) and says goodbye to the hub."""

    def __init__(self, config: DeviceConfig) -> None:
        self._config = config
        self._client: docker.DockerClient = docker_engine.connect()
        self._memory = Memory(config.folder)
        self._rest = HubRest(config)
        self._book = IdentityBook(self._rest, self._memory, config.device_id)
        self._containers = Containers(self._client, config.folder, config.device_id)
        outbox = Outbox(self._memory.store)
        self._uplinks = Uplinks(config, self._book, outbox)
        self._hub = EdgeHub(config, self._memory, self._book, outbox, self._uplinks)
        self._hub_twin = HubTwin(self._memory, self._hub)
        agent_settings = settings.read(config)
        labels = names.labels(config.folder, config.iothub_hostname, config.device_id)
        around = Surroundings(
            config.iothub_hostname, config.device_id, config.hostname, config.gateway, config.network, labels
        )
        self._executor = Executor(config, self._memory, self._book, self._containers, around, agent_settings)
        self._agent = Agent(config, self._memory, self._containers, self._executor, agent_settings)
        self._labels = labels
        self._loop = asyncio.get_running_loop()
        self._ended = False

    async def run(self, stop: asyncio.Event) -> None:
        await self._ensure_network()
        await self._agent.learn_platform()
        await self._book.try_refresh()
        methods = AgentMethods(self._containers, self._config.iothub_hostname, self._config.device_id)
        agent_link = TwinLink(
            self._config, lambda: self._system(EDGE_AGENT), self._agent_desired, on_method=methods.answer
        )
        hub_link = TwinLink(self._config, lambda: self._system(EDGE_HUB), self._hub_twin.desired_came)
        self._agent.attach(agent_link)
        self._hub_twin.attach(hub_link)
        threading.Thread(target=self._follow_events, name="docker-events", daemon=True).start()
        tasks = [
            asyncio.create_task(self._agent.run()),
            asyncio.create_task(self._hub_twin.run()),
            asyncio.create_task(self._keep_fresh()),
        ]
        self._uplinks.start()
        agent_link.start()
        hub_link.start()
        try:
            await stop.wait()
        finally:
            await self._end(tasks, agent_link, hub_link)

    async def _end(self, tasks: list[asyncio.Task[None]], agent_link: TwinLink, hub_link: TwinLink) -> None:
        log.info("stopping")
        self._ended = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._agent.shut_down()
        except ContainerError as error:
            log.warning("the modules could not be stopped: %s", error)
        await self._hub.stop()
        await asyncio.gather(agent_link.stop(), hub_link.stop(), self._uplinks.stop(), self._executor.stop())
        await self._rest.close()
        self._memory.close()
        log.info("stopped")

    async def _ensure_network(self) -> None:
        gateway = await asyncio.to_thread(network.ensure, self._client, self._config.network, self._labels)
        if gateway != self._config.gateway:
            raise ConfigError(
                f"the Docker network {self._config.network} has the gateway {gateway}, but config.toml says"
                f" {self._config.gateway}: correct [localazure] gateway and the certificate in [edge_ca]"
            )

    async def _system(self, name: str) -> Identity:
        """The identity of a system module, fresh from the hub if it answers."""
        if not await self._book.try_refresh() and self._book.module(name) is None:
            raise HubError(f"the identity {name} is not known and the hub does not answer")
        identity = self._book.module(name)
        if identity is None:
            raise HubError(f"the hub has no module {name} for the device {self._config.device_id}")
        return identity

    def _agent_desired(self, desired: dict[str, object], reported: dict[str, object] | None) -> None:
        self._agent.desired_came(desired, reported)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            await self._book.try_refresh()

    def _follow_events(self) -> None:
        """In a thread of its own: Docker's event stream blocks. After a gap everything is looked at again."""
        pause = threading.Event()
        while not self._ended:
            with contextlib.suppress(Exception):
                for _ in self._containers.events():
                    self._loop.call_soon_threadsafe(self._agent.wake)
            if not self._ended:
                with contextlib.suppress(RuntimeError):  # the loop is closed: this is the end
                    self._loop.call_soon_threadsafe(self._agent.wake)
                pause.wait(_EVENTS_PAUSE)
