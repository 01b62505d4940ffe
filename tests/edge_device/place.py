"""A hub, a registry and the device supervisor as the daemon runs them, in a thread, and the service SDK that talks to them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import docker
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import ConfigurationContent

from localazure import certs, docker_engine
from localazure.edge import DeviceSupervisor, names
from localazure.edge.containers import remove_images
from localazure.hub import HubService
from localazure.instance import Instance
from localazure.registry import RegistryService
from localazure.store import Store

T = TypeVar("T")

SYSTEM_IMAGES = {
    "edgeAgent": "mcr.microsoft.com/azureiotedge-agent:1.5",
    "edgeHub": "mcr.microsoft.com/azureiotedge-hub:1.5",
}
ROUTES = {
    "in": 'FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/echo/inputs/in")',
    "out": "FROM /messages/modules/echo/outputs/* INTO $upstream",
}


class Place:
    """`do` runs a coroutine on the services' loop."""

    def __init__(self, instance: Instance) -> None:
        certs.ensure(instance)
        self.instance = instance
        self.engine: docker.DockerClient = docker_engine.connect()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.host = ""
        self.registry_host = ""
        self.do(self._start())
        key = self.call(lambda: self.hubs.keys("hub1"))[0]
        self.connection_string = (
            f"HostName={self.host};SharedAccessKeyName={key['keyName']};SharedAccessKey={key['primaryKey']}"
        )
        self.service = IoTHubRegistryManager.from_connection_string(self.connection_string)
        self.configurations = IoTHubConfigurationManager.from_connection_string(self.connection_string)
        for client in (self.service, self.configurations):
            client.protocol.config.connection.verify = str(instance.ca)

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 300) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def call(self, function: Callable[[], T]) -> T:
        """The services' database belongs to the loop's thread."""

        async def run() -> T:
            return function()

        return self.do(run())

    def close(self) -> None:
        names_ = [str(entry.device_id) for entry in self.service.get_devices()]
        for name in names_:
            self.service.delete_device(name)
        for name in names_:
            self.do(self.devices.settled(self.host, name))
        remove_images(self.engine, self.instance.address)
        self.stop()

    def stop(self) -> None:
        """As the daemon ends: everything stays on disk and in Docker."""
        self.do(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(120)
        self.engine.close()

    async def _start(self) -> None:
        self.store = Store(self.instance.database)
        self.hubs = HubService(self.instance, self.store)
        self.registries = RegistryService(self.instance, self.store)
        self.devices = DeviceSupervisor(self.instance)
        self.hubs.on_edge_devices(self.devices.on_edge_device)
        await self.registries.start()
        await self.hubs.start()
        self.host = await self.hubs.create("hub1")
        self.registry_host = await self.registries.create("registry1")
        self.registries.set_admin("registry1", True)
        await self.devices.start()

    async def _stop(self) -> None:
        await self.devices.stop()
        await self.hubs.stop()
        await self.registries.stop()
        self.store.close()

    # Devices

    def make_device(self, device_id: str) -> Path:
        """An IoT Edge identity; returns the simulated device's folder once its process runs."""
        self.service.create_device_with_sas(device_id, "", "", "enabled", iot_edge=True)
        self.do(self.devices.settled(self.host, device_id))
        return self.devices.folder(self.host, device_id)

    def folder(self, device_id: str) -> Path:
        return self.devices.folder(self.host, device_id)

    def log(self, device_id: str) -> str:
        return (self.folder(device_id) / "device.log").read_text()

    def deploy(self, device_id: str, content: dict[str, Any]) -> int:
        """Returns the version of $edgeAgent's desired properties."""
        self.configurations.apply_configuration_on_edge_device(device_id, ConfigurationContent(modules_content=content))
        return int(self.service.get_module_twin(device_id, "$edgeAgent").properties.desired["$version"])

    def reported(self, device_id: str, module: str = "$edgeAgent") -> dict[str, Any]:
        twin = self.service.get_module_twin(device_id, module)
        return {key: value for key, value in twin.properties.reported.items() if not key.startswith("$")}

    def wait_reported(
        self, device_id: str, good: Callable[[dict[str, Any]], Any], seconds: float = 180, module: str = "$edgeAgent"
    ) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            state = self.reported(device_id, module)
            with contextlib.suppress(KeyError):
                if good(state):
                    return state
            assert time.monotonic() < end, f"last reported: {state}\n{self.log(device_id)[-4000:]}"
            time.sleep(0.2)

    def applied(self, device_id: str, version: int, seconds: float = 180) -> dict[str, Any]:
        """The state in which the deployment has succeeded: code 200, every module as wanted."""
        return self.wait_reported(
            device_id,
            lambda state: (
                state["lastDesiredVersion"] == version
                and state["lastDesiredStatus"]["code"] == 200
                and all(module["runtimeStatus"] == module["status"] for module in state["modules"].values())
            ),
            seconds,
        )

    def container(self, device_id: str, module: str) -> Any:
        return self.engine.containers.get(names.container(self.folder(device_id), device_id, module))

    def containers(self, device_id: str) -> list[Any]:
        label = f"{names.FOLDER_LABEL}={self.folder(device_id)}"
        return self.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)

    def networks(self, device_id: str) -> list[Any]:
        return self.engine.networks.list(names=[names.network(self.folder(device_id), device_id)])

    # Images and manifests

    @property
    def password(self) -> str:
        return self.call(lambda: self.registries.passwords("registry1"))[0]

    def push(self, local: str, repository: str) -> str:
        """The image under `<registry>/<repository>` by digest; it is not left under that name in the engine."""
        target = f"{self.registry_host}/{repository}"
        self.engine.images.get(local).tag(target, "t")
        auth = {"username": "registry1", "password": self.password}
        digest = ""
        for line in self.engine.api.push(target, "t", auth_config=auth, stream=True, decode=True):
            assert "error" not in line, line
            digest = line.get("aux", {}).get("Digest", digest)
        self.engine.api.remove_image(f"{target}:t")
        return f"{target}@{digest}"

    def manifest(
        self, modules: dict[str, Any], password: str | None = None, routes: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        credentials = {"address": self.registry_host, "username": "registry1", "password": password or self.password}
        system = {
            name: {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": image}}
            for name, image in SYSTEM_IMAGES.items()
        }
        del system["edgeAgent"]["status"], system["edgeAgent"]["restartPolicy"]
        settings = {"minDockerVersion": "v1.25", "registryCredentials": {"acr": credentials}}
        return {
            "$edgeAgent": {
                "properties.desired": {
                    "schemaVersion": "1.1",
                    "runtime": {"type": "docker", "settings": settings},
                    "systemModules": system,
                    "modules": modules,
                }
            },
            "$edgeHub": {
                "properties.desired": {
                    "schemaVersion": "1.1",
                    "routes": ROUTES if routes is None else routes,
                    "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
                }
            },
        }


def module(image: str, **more: Any) -> dict[str, Any]:
    """A manifest's entry; `createOptions` and `env` values are given as they are in Python."""
    settings = {"image": image, **more.pop("settings", {})}
    return {
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "version": "1.0",
        "settings": settings,
        **more,
    }
