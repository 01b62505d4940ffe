"""Diff of inputs against inputs, never against live state, with the decision between update and replacement.

Pure; the rules of pulumi-azure-native, provider/pkg/provider/diff.go. A change is told by its path: `sku.name`, `rules[0].value`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from localazure.provider.naming import CREATE_BEFORE_DELETE
from localazure.provider.shapes import ResourceType
from localazure.provider.values import same

Kind = Literal["add", "delete", "update"]


@dataclass
class Change:
    kind: Kind
    replace: bool
    of_inputs: bool = False
    """False for what is shown but does not count: an addition of the property's default."""


@dataclass
class Diff:
    changes: list[str] = field(default_factory=list)
    """Top-level properties that change; empty: nothing to do."""
    replaces: list[str] = field(default_factory=list)
    details: dict[str, Change] = field(default_factory=dict)
    delete_before_replace: bool = False


def diff(
    resource: ResourceType, old_inputs: Mapping[str, Any], old_state: Mapping[str, Any], new_inputs: Mapping[str, Any]
) -> Diff:
    """What an update to `new_inputs` changes. `old_state` only serves to see that an added value is what the resource has already."""
    replacing = frozenset(resource.parameters) | resource.entry.create_only
    result = Diff()
    for path, kind in _changes(old_inputs, new_inputs, ""):
        top = path.partition(".")[0].partition("[")[0]
        if kind == "update" and path == top and _equivalent(top, old_inputs[top], new_inputs[top]):
            continue
        change = Change(kind, replace=top in replacing and (path == top or kind == "update"))
        result.details[path] = change
        if change.replace and kind == "add" and path in old_state and same(new_inputs[path], old_state[path]):
            change.replace = False
        elif change.replace:
            result.replaces.append(path)
        elif kind == "add" and path in resource.defaults and same(new_inputs[path], resource.defaults[path]):
            continue
        change.of_inputs = True
        if top not in result.changes:
            result.changes.append(top)
    result.delete_before_replace = bool(result.replaces)
    if isinstance(flag := old_inputs.get(CREATE_BEFORE_DELETE), bool):
        result.delete_before_replace = not flag
    return result


def patched(inputs: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` with what changed from `before` to `after`, and nothing else of `after`: a refresh that keeps service defaults out."""
    result = {name: value for name, value in inputs.items() if name not in before or name in after}
    for name, value in after.items():
        if name not in before:
            result[name] = value
        elif not same(before[name], value):
            result[name] = _patched_value(inputs[name], before[name], value) if name in inputs else value
    return result


def _patched_value(base: Any, before: Any, after: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(before, Mapping) and isinstance(after, Mapping):
        return patched(base, before, after)
    if isinstance(base, list) and isinstance(before, list) and isinstance(after, list):
        known = min(len(base), len(before))
        return [
            _patched_value(base[index], before[index], item) if index < known else item
            for index, item in enumerate(after)
        ]
    return after


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], base: str) -> Iterator[tuple[str, Kind]]:
    for name in sorted(old.keys() | new.keys()):
        if name.startswith("__"):
            continue
        if name not in new:
            yield base + name, "delete"
        elif name not in old:
            yield base + name, "add"
        else:
            yield from _value_changes(old[name], new[name], base + name)


def _value_changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, Kind]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _changes(old, new, path + ".")
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            item = f"{path}[{index}]"
            if index >= len(new):
                yield item, "delete"
            elif index >= len(old):
                yield item, "add"
            else:
                yield from _value_changes(old[index], new[index], item)
    elif not same(old, new):
        yield path, "update"


def _equivalent(name: str, old: Any, new: Any) -> bool:
    """Spellings that Azure takes for the same. Ids in another case are not among them."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return False
    if name == "location":
        return _location(old) == _location(new)
    return name == "resourceGroupName" and old.casefold() == new.casefold()


def _location(text: str) -> str:
    return text.replace(" ", "").lower()
