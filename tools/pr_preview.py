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
from typing import Any

from localazure import instance
from pipeline import run as previews
from tools import bringup, environment, pulumi
from tools.console import ToolError, run, say
from tools.environment import ROOT, STACK


def comment(base: str, stack: str = STACK) -> tuple[str, int]:
    """(the comment, the preview's exit code). Raises ToolError."""
    with tempfile.TemporaryDirectory(prefix="pr-preview-") as folder:
        scratch = Path(folder)
        _base(base, scratch / "base")
        _working_tree(scratch / "head")
        mine = _environment(scratch)
        process = environment.for_process(mine)
        try:
            run("start a scratch local Azure", [sys.executable, "-m", "localazure", "up"], cwd=ROOT, whole_env=process)
            pulumi.install_plugin(mine, scratch / "plugin")
            for project in ("base", "head"):
                (scratch / project / ".venv").symlink_to(ROOT / ".venv")
            in_base: Any = {"cwd": scratch / "base", "whole_env": process}
            run(f"make the stack of {base}", ["pulumi", "stack", "select", "--create", stack], **in_base)
            up = ["pulumi", "up", "--yes", "--skip-preview", "--stack", stack]
            run(f"bring up {base}", up, expect="two minutes", **in_base)
            say("  preview the working tree on it")
            return previews.preview(stack, scratch / "head", scratch / "base", process)
        finally:
            _tear_down(process)


def _base(base: str, folder: Path) -> None:
    """The committed files of `base`; a branch that only the origin has is meant too."""
    for name in (base, f"origin/{base}"):
        done = subprocess.run(["git", "archive", name], cwd=ROOT, capture_output=True, check=False)
        if done.returncode == 0:
            break
    else:
        raise ToolError(f"git knows no {base!r}: {done.stderr.decode(errors='replace').strip()[:300]}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _working_tree(folder: Path) -> None:
    """What git has or would have of it: nothing that is ignored."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # not where it was deleted and that is not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
            shutil.copymode(ROOT / name, folder / name)


def _environment(scratch: Path) -> dict[str, str]:
    """This machine's tools, with an Azure, a state and a Pulumi home of their own."""
    cli, docker_host, base_image = bringup.tools()
    made = instance.load_or_create(scratch / "azure")
    values = environment.variables(made, docker_host, base_image, cli, scratch)
    environment.make_folders(values)
    return values


def _tear_down(process: dict[str, str]) -> None:
    """All of the scratch local Azure, in Docker too; a failure here must not hide what went wrong before."""
    say("  take it down")
    command = [sys.executable, "-m", "localazure", "remove"]
    done = subprocess.run(command, cwd=ROOT, env=process, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"  cleaning up: `python -m localazure remove` ended with {done.returncode}: {done.stderr.strip()[-300:]}")
