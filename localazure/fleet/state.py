"""What an agent of a simulated fleet reports for the desired properties that it has. Pure.

It follows `localazure.edge`: the same parser refuses the same manifests with the same codes, and the report has the same shape. Where a
device fails, its pull fails: the modules before stay, as with edgeAgent, and a deployment of just these modules succeeds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localazure.edge import reported
from localazure.edge.deployment import FAILED, OK, Deployment, DeploymentError, parse
from localazure.edge.planner import NEVER, Container, Health, RestartPolicy

Json = dict[str, Any]
_POLICY = RestartPolicy()


@dataclass
class Device:
    """`running` is the fingerprint of each module, `shown` what the hub has as reported."""

    id: str
    running: dict[str, str] = field(default_factory=dict)
    shown: Json = field(default_factory=dict)

    def take(self, desired: Json, fails: bool) -> Json:
        """The new reported properties after an attempt to apply them; `fails` makes pulls of new modules fail."""
        version = int(desired.get("$version", 0))
        try:
            deployment = parse(desired)
        except DeploymentError as error:
            return self._status(version, error.code, str(error))
        wanted = {name: module.fingerprint for name, module in deployment.modules.items()}
        new = [name for name in wanted if self.running.get(name) != wanted[name]]
        if fails and new:
            image = deployment.modules[new[0]].image
            return self._status(
                version, FAILED, f"Error while creating module {new[0]}: simulated: cannot pull {image}: no such host"
            )
        self.running = wanted
        return {**_healthy(deployment, desired), **_outcome(version, OK, "")}

    def _status(self, version: int, code: int, text: str) -> Json:
        """edgeAgent then reports these two and leaves the rest."""
        kept = {key: value for key, value in self.shown.items() if not key.startswith("$")}
        return {**kept, **_outcome(version, code, text)}


def is_chosen(device_id: str, share: float) -> bool:
    """Whether the device is among the `share` that fails: the same ones each time, and those of 5 % among those of 10 %."""
    number = int.from_bytes(hashlib.sha256(device_id.encode()).digest()[:8], "big")
    return number < share * 2**64


def running_of(shown: Json, desired: Json) -> dict[str, str]:
    """The modules that a restarted agent finds: those of its last success, if the desired properties are still the same."""
    status = shown.get("lastDesiredStatus") or {}
    if status.get("code") != OK or shown.get("lastDesiredVersion") != desired.get("$version"):
        return {}
    try:
        return {name: module.fingerprint for name, module in parse(desired).modules.items()}
    except DeploymentError:
        return {}


def _outcome(version: int, code: int, text: str) -> Json:
    return {"lastDesiredVersion": version, "lastDesiredStatus": reported.status(code, text)}


def _healthy(deployment: Deployment, desired: Json) -> Json:
    now = datetime.now(UTC)
    modules = {}
    for name, module in deployment.modules.items():
        state = "running" if module.status == "running" else "exited"
        image_id = "sha256:" + hashlib.sha256(module.image.encode()).hexdigest()
        container = Container(name, name, module.fingerprint, module.image, state, 0, now, NEVER, image_id)
        modules[name] = reported.module_state(module, container, Health(), _POLICY, module.image)
    return {
        "schemaVersion": "1.0",
        "version": reported.AGENT_VERSION,
        "runtime": {
            **deployment.runtime,
            "platform": {"os": "linux", "architecture": "x86_64", "version": "simulated"},
        },
        "systemModules": reported.system_modules(deployment, now, True),
        "modules": modules,
    }
