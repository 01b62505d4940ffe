"""Previews of our own stack by the real engine, and their comments: `python -m tests.pipeline.record` makes all of them again.

To be run when the program changes in a way that its previews show (tests/engine/test_previews.py then says so); read the difference
of the golden comments as a reviewer would. Takes a few minutes, most of it the one `pulumi up`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.comment import Context, render
from pipeline.preview import parse
from tests.support import Project, local_azure
from tools import testing

PREVIEWS = Path(__file__).parent / "previews"
COMMENTS = Path(__file__).parent / "comments"
Edit = Callable[[Path], None]


def main() -> None:
    """Every scenario: before anything is there, of a stack that is up, and of its end."""
    os.environ.update(testing.tools())
    with tempfile.TemporaryDirectory(prefix="record-") as folder, local_azure(Path(folder, "local")) as azure:
        project = Project.create(Path(folder, "project", "aml-edge"), azure)
        _save("first", taken(project))
        project.up()
        try:
            for name in SCENARIOS:
                _save(name, scenario(name, project))
        finally:
            project.destroy()


def scenario(name: str, project: Project) -> str:
    """The recorded form of one of SCENARIOS, previewed on a stack that is up."""
    edit = SCENARIOS[name]
    kept = {path: path.read_text() for path in map(project.folder.joinpath, _EDITABLE)}
    try:
        edit(project.folder)
        return taken(project, *(["destroy", "--preview-only"] if name == "destroy" else ["preview"]))
    finally:
        for path, text in kept.items():
            path.write_text(text)


def taken(project: Project, *command: str) -> str:
    done = project.pulumi(*(command or ["preview"]), "--json", "--stack", project.stack, check=False)
    recorded = _trim(json.loads(_anonymous(done.stdout, project)))
    return json.dumps(recorded, indent=1, sort_keys=True) + "\n"


def comment(recorded: str) -> str:
    return render(parse(recorded), Context("dev"))


def _save(name: str, recorded: str) -> None:
    (PREVIEWS / f"{name}.json").write_text(recorded)
    (COMMENTS / f"{name}.md").write_text(comment(recorded))
    print(name, json.loads(recorded).get("changeSummary"))  # noqa: T201 - a script


def _nothing(folder: Path) -> None:
    """No edit."""


def _settings(old: str, new: str) -> Edit:
    return _edit("Pulumi.dev.yaml", old, new)


def _edit(file: str, old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text, f"{file} has no {old!r} to edit"
        (folder / file).write_text(text.replace(old, new, 1))

    return edit


_CAMERA = "ghcr.io/contoso/camera@sha256:" + "c" * 64
_FLEET = "{name: line, targetCondition: \"tags.line = 'a'\", rollout: {waves: [\"tags.ring = 'pilot'\", '*'], wave: 1}}"
_EDITABLE = ("Pulumi.dev.yaml", "scoring/score.py", "scoring/myenv.yml", "components/workspace.py")
SCENARIOS: dict[str, Edit] = {
    "nothing": _nothing,
    "bad-settings": _settings("sku: Basic", "sku: Gold"),
    "edited-script": _edit("scoring/score.py", "\n", "\n# a line more\n"),
    "hub-sku": _settings("sku: S1", "sku: S2"),
    "module-settings": _settings(
        "module: scorer", "module: scorer\n    env: {LOG_LEVEL: debug}\n    restartPolicy: on-failure"
    ),
    "new-module": _settings("module: scorer", f"module: scorer\n    modules: {{camera: {{image: '{_CAMERA}'}}}}"),
    "new-fleet": _settings("  aml-edge:deployment:\n", f"  aml-edge:fleet: [{_FLEET}]\n  aml-edge:deployment:\n"),
    "new-device": _settings("- id: edge-1", "- id: edge-2\n    - id: edge-1"),
    "device-removed": _settings("- id: edge-1\n      tags:\n        site: lab", "- id: edge-9"),
    "key-vault": _edit("components/workspace.py", 'f"{name}vault"', 'f"{name}vault2"'),
    "environment": _edit("scoring/myenv.yml", "dependencies:\n", "dependencies:\n  - tabulate=0.9.0\n"),
    "model-tags": _settings("area: iot", "area: iot-edge"),
    "destroy": _nothing,
}


def _anonymous(text: str, project: Project) -> str:
    """Without what differs on every machine: addresses, folders, ids."""
    text = text.replace(str(project.folder), "/project").replace(str(project.azure.folder), "/azure")
    text = text.replace(project.azure.env["ARM_SUBSCRIPTION_ID"], "00000000-0000-0000-0000-000000000001")
    text = text.replace(project.azure.env["ARM_TENANT_ID"], "00000000-0000-0000-0000-000000000002")
    return re.sub(r"127\.0\.0\.\d+:\d+", "127.0.0.9:20700", text)


def _trim(preview: dict[str, Any]) -> dict[str, Any]:
    """Steps that change nothing keep their name only."""
    preview["duration"] = 0
    for index, step in enumerate(preview.get("steps", [])):
        if step["op"] == "same":
            preview["steps"][index] = {"op": "same", "urn": step["urn"]}
        for state in ("oldState", "newState"):
            for key in ("created", "modified", "sourcePosition", "stackTrace"):
                step.get(state, {}).pop(key, None)
    return preview


if __name__ == "__main__":
    main()
