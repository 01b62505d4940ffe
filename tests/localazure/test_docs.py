"""docs/sdk-tests.md as it stands: its shell lines and its programs in one shell, its outputs compared."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from localazure import control

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def test_the_page_for_sdk_tests_runs(tmp_path: Path) -> None:
    blocks = _BLOCK.findall((ROOT / "docs" / "sdk-tests.md").read_text())
    assert [kind for kind, _ in blocks].count("python") == 4
    script, expected = ["set -eu"], []
    for kind, text in blocks:
        if kind == "python":
            script.append(f"python -W ignore - <<'PROGRAM'\n{text}PROGRAM")
        elif kind == "sh":
            script.append(text)
        else:
            expected.append(text)
    folder = tmp_path / "azure"
    kept = {key: os.environ[key] for key in ("LANG", "DOCKER_HOST") if key in os.environ}
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "LOCALAZURE_HOME": str(folder)}
    try:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=tmp_path, env=kept | own, capture_output=True, text=True, timeout=600
        )
    finally:
        control.stop(folder, lambda line: None)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    rest = done.stdout
    for text in expected:
        _, found, rest = rest.partition(text)
        assert found, f"{text!r} is not in {done.stdout!r}"
