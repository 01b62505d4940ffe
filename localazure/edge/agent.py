"""edgeAgent: brings the containers to what the twin's desired properties ask for and reports what became of them.

Source: Azure/iotedge `Agent.cs`, `OrderedRetryPlanRunner.cs`, `doc/reported_states_during_deployment.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Any

from localazure.edge import reported
from localazure.edge.config import DeviceConfig
from localazure.edge.containers import ContainerError, Containers
from localazure.edge.deployment import FAILED, OK, UNKNOWN, Deployment, DeploymentError, parse
from localazure.edge.executor import Executor
from localazure.edge.memory import Memory
from localazure.edge.planner import Container, Health, next_restart, plan, runtime_status
from localazure.edge.settings import AgentSettings
from localazure.edge.twin_link import LinkError, TwinLink

log = logging.getLogger("localazure.edge.agent")

_INTERVAL = 20.0
"""The longest time between two looks at Docker; its events make them earlier."""


class Agent:
    """`run()` until cancelled, then `shut_down()`. `wake()` asks for a look at once."""

    def __init__(
        self, config: DeviceConfig, memory: Memory, containers: Containers, executor: Executor, settings: AgentSettings
    ) -> None:
        self._config = config
        self._memory = memory
        self._containers = containers
        self._executor = executor
        self._settings = settings
        self._link: TwinLink | None = None
        self._wanted = asyncio.Event()
        self._desired: dict[str, Any] | None = memory.read("desired")
        self._reported: dict[str, Any] | None = None
        self._status: tuple[int, dict[str, Any]] | None = None
        self._deployment: Deployment | None = None
        self._started = datetime.now(UTC)
        self._platform: dict[str, str] = {}

    def attach(self, link: TwinLink) -> None:
        """The twin connection; its callback is `desired_came`."""
        self._link = link

    def desired_came(self, desired: dict[str, Any], reported_now: dict[str, Any] | None) -> None:
        """For the twin connection. `reported_now` is what the hub has, None if that did not change."""
        if reported_now is not None:
            self._reported = reported_now
        if self._desired is None or desired.get("$version") != self._desired.get("$version"):
            log.info("deployment version %s came", desired.get("$version"))
            self._executor.forget_failures()
        self._desired = desired
        self._memory.write("desired", _without_credentials(desired))
        self.wake()

    def wake(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        while True:
            self._wanted.clear()
            try:
                pause = await self._look()
            except ContainerError as error:
                log.warning("Docker does not do its part, trying again: %s", error)
                pause = 5.0
            except Exception:
                log.exception("reconciling failed, trying again")
                pause = 5.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), pause)

    async def shut_down(self) -> None:
        """Stop the modules, to be started again by the next run, and say so: status 406, as edgeAgent does."""
        found = await asyncio.to_thread(self._containers.find)
        running = [container for container in found.values() if container.state == "running"]
        for container in running:
            self._park(container.module)
        await asyncio.gather(
            *(asyncio.to_thread(self._containers.stop, container.id, container.module) for container in running),
            return_exceptions=True,
        )
        self._status = (self._status[0] if self._status else 0, reported.status(UNKNOWN, "Agent is not running"))
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await self._report(await asyncio.to_thread(self._containers.find), running=False)

    async def _look(self) -> float:
        """One round; returns the seconds until the next one is due."""
        if self._desired is None:
            return _INTERVAL
        version = int(self._desired.get("$version", 0))
        try:
            deployment = parse(self._desired)
        except DeploymentError as error:
            # edgeAgent leaves the containers alone until there is a deployment that it understands.
            self._status = (version, reported.status(error.code, str(error)))
            await self._report(None)
            return _INTERVAL
        self._deployment = deployment
        failure = await self._reconcile(deployment)
        if int(self._desired.get("$version", 0)) != version:
            return 0  # a newer one came meanwhile: what we did does not count as its result
        self._status = (version, reported.status(FAILED, failure) if failure else reported.status(OK, ""))
        found = await asyncio.to_thread(self._containers.find)
        await self._report(found)
        return self._pause(deployment, found)

    async def _reconcile(self, deployment: Deployment) -> str | None:
        """The first failure's words, None when all went well. One failing step does not hold up the others."""
        failure = await self._executor.prepare(deployment)
        found = await asyncio.to_thread(self._containers.find)
        health = self._memory.health()
        fingerprints = self._executor.fingerprints(deployment)
        modules = {name: module for name, module in deployment.modules.items() if name in fingerprints}
        known = {
            name: container for name, container in found.items() if name in modules or name not in deployment.modules
        }
        for action in plan(modules, fingerprints, known, health, self._settings.policy, datetime.now(UTC)):
            if self._desired is not None and self._desired.get("$version") != deployment.version:
                return failure
            error = await self._executor.execute(action, deployment, found.get(action.module))
            failure = failure or error
        return failure

    async def _report(self, found: dict[str, Container] | None, running: bool = True) -> None:
        """Only what changed since the hub heard of it. Without `found` only the status (a deployment that was not understood)."""
        if self._link is None or self._reported is None or not self._link.connected or self._status is None:
            return
        state = self._state(found, running) if found is not None else self._head()
        if found is None or self._deployment is None:
            state = {**{key: value for key, value in self._reported.items() if not key.startswith("$")}, **state}
        patch = reported.diff(self._reported, state)
        if not patch:
            return
        try:
            await self._link.report(patch)
        except LinkError as error:
            log.warning("reporting failed, trying again later: %s", error)
            return
        self._reported = reported.merge(self._reported, patch)

    def _head(self) -> dict[str, Any]:
        assert self._status
        version, status = self._status
        return {
            "schemaVersion": "1.0",
            "version": reported.AGENT_VERSION,
            "lastDesiredVersion": version,
            "lastDesiredStatus": status,
        }

    def _state(self, found: dict[str, Container], running: bool) -> dict[str, Any]:
        head = self._head()
        deployment = self._deployment
        if deployment is None:
            return head
        health = self._memory.health()
        modules = {
            name: reported.module_state(
                module,
                found[name],
                health.get(name, Health()),
                self._settings.policy,
                self._executor.image_of(found[name], module),
                unknown=not running,
            )
            for name, module in deployment.modules.items()
            if name in found
        }
        return {
            **head,
            "runtime": {**deployment.runtime, "platform": self._platform},
            "systemModules": reported.system_modules(deployment, self._started, running),
            "modules": modules,
        }

    async def learn_platform(self) -> None:
        self._platform = await asyncio.to_thread(self._containers.platform)

    def _park(self, module: str) -> None:
        health = self._memory.health().get(module, Health())
        self._memory.set_health(module, Health(health.restarts, health.last_restart, parked=True))

    def _pause(self, deployment: Deployment, found: dict[str, Container]) -> float:
        """Until the next restart or retry is due."""
        now, health = datetime.now(UTC), self._memory.health()
        due = [
            (next_restart(container, health.get(name, Health()), self._settings.policy) - now).total_seconds()
            for name, container in found.items()
            if name in deployment.modules
            and runtime_status(deployment.modules[name], container, health.get(name, Health()), self._settings.policy)
            == "backoff"
        ]
        retry = self._executor.next_retry()
        if retry is not None:
            due.append(retry)
        return max(0.05, min([_INTERVAL, *due]))


def _without_credentials(desired: dict[str, Any]) -> dict[str, Any]:
    """For the disk."""
    runtime = desired.get("runtime")
    settings = runtime.get("settings") if isinstance(runtime, dict) else None
    if not isinstance(settings, dict) or "registryCredentials" not in settings:
        return desired
    kept = {key: value for key, value in settings.items() if key != "registryCredentials"}
    return {**desired, "runtime": {**runtime, "settings": kept}} if isinstance(runtime, dict) else desired
