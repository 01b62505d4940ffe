"""What would run on which devices: the deployment's settings as a small unified diff."""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from pipeline.markdown import code, fence
from pipeline.preview import Change
from pipeline.values import SECRET, clean, show

_CONTEXT = 2
_LINES = 60
_SIDES = ("old", "new")


def is_deployment(change: Change) -> bool:
    """Of one device or of a fleet: whatever has the settings of a manifest."""
    return any(_is_secret(change, side) or isinstance(change.inputs(side).get("deployment"), dict) for side in _SIDES)


def reach(change: Change) -> str:
    """The devices that it reaches: one, or those of a target condition and of a wave of its rollout."""
    inputs = change.inputs("new") or change.inputs("old")
    if "targetCondition" not in inputs:
        return f"device {code(show(clean(inputs.get('deviceId', 'of unknown id'))))}"
    condition = inputs["targetCondition"]
    words = [_condition(condition)]
    if inputs.get("layered") is True:
        words.append("as a layer over what they run")
    if "priority" in inputs:
        words.append(f"priority {code(show(clean(inputs['priority'])))}")
    return ", ".join([*words, *_wave(inputs.get("rollout"))])


def _condition(condition: Any) -> str:
    if condition == "*":
        return "every IoT Edge device of the hub"
    return (
        f"devices where {code(show(clean(condition)))}" if condition else "no devices (its target condition is empty)"
    )


def _wave(rollout: Any) -> list[str]:
    if not isinstance(rollout, dict) or not isinstance(rollout.get("waves"), list):
        return []
    waves, wave = rollout["waves"], rollout.get("wave")
    if not isinstance(wave, int | float) or not 1 <= wave <= len(waves):
        return [f"in {len(waves)} waves"]
    return [f"wave {wave:g} of {len(waves)}: {code(show(clean(waves[int(wave) - 1])))}"]


def diff(change: Change) -> str:
    """A fenced diff; empty where the settings are the same (only credentials changed)."""
    if any(_is_secret(change, side) for side in _SIDES):
        return "Its settings are encrypted, before or after: what changes in them is not shown."
    lines = list(
        difflib.unified_diff(
            _text(change, "old"), _text(change, "new"), fromfile="now", tofile="after", lineterm="", n=_CONTEXT
        )
    )[2:]
    if not lines:
        return ""
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"… {len(lines) - _LINES} more lines"]
    return fence("\n".join(lines), "diff")


def _is_secret(change: Change, side: str) -> bool:
    return bool(clean(change.inputs(side).get("deployment")) == SECRET)


def _text(change: Change, side: str) -> list[str]:
    settings = change.inputs(side).get("deployment")
    if not isinstance(settings, dict):
        return []
    shown: Any = _without_empty(clean(settings))
    return yaml.safe_dump(shown, sort_keys=True, allow_unicode=True, width=10_000).splitlines()


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [], None)}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
