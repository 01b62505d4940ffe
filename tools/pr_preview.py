"""`make pr-preview BASE=main`: the comment that a pull request of the working tree would get, on this machine.

The base is brought up in a scratch local Azure with a state of its own, then the working tree is previewed on it.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from localazure import instance
from pipeline import run
from tools import environment, pulumi
from tools.console import ToolError, say
from tools.environment import ROOT, STACK

_PROGRAM = ("__main__.py", "Pulumi.yaml", "components", "scoring", "policy")


def comment(values: dict[str, str], base: str, stack: str = STACK) -> tuple[str, int]:
    """(the comment, the preview's exit code). `values` is an environment that was prepared. Raises ToolError."""
    with tempfile.TemporaryDirectory(prefix="pr-preview-") as folder:
        scratch = Path(folder)
        _base(base, scratch / "base")
        _working_tree(scratch / "head")
        mine = _environment(values, scratch)
        process = environment.for_process(mine)
        try:
            _quiet("start a scratch local Azure", [sys.executable, "-m", "localazure", "up"], ROOT, process)
            pulumi.install_plugin(mine, scratch / "plugin")
            for project in ("base", "head"):
                (scratch / project / ".venv").symlink_to(ROOT / ".venv")
            _quiet(f"bring up {base}", ["pulumi", "stack", "select", "--create", stack], scratch / "base", process)
            _quiet(
                f"bring up {base}",
                ["pulumi", "up", "--yes", "--skip-preview", "--stack", stack],
                scratch / "base",
                process,
            )
            return run.preview(stack, scratch / "head", scratch / "base", process)
        finally:
            _tear_down(stack, scratch, process)


def _base(base: str, folder: Path) -> None:
    """The committed files of `base`."""
    done = subprocess.run(["git", "archive", base], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise ToolError(f"git knows no {base!r}: {done.stderr.decode(errors='replace').strip()[:300]}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _working_tree(folder: Path) -> None:
    folder.mkdir()
    for name in [*_PROGRAM, *(path.name for path in ROOT.glob("Pulumi.*.yaml"))]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
        elif source.exists():
            shutil.copyfile(source, folder / name)


def _environment(values: dict[str, str], scratch: Path) -> dict[str, str]:
    """The tools of the prepared environment, with an Azure, a state and a Pulumi home of their own."""
    made = instance.load_or_create(scratch / "azure")
    for name in ("pulumi-state", "pulumi-home"):
        (scratch / name).mkdir()
    cli = Path(shutil.which("pulumi", path=values["PATH"]) or "").parent
    return environment.variables(made, values["DOCKER_HOST"], values["LOCALAZURE_BASE_IMAGE"], cli, scratch)


def _tear_down(stack: str, scratch: Path, process: dict[str, str]) -> None:
    """Containers and networks of the scratch devices go with the stack; a failure here must not hide what went wrong before."""
    for command in (
        ["pulumi", "destroy", "--yes", "--skip-preview", "--stack", stack],
        [sys.executable, "-m", "localazure", "down"],
    ):
        cwd = scratch / "base" if command[0] == "pulumi" else ROOT
        done = subprocess.run(command, cwd=cwd, env=process, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"  cleaning up: `{' '.join(command[:3])}` ended with {done.returncode}")


def _quiet(doing: str, command: list[str], cwd: Path, process: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=cwd, env=process, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"could not {doing}:\n{(done.stdout + done.stderr)[-3000:]}")
