"""The steps of a plan, made real: pulls, containers, workload sockets. What fails is tried again later and later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from localazure.edge import container_body
from localazure.edge.book import IdentityBook
from localazure.edge.config import DeviceConfig
from localazure.edge.container_body import Surroundings
from localazure.edge.containers import ContainerError, Containers
from localazure.edge.deployment import Deployment, Module
from localazure.edge.identities import HubError
from localazure.edge.memory import Memory
from localazure.edge.planner import Action, Container, Health
from localazure.edge.settings import AgentSettings
from localazure.edge.workload import Signer, WorkloadServer

log = logging.getLogger("localazure.edge.agent")

_LONGEST_PAUSE = 300.0


@dataclass
class _Failure:
    message: str
    attempts: int
    retry_at: float


class Executor:
    """One device's hands. A failed step is not made again before its time: after one cool-off unit, two, four, ... at most 5 minutes."""

    def __init__(
        self,
        config: DeviceConfig,
        memory: Memory,
        book: IdentityBook,
        containers: Containers,
        around: Surroundings,
        settings: AgentSettings,
    ) -> None:
        self._config = config
        self._memory = memory
        self._book = book
        self._containers = containers
        self._around = around
        self._settings = settings
        self._workloads: dict[str, WorkloadServer] = {}
        self._pulls: dict[tuple[str, object], asyncio.Future[None]] = {}
        self._failures: dict[str, _Failure] = {}

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self._workloads.values()))

    def forget_failures(self) -> None:
        """A new deployment: everything is tried at once."""
        self._failures.clear()

    def next_retry(self) -> float | None:
        """Seconds, None when nothing failed."""
        times = [failure.retry_at - time.monotonic() for failure in self._failures.values()]
        return max(0.0, min(times)) if times else None

    async def prepare(self, deployment: Deployment) -> str | None:
        """Identities and workload sockets for all modules; the words of the first failure."""
        failure = None
        for name in deployment.modules:
            if self._book.module(name) is None:
                error = await self._guarded(f"identity of {name}", self._make_identity(name))
                failure = failure or error
            if name not in self._workloads:
                folder = self._config.folder / "workload" / name
                server = WorkloadServer(folder, name, self._config.ca, lambda name=name: self._signer(name))  # type: ignore[misc]
                await server.start()
                self._workloads[name] = server
        for name in self._workloads.keys() - deployment.modules.keys():
            await self._workloads.pop(name).stop()
        return failure

    def fingerprints(self, deployment: Deployment) -> dict[str, str]:
        """Of the modules that have an identity; the others cannot be made yet."""
        found = {}
        for name, module in deployment.modules.items():
            identity = self._book.module(name)
            if identity:
                found[name] = container_body.fingerprint(module, self._around, identity.generation)
        return found

    def image_of(self, container: Container, module: Module) -> str:
        """What is reported as settings.image: the manifest's own text, as long as the container was made from it."""
        if container.image == container_body.with_tag(module.image):
            return module.image
        return container.image

    async def execute(self, action: Action, deployment: Deployment, container: Container | None) -> str | None:
        """The failure's words or None."""
        log.info("%s module %s", action.kind, action.module)
        step = self._step(action, deployment, container)
        return await self._guarded(f"{action.kind} {action.module}", step)

    async def _step(self, action: Action, deployment: Deployment, container: Container | None) -> None:
        name = action.module
        health = self._memory.health().get(name, Health())
        if action.kind in ("create", "update"):
            await self._replace(deployment.modules[name], deployment, container)
            return
        assert container
        if action.kind == "remove":
            await asyncio.to_thread(self._containers.stop, container.id, name)
            await asyncio.to_thread(self._containers.remove, container.id, name)
            self._memory.set_health(name, None)
        elif action.kind == "stop":
            self._memory.set_health(name, Health(parked=True))
            await asyncio.to_thread(self._containers.stop, container.id, name)
        elif action.kind == "start":
            await asyncio.to_thread(self._containers.start, container.id, name)
            self._memory.set_health(name, Health(health.restarts, health.last_restart))
        elif action.kind == "restart":
            # Counted before the start: a container that Docker cannot start must back off, too.
            self._memory.set_health(name, Health(health.restarts + 1, datetime.now(UTC)))
            await asyncio.to_thread(self._containers.start, container.id, name)
        elif action.kind == "forget":
            self._memory.set_health(name, None)

    async def _replace(self, module: Module, deployment: Deployment, container: Container | None) -> None:
        """The old container runs on until the new image is there."""
        await self._pull(module, deployment)
        identity = self._book.module(module.name)
        assert identity
        folder = self._config.folder / "workload" / module.name
        body = container_body.body(module, deployment, self._around, identity.generation, folder)
        if container:
            await asyncio.to_thread(self._containers.stop, container.id, module.name)
            await asyncio.to_thread(self._containers.remove, container.id, module.name)
        self._memory.set_health(module.name, None)
        await asyncio.to_thread(self._containers.create, module.name, body)
        if module.status == "running":
            made = (await asyncio.to_thread(self._containers.find))[module.name]
            await asyncio.to_thread(self._containers.start, made.id, module.name)

    async def _pull(self, module: Module, deployment: Deployment) -> None:
        """on-create asks the registry every time; never takes what the engine has. A pull outlives the attempt that began it."""
        if module.pull_policy == "never":
            return
        credentials = deployment.credentials_for(module.image)
        key = (module.image, credentials)
        if key not in self._pulls:
            work = asyncio.to_thread(self._containers.pull, module.image, credentials)
            self._pulls[key] = asyncio.ensure_future(work)
        pull = self._pulls[key]
        done, _ = await asyncio.wait({pull}, timeout=self._settings.pull_seconds)
        if not done:
            raise ContainerError(
                f"pulling the image {module.image}: The operation was canceled after {self._settings.pull_seconds:g} s;"
                " the pull itself goes on"
            )
        del self._pulls[key]
        pull.result()

    async def _make_identity(self, name: str) -> None:
        await self._book.ensure_module(name)

    def _signer(self, name: str) -> Signer | None:
        identity = self._book.module(name)
        return Signer(identity.generation, identity.primary_key) if identity else None

    async def _guarded(self, step: str, work: object) -> str | None:
        assert asyncio.iscoroutine(work)
        failure = self._failures.get(step)
        if failure and time.monotonic() < failure.retry_at:
            work.close()
            return failure.message
        try:
            await work
        except (ContainerError, HubError) as error:
            attempts = failure.attempts + 1 if failure else 1
            pause = min(self._settings.policy.cool_off_seconds * 2 ** (attempts - 1), _LONGEST_PAUSE)
            self._failures[step] = _Failure(str(error), attempts, time.monotonic() + pause)
            log.warning("%s failed (attempt %d, next in %.0f s): %s", step, attempts, pause, error)
            return str(error)
        with contextlib.suppress(KeyError):
            del self._failures[step]
        return None
