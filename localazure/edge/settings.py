"""edgeAgent's own settings, from `[agent.env]` of config.toml, under the names that edgeAgent reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from localazure.edge.config import ConfigError, DeviceConfig
from localazure.edge.planner import RestartPolicy


@dataclass(frozen=True)
class AgentSettings:
    """`pull_seconds`: how long one attempt to pull is waited for; the pull itself goes on."""

    policy: RestartPolicy
    pull_seconds: float = 60


def read(config: DeviceConfig) -> AgentSettings:
    """CoolOffTimeUnitInSecs, MaxRestartCount, IntensiveCareTimeInMinutes. Raises ConfigError."""
    env = config.agent_env
    try:
        policy = RestartPolicy(
            cool_off_seconds=float(env.get("CoolOffTimeUnitInSecs", 10)),
            max_restarts=int(env.get("MaxRestartCount", 20)),
            intensive_care=timedelta(minutes=float(env.get("IntensiveCareTimeInMinutes", 10))),
        )
    except ValueError as error:
        raise ConfigError(f"[agent.env]: {error}") from error
    return AgentSettings(policy)
