"""`make test`: the tools that the tests need, then pytest. Every test makes its own local Azure; nothing of a running one is touched.

Without arguments all tests run, side by side where the machine has the cores; with arguments it is pytest as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tools import bringup, environment, system
from tools.console import ToolError, say
from tools.environment import ROOT

MOST_WORKERS = 4  # each has a local Azure of its own, and the Docker engine is one for all
# A file stays with one worker, since its tests may tell a story; in their order, so that a worker makes a room's local Azure once.
ALL = ["-n", str(min(os.cpu_count() or 1, MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"]


def main() -> int:
    try:
        values = tools()
    except ToolError as error:
        say(f"error: {error}")
        return error.exit_code
    command = [sys.executable, "-m", "pytest", *(sys.argv[1:] or ALL)]
    return subprocess.run(command, cwd=ROOT, env=environment.for_process(values), check=False).returncode


def tools() -> dict[str, str]:
    """The variables that tests need. Raises ToolError."""
    cli, docker_host, base = bringup.tools()
    system.need("skopeo", package="skopeo", purpose="as a client of the local Azure's container registry")
    path = os.pathsep.join([str(ROOT / ".venv" / "bin"), str(cli), os.environ.get("PATH", "")])
    return {"DOCKER_HOST": docker_host, "LOCALAZURE_BASE_IMAGE": base, "PATH": path}


if __name__ == "__main__":
    sys.exit(main())
