"""What changed in the inputs of a scoring image: by name, and where the base's files are at hand, by content."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.markdown import code
from pipeline.preview import Change
from pipeline.properties import changed
from pipeline.values import show

TYPES = ("pulumi-python:dynamic/edge:ModelImage", "pulumi-python:dynamic/edge:PromotedImage")


def lines(change: Change, head: Path | None = None, base: Path | None = None) -> list[str]:
    """Markdown list items. `head` and `base` are the project's folders after and before the change."""
    items = [_reference(change)]
    old, new = _sources(change, "old"), _sources(change, "new")
    for found in changed(change):
        if found.path.startswith("modelIds"):
            items.append(f"- **model** {code(show(found.old))} → {code(show(found.new))}")
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        if name not in old:
            what = f"added ({code(show(new[name]))})"
        elif name not in new:
            what = "removed"
        else:
            what = f"changed ({code(show(old[name]))} → {code(show(new[name]))})"
        items.append(f"- **{_label(name)}** {what}{_content(change, name, head, base)}")
    return items


def changed_inputs(change: Change) -> list[str]:
    """What makes it a replacement, then the names of what goes in and changed, then whatever else did (a tag, the model's id)."""
    old, new = _sources(change, "old"), _sources(change, "new")
    others = [found.path for found in changed(change) if not found.path.startswith(("sources", "fingerprint", "paths"))]
    named = [*change.reasons, *(name for name in sorted({*old, *new}) if old.get(name) != new.get(name)), *others]
    return list(dict.fromkeys(named))


def _reference(change: Change) -> str:
    outputs = change.old.get("outputs")
    before = str(outputs.get("ref") or "") if isinstance(outputs, dict) else ""
    wanted = change.inputs("new").get("sourceRef") or change.inputs("new").get("ref")
    after = code(show(str(wanted))) if wanted else "built by the update"
    return f"- image {code(show(before))} → {after}" if before else f"- image {after}"


def _sources(change: Change, side: str) -> Mapping[str, Any]:
    found = change.inputs(side).get("sources")
    return found if isinstance(found, dict) else {}


def _label(name: str) -> str:
    known = {
        "script": "script",
        "condaFile": "environment packages",
        "runtime": "edge runtime",
        "dockerfile": "Dockerfile",
        "base image": "base image",
    }
    if name in known:
        return known[name]
    kind, _, what = name.partition(" ")
    return f"{kind} {code(what)}" if what else code(name)


def _content(change: Change, name: str, head: Path | None, base: Path | None) -> str:
    """What the files themselves say; nothing where one of them is not there."""
    before, after = _text(change, "old", name, base), _text(change, "new", name, head)
    if before is None or after is None:
        return ""
    if name == "condaFile":
        gone, come = _packages(before), _packages(after)
        shown = [f"-{code(item)}" for item in sorted(gone - come)] + [f"+{code(item)}" for item in sorted(come - gone)]
        return f": {', '.join(shown)}" if shown else ": the same packages"
    marks = [line[0] for line in difflib.ndiff(before.splitlines(), after.splitlines())]
    return f": +{marks.count('+')} -{marks.count('-')} lines"


def _text(change: Change, side: str, name: str, folder: Path | None) -> str | None:
    paths = change.inputs(side).get("paths")
    path = paths.get(name) if isinstance(paths, dict) else None
    if folder is None or not isinstance(path, str):
        return None
    file = folder / path
    return file.read_text(errors="replace") if file.is_file() else None


def _packages(text: str) -> set[str]:
    """Of a conda file, those of its pip part included."""
    try:
        entries = (yaml.safe_load(text) or {}).get("dependencies") or []
    except (yaml.YAMLError, AttributeError):
        return set()
    found = {str(entry) for entry in entries if not isinstance(entry, dict)}
    for entry in entries:
        if isinstance(entry, dict):
            found |= {str(item) for part in entry.values() for item in part or []}
    return found
