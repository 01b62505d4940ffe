"""`make environment NAME=prod-eu FROM=dev`: a stack file for real Azure, made from one that exists.

The committed stack files are local environments: they carry the salt of a passphrase that everybody knows. A real one must not.
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.console import ToolError, say
from tools.environment import ROOT

# Pulumi's own rule for a stack's name.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LOCAL_ONLY = re.compile(r"^(encryptionsalt|secretsprovider|encryptedkey):.*\n?", re.MULTILINE)
_SECRET = re.compile(r"^\s+secure:", re.MULTILINE)


def write(name: str, source: str, folder: Path = ROOT) -> Path:
    """`Pulumi.<name>.yaml` from `Pulumi.<source>.yaml`, comments kept. Never overwrites. Raises ToolError."""
    if not _NAME.fullmatch(name):
        raise ToolError(f"'{name}' is no name for an environment: letters, digits, '-', '_' and '.', 100 at most")
    origin, target = folder / f"Pulumi.{source}.yaml", folder / f"Pulumi.{name}.yaml"
    if not origin.exists():
        there = sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml"))
        raise ToolError(f"there is no {origin.name} to start from; FROM may be one of: {', '.join(there)}")
    if target.exists():
        raise ToolError(f"{target.name} exists already; choose another NAME, or edit that file")
    text = origin.read_text()
    if _SECRET.search(text):
        raise ToolError(f"{origin.name} holds encrypted values, which only its own passphrase opens; remove them first")
    target.write_text(f"# Made from {origin.name} for real Azure.\n{_LOCAL_ONLY.sub('', text)}")
    say(
        f"wrote {target.name}. Review it, then, in a shell without `make env`:\n"
        f"  pulumi stack init {name} --secrets-provider=azurekeyvault://VAULT.vault.azure.net/keys/KEY   (or: passphrase)\n"
        "  pulumi preview"
    )
    return target
