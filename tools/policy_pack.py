"""The environment that the policy pack runs in: `python -m tools.policy_pack` makes it and prints the pack.

`pulumi-policy` asks for an older protobuf than the program's own libraries have, so it cannot live in `.venv`. Kept below the user's
cache folder, keyed by what it holds; `policy/.venv` points at it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tools import cache
from tools.console import ToolError, run, say
from tools.environment import ROOT


def ensure(folder: Path = ROOT / "policy") -> Path:
    """The executable to give to `pulumi preview --policy-pack`. Raises ToolError where the packages cannot be fetched."""
    requirements = folder / "requirements.txt"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(requirements.read_bytes() + sys.base_prefix.encode()).hexdigest()[:12]
    made = cache.ensure(f"policy/{python}-{key}", lambda draft: _make(draft, requirements))
    link = folder / ".venv"
    if not link.is_symlink() or link.readlink() != made:
        if link.exists() and not link.is_symlink():
            raise ToolError(f"{link} is in the way: remove it")
        link.unlink(missing_ok=True)
        link.symlink_to(made)
    return folder / "pack"


def flags(stack: str, folder: Path = ROOT / "policy") -> list[str]:
    """What `pulumi preview` and `pulumi up` take for a stack: its level file. One that has none is judged like prod."""
    levels = folder / "levels" / f"{stack}.json"
    if not levels.exists():
        levels = folder / "levels" / "prod.json"
    return ["--policy-pack", str(ensure(folder)), "--policy-pack-config", str(levels)]


def _make(folder: Path, requirements: Path) -> None:
    run(
        "make the policy pack's environment",
        [sys.executable, "-m", "venv", "--without-pip", folder],
        expect="half a minute",
    )
    run(
        "install pulumi-policy",
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            folder / "bin" / "python",
            "install",
            "--quiet",
            "--require-hashes",
            "-r",
            requirements,
        ],
    )


def main() -> int:
    try:
        say(str(ensure()))
    except ToolError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
