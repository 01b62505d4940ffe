"""Waits until a device reports that it runs what was applied, and tells what it is waiting for."""

from __future__ import annotations

import time
from collections.abc import Callable

from components.edge import status
from components.services.errors import ServiceError
from components.services.hub import Hub

POLL_SECONDS = 2.0
REMINDER_SECONDS = 20.0


def verify(hub: Hub, device_id: str, timeout_seconds: float, progress: Callable[[str], None]) -> None:
    """Poll the `$edgeAgent` twin until the device is healthy. Raises ServiceError when it failed or the deadline passed.

    One progress line per change of state, and one every 20 seconds so that nobody wonders.
    """
    started = time.monotonic()
    shown, shown_at = "", 0.0
    while True:
        desired, reported = hub.agent_twin(device_id)
        verdict = status.judge(int(desired["$version"]), desired, reported)
        line, waited = status.describe(verdict), time.monotonic() - started
        if line != shown or waited - shown_at > REMINDER_SECONDS:
            progress(f"{line}, {waited:.0f} s of {timeout_seconds:.0f}" if verdict.state == "waiting" else line)
            shown, shown_at = line, waited
        if verdict.state == "healthy":
            return
        if verdict.state == "failed":
            raise ServiceError("deploy to the device", device_id, line, _ADVICE)
        if waited > timeout_seconds:
            answer = f"not healthy within {timeout_seconds:.0f} s; {line}"
            raise ServiceError("deploy to the device", device_id, answer, _ADVICE)
        time.sleep(POLL_SECONDS)


_ADVICE = (
    "Look at the module on the device (`iotedge list`, `iotedge logs <module>`), correct the cause, then run `pulumi up` again; "
    "a slow device may need a larger aml-edge:deployment.verify.timeoutSeconds."
)
