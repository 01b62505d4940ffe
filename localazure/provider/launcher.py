"""The executable that `pulumi plugin install resource azure-native 3.24.0 --file DIRECTORY` wants to find."""

from __future__ import annotations

import shlex
from pathlib import Path

EXECUTABLE = "pulumi-resource-azure-native"


def write_launcher(directory: Path, python: Path, root: Path) -> Path:
    """Write `directory/pulumi-resource-azure-native`, which runs this package from the checkout `root` with `python`.

    Paths are made absolute but symbolic links are kept: the `python` of a virtual environment is one. The launcher is the
    same for the same arguments, so writing it again changes nothing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    launcher = directory / EXECUTABLE
    launcher.write_text(
        "#!/bin/sh\n"
        "# Written by localazure/provider/launcher.py.\n"
        f"PYTHONPATH={shlex.quote(str(root.absolute()))}${{PYTHONPATH:+:$PYTHONPATH}} "
        f'exec {shlex.quote(str(python.absolute()))} -m localazure.provider "$@"\n'
    )
    launcher.chmod(0o755)
    return launcher
