from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.edge import manifest
from components.edge.__main__ import main
from tests.support import ROOT

IMAGE = f"acr.azurecr.io/anomaly@sha256:{'0' * 64}"
GOOD = manifest.render({"module": "scorer", "image": IMAGE}, {})


def written(folder: Path, document: object) -> str:
    path = folder / "deployment.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    "document", [GOOD, GOOD["modulesContent"], {"content": GOOD}], ids=["modulesContent", "bare", "content"]
)
def test_a_valid_manifest_in_each_form(tmp_path: Path, document: object) -> None:
    assert main(["validate", written(tmp_path, document)]) == 0


def test_every_violation_is_shown_with_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = json.loads(json.dumps(GOOD))
    agent = bad["modulesContent"]["$edgeAgent"]["properties.desired"]
    agent["schemaVersion"] = "9"
    agent["modules"]["scorer"]["restartPolicy"] = "sometimes"
    assert main(["validate", written(tmp_path, bad)]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) >= 2
    assert "schemaVersion" in shown.out
    assert "restartPolicy" in shown.out
    assert "violations" in shown.err


@pytest.mark.parametrize("text", [None, "{", "\ud800", "[" * 100_000], ids=["absent", "cut", "surrogate", "deep"])
def test_what_cannot_be_read(tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deployment.json"
    if text is not None:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
    assert main(["validate", str(path)]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As Windows editors write it; the Azure CLI takes it too."""
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert main(["validate", str(path)]) == 0


def test_a_file_that_no_manifest_can_be_is_not_judged_for_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(GOOD) + " " * 9_000_000)
    assert main(["validate", str(path)]) == 2
    assert "larger than" in capsys.readouterr().err


def test_half_a_character_in_a_name_is_shown_escaped(tmp_path: Path) -> None:
    bad = json.loads(json.dumps(GOOD).replace('"scorer"', '"scorer\\ud800"'))
    command = [sys.executable, "-m", "components.edge", "validate", written(tmp_path, bad)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "\\ud800" in done.stdout


def test_as_a_program_with_standard_input() -> None:
    command = [sys.executable, "-m", "components.edge", "validate", "-"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(GOOD), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
