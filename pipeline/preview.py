"""`pulumi preview --json` as typed data. What the engine does not say is never guessed here.

The format: github.com/pulumi/pulumi, pkg/display/json.go. A replacement is one step `replace` there; the three steps of the engine's own
vocabulary (create-replacement, replace, delete-replaced) are folded into one in case another version writes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUIET = frozenset(
    {"same", "read", "read-replacement", "refresh", "discard", "discard-replaced", "remove-pending-replace"}
)
ORDER = ("replace", "delete", "update", "create", "import")
"""What a reviewer must not miss comes first."""
_FOLDED = {"create-replacement": "replace", "delete-replaced": "replace", "import-replacement": "replace"}


class PreviewError(ValueError):
    """What was read is no answer of `pulumi preview --json`."""


@dataclass(frozen=True)
class Change:
    """One resource that would change."""

    operation: str
    urn: str
    old: Mapping[str, Any]
    """The resource's old state (inputs, outputs, id, ...), empty at create."""
    new: Mapping[str, Any]
    details: Mapping[str, Mapping[str, Any]]
    """Property path -> {kind, inputDiff}."""
    reasons: tuple[str, ...]
    """Properties that make it a replacement."""

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]

    @property
    def type(self) -> str:
        """The resource's own type, without those of its parents."""
        return self.urn.split("::")[2].rpartition("$")[2] if self.urn.count("::") >= 3 else ""

    @property
    def grouping(self) -> bool:
        """A component or the stack: nothing that exists in the cloud."""
        return not (self.new or self.old).get("custom", True)

    def inputs(self, side: str) -> Mapping[str, Any]:
        state = self.old if side == "old" else self.new
        return _mapping(state.get("inputs"))


@dataclass(frozen=True)
class Preview:
    changes: tuple[Change, ...]
    """In the order in which they are shown: by operation, then by URN."""
    totals: Mapping[str, int]
    """Operation -> number of resources, as the engine counts (the stack and components included)."""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: bool = False


def parse(text: str, exit_code: int = 0, fallback: tuple[str, ...] = ()) -> Preview:
    """Raises PreviewError where the text is no such document.

    `exit_code` is the preview's: violations of policies and a policy pack that does not start fail it without an error in here;
    `fallback` is then shown.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PreviewError(f"it is not JSON: {error.msg} at line {error.lineno}") from error
    except RecursionError as error:
        raise PreviewError("it is nested too deeply") from error
    if not isinstance(document, dict) or not ("steps" in document or "diagnostics" in document):
        raise PreviewError("it is a JSON document, but it has neither steps nor diagnostics")
    changes = _fold(_objects(document, "steps"))
    diagnostics = _objects(document, "diagnostics")
    errors = tuple(_message(entry) for entry in diagnostics if entry.get("severity") == "error")
    if exit_code and not errors:
        said = [str(entry.get("message", "")).rstrip() for entry in diagnostics if entry.get("severity") == "info#err"]
        errors = ("\n".join(said),) if said else fallback
    return Preview(
        changes=tuple(change for change in changes if change.operation not in QUIET),
        totals=_totals(document, changes),
        errors=errors,
        warnings=tuple(_message(entry) for entry in diagnostics if entry.get("severity") == "warning"),
        failed=bool(errors or exit_code),
    )


def _objects(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = document.get(name) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise PreviewError(f"its {name} are not a list of objects")
    return found


def _fold(steps: list[Mapping[str, Any]]) -> list[Change]:
    """One change a resource, sorted."""
    found: dict[tuple[str, str], Change] = {}
    for step in steps:
        operation = str(step.get("op", ""))
        operation = _FOLDED.get(operation, operation)
        change = Change(
            operation=operation,
            urn=str(step.get("urn", "")),
            old=_mapping(step.get("oldState")),
            new=_mapping(step.get("newState")),
            details={path: _mapping(entry) for path, entry in _mapping(step.get("detailedDiff")).items()},
            reasons=tuple(sorted(map(str, _list(step.get("replaceReasons"))))),
        )
        before = found.get((operation, change.urn))
        if before is None or len(change.new) > len(
            before.new
        ):  # of a folded replacement the step that has the new state
            found[operation, change.urn] = change
    rank = {operation: index for index, operation in enumerate(ORDER)}
    return sorted(found.values(), key=lambda change: (rank.get(change.operation, len(rank)), change.urn))


def _totals(document: Mapping[str, Any], changes: list[Change]) -> dict[str, int]:
    """The engine's own; counted from the steps where it wrote none, as in a preview that failed early."""
    summary = _mapping(document.get("changeSummary")) or Counter(change.operation for change in changes)
    if not all(isinstance(count, int) for count in summary.values()):
        raise PreviewError("its changeSummary holds what is no number of resources")
    totals: Counter[str] = Counter()
    for operation, count in summary.items():
        totals[_FOLDED.get(operation, operation)] += count
    return dict(totals)


def _message(entry: Mapping[str, Any]) -> str:
    message = str(entry.get("message", "")).strip()
    resource = str(entry.get("urn") or "").rpartition("::")[2]
    return f"{resource}: {message}" if resource else message


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
