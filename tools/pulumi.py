"""The Pulumi CLI as our tools and tests call it quietly: answers as JSON, and the local plugin in its home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localazure.provider import launcher
from tools import environment
from tools.console import ToolError
from tools.environment import ROOT

AZURE_NATIVE = "3.24.0"  # the version that pulumi_azure_native in requirements.txt asks for


def read(values: Mapping[str, str], *arguments: str, project: Path = ROOT) -> Any:
    """What `pulumi ARGUMENTS` answers in JSON; secrets stay `[secret]` or encrypted. Raises ToolError with what Pulumi says."""
    return json.loads(_quiet(values, project, *arguments, "--non-interactive"))


def install_plugin(values: Mapping[str, str], source: Path) -> None:
    """The local Azure's plugin under azure-native's name, in the Pulumi home of `values` only; no time where it is there already.

    `source` is the folder that its launcher is written to.
    """
    launcher.write_launcher(source, Path(sys.executable), ROOT)
    installed = Path(values["PULUMI_HOME"]) / "plugins" / f"resource-azure-native-v{AZURE_NATIVE}" / launcher.EXECUTABLE
    if installed.exists() and installed.read_bytes() == (source / launcher.EXECUTABLE).read_bytes():
        return
    plugin = ("resource", "azure-native", AZURE_NATIVE, "--file", str(source), "--reinstall")
    # In the project's folder Pulumi would look for the project's own plugins first.
    _quiet(values, Path(os.sep), "plugin", "install", *plugin)


def _quiet(values: Mapping[str, str], folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["pulumi", *arguments],
        cwd=folder,
        env=environment.for_process(dict(values)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"`pulumi {' '.join(arguments)}` failed: {done.stderr.strip()[:500]}")
    return done.stdout
