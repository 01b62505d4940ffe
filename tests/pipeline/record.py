"""Records previews of our own stack with the real engine: `python -m tests.pipeline.record`.

Run it again when the program changes in a way that its previews show; then `UPDATE_COMMENTS=1 pytest tests/pipeline` and
read the difference of the golden comments as a reviewer would.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import Project, local_azure

FOLDER = Path(__file__).parent / "previews"


def main() -> None:
    """All scenarios; takes a minute or two, most of it the one `pulumi up`."""
    chosen = set(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="record-") as folder, local_azure(Path(folder, "local")) as azure:
        project = Project.create(Path(folder, "project", "aml-edge"), azure)
        _save("first", project, "preview")
        _save("bad-settings", project, "preview", _settings("sku: Basic", "sku: Gold"))
        project.up()
        try:
            for name, edit in SCENARIOS.items():
                if not chosen or name in chosen:
                    _save(name, project, "preview", edit)
            _save("destroy", project, "destroy")
        finally:
            project.destroy()


def _save(name: str, project: Project, command: str, edit: Callable[[Path], None] | None = None) -> None:
    kept = {path: path.read_text() for path in _editable(project.folder)}
    if edit:
        edit(project.folder)
    try:
        flags = ["--preview-only"] if command == "destroy" else []
        done = project.pulumi(command, *flags, "--json", "--stack", project.stack, check=False)
    finally:
        for path, text in kept.items():
            path.write_text(text)
    recorded = _trim(json.loads(_anonymous(done.stdout, project)))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    print(name, done.returncode, recorded.get("changeSummary"))  # noqa: T201 - a script


def _editable(folder: Path) -> list[Path]:
    names = ("__main__.py", "Pulumi.dev.yaml", "scoring/score.py", "scoring/myenv.yml", "components/workspace.py")
    return [folder / name for name in names]


def _settings(old: str, new: str) -> Callable[[Path], None]:
    return _edit("Pulumi.dev.yaml", old, new)


def _edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text, f"{file} has no {old!r} to edit"
        (folder / file).write_text(text.replace(old, new, 1))

    return edit


SCENARIOS: dict[str, Callable[[Path], None] | None] = {
    "nothing": None,
    "edited-script": _edit("scoring/score.py", "\n", "\n# edited\n"),
    "hub-sku": _settings("sku: S1", "sku: S2"),
    "module-settings": _settings(
        "module: scorer", "module: scorer\n    env: {LOG_LEVEL: debug}\n    restartPolicy: on-failure"
    ),
    "new-device": _settings("- id: edge-1", "- id: edge-2\n    - id: edge-1"),
    "device-removed": _settings("- id: edge-1\n      tags:\n        site: lab", "- id: edge-9"),
    "key-vault": _edit("components/workspace.py", 'f"{name}vault"', 'f"{name}vault2"'),
    "environment": _edit("scoring/myenv.yml", "dependencies:\n", "dependencies:\n  - tabulate=0.9.0\n"),
    "model-tags": _settings("area: iot", "area: iot-edge"),
}


def _anonymous(text: str, project: Project) -> str:
    """Without what differs on every machine: addresses, folders, the names that Pulumi made up, times."""
    text = text.replace(str(project.folder), "/work/aml-edge").replace(str(project.azure.folder), "/work/azure")
    text = text.replace(project.azure.env["ARM_SUBSCRIPTION_ID"], "00000000-0000-0000-0000-000000000001")
    text = text.replace(project.azure.env["ARM_TENANT_ID"], "00000000-0000-0000-0000-000000000002")
    return re.sub(r"127\.0\.0\.\d+", "127.0.0.9", text)


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
