"""What happens to a device whose deployment failed: the last good manifest, or the base manifest where there was none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from components.services import rollout
from components.services.errors import RolloutError, ServiceError
from components.services.hub import AGENT, Hub

LOG_TAIL_LINES = 80  # a server's traceback and what it says while it ends
_LOG_SECONDS = 15


def roll_back(
    hub: Hub,
    device_id: str,
    failure: RolloutError,
    module: str,
    good: Mapping[str, Any],
    named: str,
    timeout_seconds: float,
    progress: Callable[[str], None],
) -> RolloutError:
    """Apply and verify the manifest `good` (called `named` in messages); the error to raise: what failed and how the device was left."""
    logs = module_logs(hub, device_id, module)
    shown = "".join(f"\n    {line}" for line in logs)
    tail = (
        f"\n  The last lines of {module}:{shown}" if logs else f"\n  {module} left no log that the device could send."
    )
    progress(f"failed: {failure.answer}; going back to {named}")
    try:
        version = hub.apply(device_id, dict(good))
        rollout.verify(hub, device_id, version, timeout_seconds, progress)
        left = f"The device is back at {named}."
    except ServiceError as error:
        left = f"The hub has {named} again, which the device has not confirmed: {error.answer}."
    return RolloutError(failure.doing, device_id, f"{failure.answer}\n  {left}{tail}", failure.advice)


def module_logs(hub: Hub, device_id: str, module: str) -> list[str]:
    """The module's last lines through edgeAgent's direct method GetModuleLogs; none where the device cannot be asked.

    Source: "Retrieve logs from IoT Edge deployments", payload schema 1.0.
    """
    payload = {
        "schemaVersion": "1.0",
        "items": [{"id": f"^{module}$", "filter": {"tail": LOG_TAIL_LINES}}],
        "encoding": "none",
        "contentType": "text",
    }
    try:
        answered = hub.invoke(device_id, AGENT, "GetModuleLogs", payload, _LOG_SECONDS)
    except ServiceError:
        return []
    items = answered if isinstance(answered, list) else []
    text = "\n".join(str(item.get("payload") or "") for item in items if isinstance(item, dict))
    return [line.rstrip() for line in text.splitlines() if line.strip()][-LOG_TAIL_LINES:]
