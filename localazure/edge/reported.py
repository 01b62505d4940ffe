"""What edgeAgent reports: the state as a document, and the smallest patch from one to the next.

Shape: Azure/iotedge `doc/reported_states_during_deployment.md`, `AgentState.cs`, `DockerRuntimeModule.cs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from localazure.edge.deployment import Deployment, DeploymentError, Module, join_chunks, split_chunks
from localazure.edge.planner import NEVER, Container, Health, RestartPolicy, runtime_status

AGENT_VERSION = {"version": "1.5.0", "build": "local-azure", "commit": "local-azure"}


def status(code: int, description: str) -> dict[str, Any]:
    """`lastDesiredStatus`. A property of a twin holds at most 4096 bytes, so long texts are cut."""
    return {"code": code, "description": description[:1000]}


def module_state(
    module: Module, container: Container, health: Health, policy: RestartPolicy, image: str, unknown: bool = False
) -> dict[str, Any]:
    """One entry of `modules`; `image` is what the container really runs. `unknown` is for the shutdown, when nobody looks any more."""
    return {
        "exitCode": container.exit_code,
        "statusDescription": container.state,
        "lastStartTimeUtc": utc(container.started),
        "lastExitTimeUtc": utc(container.finished),
        "restartCount": health.restarts,
        "lastRestartTimeUtc": utc(health.last_restart),
        "runtimeStatus": "unknown" if unknown else runtime_status(module, container, health, policy),
        **({"version": module.version} if module.version is not None else {}),
        "status": module.status,
        "restartPolicy": module.restart_policy,
        "imagePullPolicy": module.pull_policy,
        "startupOrder": module.startup_order,
        "type": "docker",
        "settings": {
            "image": image,
            "imageHash": container.image_id,
            **split_chunks(json.dumps(module.create_options, separators=(",", ":"))),
        },
        "env": module.raw_env,
    }


def system_modules(deployment: Deployment, started: datetime, running: bool) -> dict[str, Any]:
    """edgeAgent and edgeHub: this process. Their images are the manifest's and were not pulled, hence no imageHash."""
    entries = {}
    for name, table in deployment.system.items():
        entry: dict[str, Any] = {
            "type": "docker",
            "exitCode": 0,
            "statusDescription": "running" if running else "exited",
            "lastStartTimeUtc": utc(started),
            "lastExitTimeUtc": utc(NEVER),
            "runtimeStatus": "running" if running else "unknown",
            "imagePullPolicy": table.get("imagePullPolicy", "on-create"),
            "settings": {"image": table["settings"]["image"], **split_chunks(_options_text(table["settings"]))},
            "env": table.get("env") or {},
        }
        if name == "edgeHub":
            entry |= {
                "status": table.get("status", "running"),
                "restartPolicy": table.get("restartPolicy", "always"),
                "restartCount": 0,
                "lastRestartTimeUtc": utc(NEVER),
            }
        entries[name] = entry
    return entries


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that turns `old` into `new`: only what changed, None where a key went away."""
    patch: dict[str, Any] = {key: None for key in old if key not in new and not key.startswith("$")}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = diff(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or not _same(before, value):
            patch[key] = value
    return patch


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a twin makes of a patch: objects are merged, None deletes."""
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = merge(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def utc(moment: datetime) -> str:
    """ISO 8601 with a Z; .NET's DateTime.MinValue for NEVER."""
    if moment == NEVER:
        return "0001-01-01T00:00:00Z"
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _same(left: Any, right: Any) -> bool:
    """JSON equality: 1 and true are different, 1 and 1.0 are not."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _options_text(settings: dict[str, Any]) -> str:
    try:
        text = join_chunks(settings)
    except DeploymentError:
        return ""
    return text or "{}"
