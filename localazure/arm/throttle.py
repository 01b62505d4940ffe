"""How many requests ARM takes: 12,000 reads, 1,200 writes and 15,000 deletions an hour for a subscription and principal
(learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling, the limits of the classic scheme).

`<folder>/settings.json` may hold `{"arm": {"throttling": false}}` or `{"arm": {"throttlingFactor": 0.01}}`; read at the start.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from localazure.arm.errors import ArmError
from localazure.instance import InstanceError

_HOUR = 3600
_LIMITS = {"reads": 12_000, "writes": 1_200, "deletes": 15_000}
_KINDS = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
_KEYS = {"throttling", "throttlingFactor"}


class Throttle:
    """`factor` multiplies the limits; None lets everything pass. `clock` gives seconds. An hour's worth may come at once."""

    def __init__(self, factor: float | None = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._factor, self._clock = factor, clock
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, method: str, subscription: str, claims: Mapping[str, Any]) -> dict[str, str]:
        """The header that says what is left; 429 TooManyRequests when nothing is."""
        if self._factor is None:
            return {}
        kind, actor = _KINDS.get(method, "writes"), claims["oid"]
        most, now = max(1, int(_LIMITS[kind] * self._factor)), self._clock()
        left, since = self._buckets.get((actor, kind), (float(most), now))
        left = min(most, left + (now - since) * most / _HOUR)
        if left < 1:
            seconds = math.ceil((1 - left) * _HOUR / most)
            minutes = math.ceil(seconds / 60)
            raise ArmError(
                429,
                "TooManyRequests",
                f"Number of '{kind.removesuffix('s')}' requests for subscription '{subscription}' actor '{actor}' exceeded the limit of "
                f"'{most}' for time interval '01:00:00'. Please try again after '{minutes}' minutes.",
                headers={"Retry-After": str(seconds)},
            )
        self._buckets[actor, kind] = (left - 1, now)
        return {f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(left - 1))}


def load(folder: Path) -> Throttle:
    """Raises InstanceError when the file says something else than is known."""
    path = folder / "settings.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Throttle()
    except (OSError, ValueError) as error:
        raise InstanceError(f"cannot read the settings in {path}: {error}; correct or remove the file") from error
    section = document.get("arm", {}) if isinstance(document, dict) else None
    on, factor = (
        (section.get("throttling", True), section.get("throttlingFactor", 1))
        if isinstance(section, dict)
        else (None, 1)
    )
    number = isinstance(factor, int | float) and not isinstance(factor, bool) and factor > 0
    if not isinstance(section, dict) or set(section) - _KEYS or not isinstance(on, bool) or not number:
        raise InstanceError(
            f"{path}: 'arm' is an object with throttling (true or false) and throttlingFactor (more than 0); correct or remove the file"
        )
    return Throttle(factor if on else None)
