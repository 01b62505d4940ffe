"""Waits until the devices of a configuration have taken it over, and says which have not and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.services.configurations import Configurations, Deployed, query
from components.services.errors import NotFoundError, RolloutError, ServiceError

POLL_SECONDS = 5.0
"""A hub of one unit takes 20 operations on configurations and 20 queries in a minute."""
COUNT_SECONDS = 15.0
REMINDER_SECONDS = 30.0
LATER_SECONDS = 60.0
"""From then on it is looked less often."""
_ASKED = 200  # devices of which the reasons are read
_NAMED = 5  # devices that a message names for each reason

Say = Callable[[str], None]

_NOT_YET = (
    "SELECT deviceId, properties.desired.$version AS wanted, properties.reported.lastDesiredVersion AS seen,"
    " properties.reported.lastDesiredStatus AS outcome FROM devices.modules"
    " WHERE moduleId = '$edgeAgent' AND configurations.[[%s]].status = 'Applied'"
    " AND (NOT IS_DEFINED(properties.reported.lastDesiredVersion)"
    " OR properties.reported.lastDesiredVersion != properties.desired.$version"
    " OR properties.reported.lastDesiredStatus.code != 200)"
)


@dataclass(frozen=True)
class Progress:
    """`meant`: the devices of the target condition by the hub's query, which is ahead of the configuration's own counts."""

    meant: int
    targeted: int
    applied: int
    succeeded: int
    failed: int

    def good(self, share: float) -> bool:
        return self.meant == self.targeted == self.applied and self.succeeded >= share * self.targeted

    def __str__(self) -> str:
        words = [f"{self.targeted} targeted", f"{self.applied} applied", f"{self.succeeded} successful"]
        if self.meant != self.targeted:
            words.insert(0, f"{self.meant} meant")
        return ", ".join([*words, f"{self.failed} failed"])


def wait(configurations: Configurations, deployed: Deployed, share: float, minutes: float, say: Say) -> Progress:
    """Until targeted = applied and `share` of them report success; a line for each change, and every 30 seconds.

    Raises RolloutError at the deadline. That a hub has not evaluated yet (Azure takes minutes) is no zero: the devices are counted
    by a query of their own.
    """
    watch = _Watch(configurations, deployed)
    started = time.monotonic()
    shown, shown_at = "", 0.0
    while True:
        waited = time.monotonic() - started
        try:
            seen = watch.look(waited)
        except NotFoundError as error:
            raise RolloutError("roll out the configuration", deployed.id, error.answer, error.advice) from None
        except ServiceError as error:  # busy or away for a while: what counts is the deadline
            line = f"the hub does not say how it fares: {error.answer}"
        else:
            if seen.good(share):
                say(f"done: {seen}" if seen.targeted else "done: it targets no device at the moment")
                return seen
            line = str(seen)
        if line != shown or waited - shown_at > REMINDER_SECONDS:
            shown, shown_at = line, waited
            say(f"{line}, {waited:.0f} s of {minutes * 60:.0f}")
        if waited > minutes * 60:
            answer = _late(configurations, deployed.id, watch.seen, share, minutes)
            raise RolloutError("roll out the configuration", deployed.id, answer)
        time.sleep(POLL_SECONDS if waited < LATER_SECONDS else 3 * POLL_SECONDS)


class _Watch:
    """`seen` is what the last look that succeeded saw."""

    def __init__(self, configurations: Configurations, deployed: Deployed) -> None:
        self._configurations, self._deployed = configurations, deployed
        self._meant, self._counted_at = -1, -COUNT_SECONDS
        self.seen = Progress(0, 0, 0, 0, 0)

    def look(self, waited: float) -> Progress:
        """Raises NotFoundError when somebody has deleted the configuration, ServiceError when the hub does not answer."""
        if waited - self._counted_at >= COUNT_SECONDS:
            self._meant, self._counted_at = self._configurations.count(self._deployed.terms.target), waited
        found = self._configurations.find(self._deployed.id)
        if found is None:
            answer = "somebody deleted it while it was rolled out"
            raise NotFoundError("watch", self._deployed.id, answer, "Run `pulumi up` again to restore it.")
        self.seen = measured(found, self._meant)
        return self.seen


def measured(deployed: Deployed, meant: int) -> Progress:
    return Progress(
        meant,
        deployed.count("targeted"),
        deployed.count("applied"),
        deployed.count("reportedSuccessful"),
        deployed.count("reportedFailed"),
    )


def _late(configurations: Configurations, configuration_id: str, seen: Progress, share: float, minutes: float) -> str:
    got = f"{100 * seen.succeeded / seen.targeted:.1f} %" if seen.targeted else "nothing"
    said = f"{got} of {seen.targeted} devices report success after {minutes:g} minutes, {100 * share:g} % are asked for ({seen})"
    try:
        return said + "".join(f"\n    {line}" for line in reasons(configurations, configuration_id))
    except ServiceError as error:
        return f"{said}\n    the hub did not say which devices: {error.answer}"


def reasons(configurations: Configurations, configuration_id: str) -> list[str]:
    """Why devices have not succeeded: `12 devices: code 500: pull failed (dev-1, dev-2, ...)`, the most frequent first."""
    rows = query(configurations.hub, _NOT_YET % configuration_id, _ASKED)
    devices: dict[str, list[str]] = {}
    for row in rows:
        devices.setdefault(_reason(row), []).append(str(row.get("deviceId")))
    counts = Counter({reason: len(found) for reason, found in devices.items()})
    lines = [
        f"{count} device{'s' if count > 1 else ''}: {reason} ({_some(devices[reason])})"
        for reason, count in counts.most_common()
    ]
    return [*lines, f"only the first {_ASKED} of them were looked at"] if len(rows) == _ASKED else lines


def _reason(row: dict[str, Any]) -> str:
    seen, outcome = row.get("seen"), row.get("outcome") or {}
    if seen is None:
        return "the device has never reported"
    if seen != row.get("wanted"):
        return "the device has not reported on this content; it may be offline"
    description = " ".join(str(outcome.get("description") or "").split())[:200]
    return f"code {outcome.get('code')}" + (f": {description}" if description else "")


def _some(devices: list[str]) -> str:
    shown = ", ".join(sorted(devices)[:_NAMED])
    return f"{shown}, ..." if len(devices) > _NAMED else shown
