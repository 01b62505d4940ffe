"""`python -m tools.actionlint`: the workflows, checked by actionlint, which is compiled once from the Go module in tools/actionlint."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tools import cache, pulumi_cli
from tools.console import ToolError, run, say
from tools.environment import ROOT

_MODULE = Path(__file__).parent / "actionlint"
_PROGRAM = "github.com/rhysd/actionlint/cmd/actionlint"


def ensure() -> Path:
    """The program, kept below the user's cache folder, keyed by its go.mod. Raises ToolError."""
    key = hashlib.sha256((_MODULE / "go.mod").read_bytes() + (_MODULE / "go.sum").read_bytes()).hexdigest()[:12]
    return cache.ensure(f"actionlint/{key}", _compile) / "actionlint"


def _compile(folder: Path) -> None:
    modules = folder / "modules"
    run(
        "compile actionlint",
        [pulumi_cli._go(), "build", "-trimpath", "-o", folder / "actionlint", _PROGRAM],
        cwd=_MODULE,
        env={
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOFLAGS": "-modcacherw -buildvcs=false",
            "GOMODCACHE": str(modules),
        },
        expect="half a minute, once a version",
    )
    shutil.rmtree(modules)


def main() -> int:
    """actionlint's exit code. shellcheck and pyflakes are left out: what they find would depend on what a machine has."""
    try:
        program = ensure()
    except ToolError as error:
        say(f"error: {error}")
        return error.exit_code
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    return subprocess.run([program, "-shellcheck=", "-pyflakes=", *files], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
