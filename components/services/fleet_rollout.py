"""Carries a fleet deployment out on IoT Hub: the new content beside the old one first, then the old one away.

What the hub holds under our label is the truth, not the state: a run that was killed at any point is continued by the next one. Of
configurations with equal priority the newest applies, so that a new one takes its devices over from the one before, and gives them
back when it is removed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from components.edge import fleet
from components.services import fleet_watch
from components.services.configurations import Configurations, Deployed, Terms
from components.services.errors import ConflictError, RolloutError, ServiceError
from components.services.fleet_watch import Progress, Say

BACK_MINUTES = 5.0
"""How long devices are watched on their way back; the hub evaluates every five minutes at worst."""
_GENERATIONS = 100

Json = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """`terms` are those for all of the target condition, with our labels; `rollout` as in the settings, None for everybody at once."""

    name: str
    label: str
    """The value of the label MANAGED_FOR."""
    content: Json = field(repr=False)
    content_hash: str
    terms: Terms
    rollout: Mapping[str, Any] | None

    def reached(self) -> Terms:
        """The terms of the new content in the present wave."""
        return self._with(fleet.reached(self.terms.target, self.rollout), fleet.part(self.rollout))

    def whole(self) -> Terms:
        return self._with(self.terms.target, fleet.EVERYBODY)

    def _with(self, target: str, part: str) -> Terms:
        return replace(self.terms, target=target, labels={**self.terms.labels, fleet.PART: part})


@dataclass(frozen=True)
class Outcome:
    """`beside`: the content before, while it still has the devices that no wave has reached. `progress` is None where nobody waited."""

    deployed: Deployed
    generation: int
    beside: Deployed | None
    progress: Progress | None


def carry_out(configurations: Configurations, wanted: Wanted, generation: int, say: Say) -> Outcome:
    """Raises RolloutError when too few devices succeed in time; then the hub is as it was before, without the new content."""
    before = configurations.labelled(fleet.MANAGED_FOR, wanted.label)
    new_id, generation = _choose(configurations, wanted, generation)
    others = [one for one in before if one.id != new_id]
    last = fleet.is_last_wave(wanted.rollout)
    beside = None if last else _whole(others)
    if beside is not None:
        beside = _with_terms(configurations, beside, wanted.whole(), say)  # else another priority might decide
    deployed = _put(configurations, wanted, new_id, say)
    progress = None
    if wanted.rollout:
        share, minutes = float(wanted.rollout["minSuccess"]), float(wanted.rollout["withinMinutes"])
        say(f"wave {wanted.rollout['wave']} of {len(wanted.rollout['waves'])}: {deployed.terms.target or 'no device'}")
        try:
            progress = fleet_watch.wait(configurations, deployed, share, minutes, say)
        except RolloutError as failure:
            raise _gone_back(configurations, before, others, deployed, failure, say) from None
    for one in others:
        if beside is None or one.id != beside.id:
            configurations.delete(one.id)
            say(f"removed {one.id}")
    return Outcome(deployed, generation, beside, progress)


def _choose(configurations: Configurations, wanted: Wanted, generation: int) -> tuple[str, int]:
    """The id of this very content, credentials included: the one that has it, or the first that is free."""
    for number in range(generation, generation + _GENERATIONS):
        new_id = fleet.configuration_id(wanted.name, wanted.content_hash, number)
        there = configurations.find(new_id)
        if there is not None and there.terms.labels.get(fleet.MANAGED_FOR) != wanted.label:
            answer = (
                f"the hub {configurations.hub.host_name} has a configuration of this id that this resource did not make"
            )
            raise ServiceError("create the configuration", new_id, answer, "Give the fleet deployment another name.")
        if there is None or there.content == wanted.content:
            return new_id, number
    raise ServiceError(
        "create the configuration", wanted.name, f"{_GENERATIONS} generations of it are there", "Delete old ones."
    )


def _put(configurations: Configurations, wanted: Wanted, new_id: str, say: Say) -> Deployed:
    terms = wanted.reached()
    there = configurations.find(new_id)
    if there is None:
        try:
            made = configurations.create(new_id, wanted.content, terms)
            say(f"created {new_id}")
            return made
        except ConflictError:  # the answer to a first try was lost
            there = configurations.find(new_id)
            if there is None:
                raise
    return _with_terms(configurations, there, terms, say)


def _with_terms(configurations: Configurations, deployed: Deployed, terms: Terms, say: Say) -> Deployed:
    if deployed.terms == terms:
        return deployed
    updated = configurations.update(deployed, terms)
    say(f"updated {deployed.id}: {terms.target or 'no device'}, priority {terms.priority}")
    return updated


def _whole(others: list[Deployed]) -> Deployed | None:
    """The newest that has all of the target condition: what the devices outside of the waves keep."""
    return next((one for one in reversed(others) if one.terms.labels.get(fleet.PART) == fleet.EVERYBODY), None)


def _gone_back(
    configurations: Configurations,
    before: list[Deployed],
    others: list[Deployed],
    failed: Deployed,
    failure: RolloutError,
    say: Say,
) -> RolloutError:
    """Removes the new content where another takes over; else gives it the terms that it had. The error to raise."""
    say(f"failed: {failure.answer.splitlines()[0]}")
    for one in others:
        now = configurations.find(one.id)
        if now is not None:
            _with_terms(configurations, now, one.terms, say)
    was = next((one for one in before if one.id == failed.id), None)
    if others or was is None:
        configurations.delete(failed.id)
        say(f"removed {failed.id}")
    else:
        now = configurations.find(failed.id)
        if now is not None:
            _with_terms(configurations, now, was.terms, say)
    if others:
        left = f"{failed.id} was removed; {_take_over(configurations, others, say)}"
    elif was is None:
        left = f"{failed.id} was removed. There was no content before; the devices keep its modules until another one comes"
    else:
        left = f"There was no content before; {failed.id} is back at the devices that it had: {was.terms.target}"
    return RolloutError(failure.doing, failure.resource, f"{failure.answer}\n  {left}", _ADVICE)


def _take_over(configurations: Configurations, others: list[Deployed], say: Say) -> str:
    """Waits until the newest of the others has its devices again; what to say of it."""
    newest = others[-1]
    deadline = time.monotonic() + BACK_MINUTES * 60
    while (found := configurations.find(newest.id)) is not None:
        meant = configurations.count(newest.terms.target)
        if len(others) > 1 or found.count("applied") == found.count("targeted") == meant:
            say(f"{newest.id} is applied to {found.count('applied')} devices again")
            return f"{newest.id} is applied to its {found.count('applied')} devices again"
        if time.monotonic() > deadline:
            break
        time.sleep(fleet_watch.POLL_SECONDS)
    return f"{newest.id} takes over again, which the hub has not confirmed within {BACK_MINUTES:g} minutes"


_ADVICE = (
    "Correct the cause (the devices' reasons stand above; `iotedge list` and `iotedge logs` on one of them say more), "
    "then run `pulumi up` again."
)
