"""What a fleet deployment asks of IoT Hub: the rules of its settings, its ids, the devices of its waves. Pure.

Sources: "Understand IoT Edge automatic deployments"; the hub's rules for ids and labels as azure-iot-cli-extension states them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.edge import target_condition
from components.edge.query import check_metric
from components.edge.query_words import QueryError

MANAGED_BY, MANAGED_FOR, PART = "managedBy", "managedFor", "rollout"
"""Labels of ours: who made the configuration, for which resource, and how much of the target condition it has."""
EVERYBODY = "everybody"
"""The value of PART for the configuration that has all of the target condition."""

NAME_RULE = (
    "a fleet deployment's name is 1 to 60 of a-z 0-9 - and starts with a letter or digit: the hub's ids are lower-case"
)
METRICS_MAX = 5
PRIORITY_MAX = 2147483647

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_LABEL = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;']{1,128}")
_METRIC = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HASH_CHARACTERS = 12

Problem = tuple[str, str]
"""(path of the setting, reason)."""


def problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with name, targetCondition, priority, labels, metrics and rollout, those that are there."""
    return [
        *_plain(inputs),
        *_labels(inputs.get("labels") or {}),
        *_metrics(inputs.get("metrics") or {}),
        *_rollout(inputs),
    ]


def configuration_id(name: str, content_hash: str, generation: int) -> str:
    """Another content is another id. `generation` tells apart contents that differ only in credentials, which no id may give away."""
    return f"{name}-{content_hash[:_HASH_CHARACTERS]}-{generation}"


def owner_label(owner: str, name: str) -> str:
    """The value of MANAGED_FOR: `aml-edge:dev:anomaly` for `project/stack` and a name."""
    return ":".join([*owner.split("/"), name])[:128]


def is_last_wave(rollout: Mapping[str, Any] | None) -> bool:
    """Also without a rollout: then everybody is reached at once."""
    return not rollout or rollout["wave"] >= len(rollout["waves"])


def part(rollout: Mapping[str, Any] | None) -> str:
    """The value of the label PART."""
    return (
        EVERYBODY if is_last_wave(rollout) or rollout is None else f"wave-{rollout['wave']}-of-{len(rollout['waves'])}"
    )


def reached(target: str, rollout: Mapping[str, Any] | None) -> str:
    """The target condition of the new content: of the devices of `target` those in the waves so far."""
    if is_last_wave(rollout) or rollout is None or not target.strip():
        return target
    return target_condition.together(target, rollout["waves"][: rollout["wave"]])


def _plain(inputs: Mapping[str, Any]) -> Iterator[Problem]:
    if not _NAME.fullmatch(str(inputs.get("name", "fleet"))):
        yield "name", NAME_RULE
    for problem in target_condition.problems(inputs.get("targetCondition") or ""):
        yield "targetCondition", problem
    priority = inputs.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= PRIORITY_MAX:
        yield (
            "priority",
            f"must be a whole number from 0 to {PRIORITY_MAX}; the highest of those that target a device applies",
        )


def _labels(labels: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in labels.items():
        if name in (MANAGED_BY, MANAGED_FOR, PART):
            yield f"labels.{name}", "is a label that this program sets itself: rename it"
        elif not _LABEL.fullmatch(name) or not isinstance(value, str) or not _LABEL.fullmatch(value):
            yield (
                f"labels.{name}",
                "names and values of labels are 1 to 128 ASCII letters, digits and -:.+%_#*?!(),=@;'",
            )


def _metrics(metrics: Mapping[str, Any]) -> Iterator[Problem]:
    if len(metrics) > METRICS_MAX:
        yield "metrics", f"has {len(metrics)} metrics; a deployment holds {METRICS_MAX}"
    for name, query in metrics.items():
        if not _METRIC.fullmatch(name):
            yield f"metrics.{name}", "a metric's name is 1 to 64 letters, digits, - and _"
        try:
            if not isinstance(query, str):
                raise QueryError("must be the text of a query")
            check_metric(query)
        except QueryError as error:
            yield f"metrics.{name}", str(error)


def _rollout(inputs: Mapping[str, Any]) -> Iterator[Problem]:
    rollout = inputs.get("rollout")
    if not rollout:
        return
    waves, wave = rollout["waves"], rollout["wave"]
    for number, condition in enumerate(waves):
        for problem in target_condition.problems(condition):
            yield f"rollout.waves[{number}]", problem
        if not condition.strip():
            yield f"rollout.waves[{number}]", "is empty, which is no device"
        elif condition.strip() == target_condition.EVERYTHING and number < len(waves) - 1:
            yield f"rollout.waves[{number}]", "is everybody: only the last wave can be"
    if not waves or waves[-1].strip() != target_condition.EVERYTHING:
        yield (
            "rollout.waves",
            "must end with '*', the rest of targetCondition: the content before is removed when the last wave has succeeded",
        )
    if not 1 <= wave <= max(len(waves), 1):
        yield "rollout.wave", f"must be from 1 to {len(waves)}, the number of the waves"
    if not 0 < rollout["minSuccess"] <= 1:
        yield (
            "rollout.minSuccess",
            "must be more than 0 and at most 1: the share of the devices that must report success",
        )
    if not 0 < rollout["withinMinutes"] <= 1440:
        yield "rollout.withinMinutes", "must be more than 0 and at most 1440"
