"""A preview as a comment: totals first, then what could be lost, then what changes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import deployments, images, stateful
from pipeline.diagnostics import Violation
from pipeline.markdown import clip, code, escape, fence, folded, table
from pipeline.preview import Change, Preview
from pipeline.properties import changed
from pipeline.values import scrub, show

LIMIT = 65_536
"""Characters of a comment; docs.github.com, "Comments"."""
_ERRORS = 12_000
_WARNINGS = 16_000
_TABLE = 16_000
_DETAIL = 8_000
_WORDS = {"replace": "replaced", "delete": "deleted", "update": "updated", "create": "created", "import": "imported"}
_ICONS = {"replace": "🔴", "delete": "🔴", "update": "🟡", "create": "🟢", "import": "🔵"}


@dataclass(frozen=True)
class Context:
    """What a preview itself does not know."""

    stack: str
    violations: list[Violation] = field(default_factory=list)
    head: Path | None = None
    """The project as it would be brought up."""
    base: Path | None = None
    """The project as it is."""


def marker(stack: str) -> str:
    """The first line of the comment of a stack: by it the next preview finds the comment that it replaces."""
    return f"<!-- aml-edge preview {stack} -->"


def render(preview: Preview, context: Context) -> str:
    """Markdown of at most 65,536 characters; the same preview gives the same bytes."""
    blocks = [
        f"{marker(context.stack)}\n### Preview of {code(context.stack)}: {_totals(preview, context)}",
        _errors(preview),
        _policy(context.violations),
        _losses(preview),
        _table(preview),
    ]
    return _fit([block for block in blocks if block], _details(preview, context), context.stack)


def broken(reason: str, diagnostics: str, context: Context) -> str:
    """The comment of a preview that gave no answer at all."""
    said = clip(scrub(diagnostics.strip()), _ERRORS, "see the log of the job") or "It printed nothing."
    head = f"{marker(context.stack)}\n### Preview of {code(context.stack)}: **failed**"
    blocks = [
        head,
        f"The preview gave no answer that can be read: {escape(scrub(reason))}.",
        fence(said),
        _policy(context.violations),
    ]
    return _fit([block for block in blocks if block], [], context.stack)


def _totals(preview: Preview, context: Context) -> str:
    parts = [f"{preview.totals[key]} to be {word}" for key, word in _WORDS.items() if preview.totals.get(key)]
    text = ", ".join(parts) or "no changes"
    same = preview.totals.get("same", 0)
    if same and parts:
        text += f", {same} unchanged"
    stopping = sum(violation.stops for violation in context.violations)
    if stopping:
        text = f"**{stopping} policy violation{'s' * (stopping > 1)}**; {text}"
    return f"**failed**; until then {text}" if preview.failed else text


def _errors(preview: Preview) -> str:
    if not preview.errors:
        return ""
    text = "\n\n".join(scrub(message) for message in preview.errors)
    return fence(clip(text, _ERRORS, "more in the log of the job"))


def _policy(violations: list[Violation]) -> str:
    if not violations:
        return ""
    items = []
    for one in violations:
        icon = "⛔" if one.stops else "⚠️"
        text = " ".join(scrub(one.message).split())
        items.append(f"- {icon} {code(one.policy)} on {code(one.resource)}: {escape(text)[:800]}")
    return "#### Policy\n" + clip("\n".join(items), _WARNINGS, "more in the log of the job")


def _losses(preview: Preview) -> str:
    """The block that a reviewer must not overlook: GitHub renders it as a red alert."""
    items = []
    for change in preview.changes:
        if leaving := stateful.leaving(change):
            named = ", ".join(code(show(device)) for device in leaving[:4]) + (", …" if len(leaving) > 4 else "")
            devices = f"{len(leaving)} device{'s' * (len(leaving) > 1)}"
            items.append(
                f"> - **{code(show(change.name))}** ({_kind(change)}): {devices} will be **deleted** ({named}): loses their keys"
            )
        loss = stateful.loss(change)
        if not loss:
            continue
        word = _WORDS[change.operation]
        why = f" because of {', '.join(code(show(reason)) for reason in change.reasons[:4])}" if change.reasons else ""
        kept = stateful.kept(change)
        items.append(
            f"> - **{code(show(change.name))}** ({_kind(change)}) will be **{word}**{why}: {kept or f'loses {loss}'}"
        )
    if not items:
        return ""
    count = f"{len(items)} stateful resource{'s' * (len(items) > 1)}"
    head = f"> [!CAUTION]\n> {count} would be deleted or replaced. Is that meant?\n"
    return head + clip("\n".join(items), _WARNINGS, "more; see the table and `pulumi preview --diff`")


def _table(preview: Preview) -> str:
    rows = [
        (
            f"{_ICONS.get(change.operation, '⚪')} {escape(show(change.operation))}",
            code(show(change.name)),
            _kind(change),
            _gist(change),
        )
        for change in preview.changes
        if not change.grouping
    ]
    hidden = sum(change.grouping for change in preview.changes)
    note = f"\n\n<sub>{hidden} of the total are groupings: the stack and its components.</sub>" if hidden else ""
    if not rows:
        return note.strip()
    return (
        clip(table(("", "resource", "type", "what"), rows), _TABLE, "more rows; the totals above count them all") + note
    )


def _gist(change: Change) -> str:
    """The change in a few words, for its row."""
    if deployments.is_deployment(change):
        return deployments.reach(change)
    if change.operation in ("create", "import", "delete"):
        return ""
    names = images.changed_inputs(change) if change.type in images.TYPES else [found.path for found in changed(change)]
    shown = ", ".join(code(show(name)) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _details(preview: Preview, context: Context) -> list[str]:
    """One block a resource whose content a reviewer wants to see, in the order of the table."""
    return [block for change in preview.changes if not change.grouping for block in [_detail(change, context)] if block]


def _detail(change: Change, context: Context) -> str:
    body = ""
    if change.type in images.TYPES and change.operation != "delete":
        body = "\n".join(images.lines(change, context.head, context.base))
        if change.operation == "replace":
            body += "\n\n" + _properties(change)
    elif deployments.is_deployment(change) and change.operation != "delete":
        others = _properties(change, below="deployment") if change.operation in ("update", "replace") else ""
        body = "\n\n".join(filter(None, [deployments.diff(change), others]))
    elif change.operation in ("update", "replace"):
        body = _properties(change)
    if not body:
        return ""
    if len(body) > _DETAIL:
        body = f"Too long to show ({len(body)} characters); see `pulumi preview --diff`."
    return folded(f"{change.operation} <b>{escape(show(change.name))}</b> ({_kind(change)})", body)


def _properties(change: Change, below: str = "") -> str:
    """A table of what changes; not of what is `below` a property that is shown in another way."""
    rows = [
        (
            code(found.path) + (" **forces replacement**" if found.replaces else ""),
            code(show(found.old)),
            code(show(found.new)),
        )
        for found in changed(change)
        if not below or re.split(r"[.\[]", found.path)[0] != below
    ]
    return table(("property", "now", "after"), rows) if rows else ""


def _kind(change: Change) -> str:
    """`EdgeDeployment`, `iothub IotHubResource`: modules of azure-native tell one Workspace from another."""
    provider, _, rest = change.type.partition(":")
    return escape(show(rest.replace(":", " ") if provider == "azure-native" else rest.rpartition(":")[2]))


def _fit(blocks: list[str], details: Iterable[str], stack: str) -> str:
    """Details are left out from the end; what stands before them is bounded part by part and always fits."""
    text, left_out = "\n\n".join(blocks), 0
    note = "\n\n<sub>{count} more are not shown here: `pulumi preview --diff --stack " + escape(stack) + "`</sub>"
    for block in details:
        if left_out or len(text) + len(block) + len(note) + 16 > LIMIT:
            left_out += 1
        else:
            text += f"\n\n{block}"
    if left_out:
        text += note.format(count=left_out)
    return text + "\n"
