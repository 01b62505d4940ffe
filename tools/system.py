"""Debian packages that the bring-up needs: there already, or installed by apt when we may."""

from __future__ import annotations

import os
import shutil

from tools import cache
from tools.console import ToolError, run

_SBIN = "/usr/sbin:/sbin"  # where Debian puts dockerd; not on every user's PATH


def find(program: str) -> str | None:
    """The program's path, or None."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def need(program: str, *, package: str, purpose: str) -> str:
    """The program's path; installs `package` as root on Debian or Ubuntu. Raises ToolError that says what to install otherwise."""
    path = find(program)
    if path:
        return path
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolError(
            f"the program '{program}' is needed {purpose} and is not installed.\n"
            f"  Debian or Ubuntu: sudo apt-get install {package}\n"
            "  then run the same command again."
        )
    with cache.lock("apt"):
        if not find(program):
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            run("read the list of Debian packages", ["apt-get", "update", "-qq"], env=quiet)
            run(
                f"install the Debian package {package} {purpose}",
                ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *package.split()],
                env=quiet,
                expect="half a minute",
            )
    path = find(program)
    if not path:
        raise ToolError(f"the Debian package {package} is installed but has no program '{program}'")
    return path
