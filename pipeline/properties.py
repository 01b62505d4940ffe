"""Which properties of a resource change, from what to what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.preview import Change
from pipeline.values import clean

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_MISSING = object()


@dataclass(frozen=True)
class Property:
    path: str
    old: Any
    """Cleaned of secrets; None where there was none."""
    new: Any
    replaces: bool


def changed(change: Change) -> list[Property]:
    """Sorted by path. Where the engine has no detailed diff, the inputs are compared by their first level."""
    secrets = frozenset(
        str(name) for state in (change.old, change.new) for name in (state.get("additionalSecretOutputs") or ())
    )
    paths = {path: str(entry.get("kind", "")) for path, entry in change.details.items()} or _compared(change)
    found = []
    for path, kind in sorted(paths.items()):
        if _hidden(path):
            continue
        top = _steps(path)[0] if _steps(path) else path
        replaces = kind.endswith("-replace") or str(top) in change.reasons
        found.append(
            Property(path, _value(change, "old", path, secrets), _value(change, "new", path, secrets), replaces)
        )
    return found


def _compared(change: Change) -> dict[str, str]:
    old, new = change.inputs("old"), change.inputs("new")
    return {key: "update" for key in {*old, *new} if old.get(key, _MISSING) != new.get(key, _MISSING)}


def _value(change: Change, side: str, path: str, secrets: frozenset[str]) -> Any:
    """From the inputs; drift that only the outputs show, from those."""
    state: Mapping[str, Any] = change.old if side == "old" else change.new
    steps = _steps(path)
    for part in ("inputs", "outputs"):
        whole = state.get(part)
        found = _find(whole, steps)
        if found is not _MISSING:
            # Cleaned as a whole first: a secret above the path is one here too.
            inside = _find(clean(whole, secret_names=secrets), steps)
            return "[secret]" if inside is _MISSING else inside
        if isinstance(whole, Mapping) and _secret_above(whole, steps):
            return "[secret]"
    return None


def _secret_above(value: Any, steps: list[str | int]) -> bool:
    for step in steps:
        if value == "[secret]":
            return True
        value = _child(value, step)
    return False


def _find(value: Any, steps: list[str | int]) -> Any:
    for step in steps:
        value = _child(value, step)
    return value


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(str(step), _MISSING)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return _MISSING


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for name, index, quoted in _STEP.findall(path):
        steps.append(int(index) if index else (name or quoted.replace('\\"', '"')))
    return steps


def _hidden(path: str) -> bool:
    """`__provider` and its like say nothing to a reviewer."""
    return any(str(step).startswith("__") for step in _steps(path))
