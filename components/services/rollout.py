"""Waits until a device reports that it runs what was applied, and tells what it is waiting for."""

from __future__ import annotations

import time
from collections.abc import Callable

from components.edge import status
from components.services.errors import RolloutError
from components.services.hub import Hub

POLL_SECONDS = 2.0
REMINDER_SECONDS = 20.0


def verify(
    hub: Hub,
    device_id: str,
    version: int,
    timeout_seconds: float,
    progress: Callable[[str], None],
    stable_seconds: float = 0,
) -> None:
    """Poll the `$edgeAgent` twin until the device is healthy with this version of its desired properties.

    It must stay so for `stable_seconds`: a module that crashes while it loads its model is reported as running for a moment, and
    edgeAgent then waits ten seconds before it starts it again.

    One progress line per change of state, and one every 20 seconds so that nobody wonders. Raises RolloutError when the device
    failed, when somebody else's deployment took its place, or when the deadline passed.
    """
    started = time.monotonic()
    shown, shown_at = "", 0.0
    healthy_since: float | None = None
    while True:
        desired, reported = hub.agent_twin(device_id)
        if int(desired["$version"]) > version:
            answer = f"version {int(desired['$version'])} of somebody else replaced version {version} meanwhile"
            replaced = RolloutError("deploy to the device", device_id, answer, _FOREIGN)
            replaced.replaced = True
            raise replaced
        verdict = status.judge(version, desired, reported)
        line, waited = status.describe(verdict), time.monotonic() - started
        if line != shown or waited - shown_at > REMINDER_SECONDS:
            progress(f"{line}, {waited:.0f} s of {timeout_seconds:.0f}" if verdict.state == "waiting" else line)
            shown, shown_at = line, waited
        if verdict.state != "healthy":
            healthy_since = None
        elif healthy_since is None:
            healthy_since = waited
        if healthy_since is not None and waited - healthy_since >= stable_seconds:
            return
        if verdict.state == "failed":
            raise RolloutError("deploy to the device", device_id, line, _ADVICE)
        if waited > timeout_seconds and healthy_since is None:
            answer = f"not healthy within {timeout_seconds:.0f} s; {line}"
            raise RolloutError("deploy to the device", device_id, answer, _ADVICE)
        time.sleep(POLL_SECONDS)


_FOREIGN = "Nobody else may deploy to this device (Azure CLI, portal, automatic deployments). Run `pulumi up` again to restore ours."
_ADVICE = (
    "Look at the module on the device (`iotedge list`, `iotedge logs <module>`), correct the cause, then run `pulumi up` again; "
    "a slow device may need a larger aml-edge:deployment.verify.timeoutSeconds."
)
