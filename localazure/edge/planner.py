"""What to do next with the containers, decided without touching them: edgeAgent's HealthRestartPlanner and restart policy.

Source: Azure/iotedge, `planners/HealthRestartPlanner.cs`, `RestartPolicyManager.cs` (cool-off 10 s, 20 s, ... at most 5 minutes,
20 restarts) and `RuntimeInfoProvider.cs` (Docker's states).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from localazure.edge.deployment import Module

NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RestartPolicy:
    """edgeAgent's settings CoolOffTimeUnitInSecs, MaxRestartCount and IntensiveCareTimeInMinutes."""

    cool_off_seconds: float = 10
    max_restarts: int = 20
    intensive_care: timedelta = timedelta(minutes=10)

    def cool_off(self, restarts: int) -> timedelta:
        return timedelta(seconds=min(self.cool_off_seconds * 2 ** min(restarts, 20), 300))


@dataclass(frozen=True)
class Health:
    """What Docker does not know of a module: its restarts, and whether we stopped it on purpose (then it starts again freely)."""

    restarts: int = 0
    last_restart: datetime = NEVER
    parked: bool = False


@dataclass(frozen=True)
class Container:
    """A module's container as Docker reports it. Times are UTC; NEVER where there was none."""

    module: str
    id: str
    fingerprint: str
    image: str
    state: str
    exit_code: int
    started: datetime
    finished: datetime
    image_id: str

    @property
    def base_status(self) -> str:
        if self.state == "running":
            return "running"
        if self.state in ("exited", "dead", "removing"):
            return "stopped" if self.exit_code == 0 else "failed"
        return "stopped" if self.state in ("created", "paused", "restarting") else "unknown"


@dataclass(frozen=True)
class Action:
    """One step: `create`, `update` (pull, then replace), `start`, `stop`, `restart` (counted), `remove`, `forget` (restart count)."""

    kind: str
    module: str


def plan(
    desired: Mapping[str, Module],
    fingerprints: Mapping[str, str],
    found: Mapping[str, Container],
    health: Mapping[str, Health],
    policy: RestartPolicy,
    now: datetime,
) -> list[Action]:
    """The steps in the order in which they are to be made: removals, then by startupOrder.

    `fingerprints` says what each module's container should be made from; one with another fingerprint is replaced.
    """
    actions = [Action("remove", name) for name in sorted(found.keys() - desired.keys())]
    for module in sorted(desired.values(), key=lambda module: (module.startup_order, module.name)):
        container = found.get(module.name)
        if container and container.fingerprint != fingerprints[module.name]:
            actions.append(Action("update", module.name))
            continue
        kind = _step(module, container, health.get(module.name, Health()), policy, now)
        if kind:
            actions.append(Action(kind, module.name))
    return actions


def runtime_status(module: Module | None, container: Container, health: Health, policy: RestartPolicy) -> str:
    """What is reported as runtimeStatus: running, stopped, failed, backoff or unknown."""
    status = container.base_status
    if status in ("running", "unknown") or module is None:
        return status
    if module.status == "stopped":
        return "stopped"
    if _never_started(container) or health.parked:
        return "stopped"
    if module.restart_policy == "always" or (
        module.restart_policy in ("on-failure", "on-unhealthy") and status == "failed"
    ):
        return "failed" if health.restarts >= policy.max_restarts else "backoff"
    return status


def next_restart(container: Container, health: Health, policy: RestartPolicy) -> datetime:
    return container.finished + policy.cool_off(health.restarts)


def _step(
    module: Module, container: Container | None, health: Health, policy: RestartPolicy, now: datetime
) -> str | None:
    if container is None:
        return "create"
    if container.state == "running":
        if module.status == "stopped":
            return "stop"
        if health.restarts and now - max(container.finished, container.started) > policy.intensive_care:
            return "forget"
        return None
    if module.status == "stopped":
        return None
    if _never_started(container) or health.parked:
        return "start"
    if runtime_status(module, container, health, policy) == "backoff":
        due = next_restart(container, health, policy)
        return "restart" if now >= due or container.finished > now else None
    return None


def _never_started(container: Container) -> bool:
    return container.state == "created" and container.started == NEVER
