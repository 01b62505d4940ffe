"""What of the hubs can be set for an instance: the key `hub` of `<folder>/settings.json`, read when the daemon starts.

    {"hub": {"throttling": true, "throttlingFactor": 1, "evaluationDelaySeconds": 0}}

`throttling` (default true) applies the documented rates of the hub's SKU and units, times `throttlingFactor`. `evaluationDelaySeconds` is
how long changes wait until target conditions are evaluated: 0 here, up to five minutes with Azure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localazure.instance import InstanceError

_KEYS = {"throttling", "throttlingFactor", "evaluationDelaySeconds"}


@dataclass(frozen=True)
class HubSettings:
    throttling: bool = True
    throttling_factor: float = 1.0
    evaluation_delay: float = 0.0
    """Seconds."""

    @property
    def factor(self) -> float | None:
        """None: no throttling."""
        return self.throttling_factor if self.throttling else None


def load(folder: Path) -> HubSettings:
    """Raises InstanceError when the file says something else than is known."""
    path = folder / "settings.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return HubSettings()
    except (OSError, ValueError) as error:
        raise InstanceError(f"cannot read the settings in {path}: {error}; correct or remove the file") from error
    section = document.get("hub", {}) if isinstance(document, dict) else None
    if not isinstance(section, dict) or set(section) - _KEYS:
        raise InstanceError(
            f"{path}: 'hub' is an object with some of {', '.join(sorted(_KEYS))}; correct or remove the file"
        )
    throttling = section.get("throttling", True)
    factor = _number(section, "throttlingFactor", 1.0)
    delay = _number(section, "evaluationDelaySeconds", 0.0)
    if not isinstance(throttling, bool) or not factor or delay is None or factor <= 0 or delay < 0:
        raise InstanceError(
            f"{path}: throttling is true or false, throttlingFactor more than 0, evaluationDelaySeconds 0 or more; correct the file"
        )
    return HubSettings(throttling, factor, delay)


def _number(section: dict[str, Any], name: str, default: float) -> float | None:
    value = section.get(name, default)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
