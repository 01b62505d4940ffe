"""`make environment NAME=prod-eu FROM=dev`: a stack file for real Azure with its policy levels, made from one that exists.

The committed stack files are local environments: they carry the salt of a passphrase that everybody knows, a base image that only this
machine has, and what was promoted from registries of the local Azure. A real one must not.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from tools.console import ToolError, say
from tools.environment import ROOT

# Pulumi's own rule for a stack's name, without those that read as a folder or as an option.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SECRET = re.compile(r"^\s+secure:", re.MULTILINE)
_LOCAL_ONLY = re.compile(r"^(encryptionsalt|secretsprovider|encryptedkey):.*\n?", re.MULTILINE)
_BASE_IMAGE = re.compile(r"(?<=baseImage: )aml-edge/base:.*")
_PUBLIC_BASE = "python:3.11-slim # better by digest, python:3.11-slim@sha256:..., or an Azure ML inference image"
_PROMOTED = re.compile(r"^    (ref|fingerprint|mode|contentHash|promotedFrom):.*\n", re.MULTILINE)
_LOCAL_REF = re.compile(r"^    ref: 127\.", re.MULTILINE)


def write(name: str, source: str, folder: Path = ROOT) -> Path:
    """`Pulumi.<name>.yaml` from `Pulumi.<source>.yaml`, comments kept, and its policy levels. Never overwrites. Raises ToolError."""
    if not _NAME.fullmatch(name):
        raise ToolError(
            f"'{name}' is no name for an environment: letters, digits, '_', '-' and '.' (not first), 100 at most"
        )
    origin, target = folder / f"Pulumi.{source}.yaml", folder / f"Pulumi.{name}.yaml"
    if not origin.exists():
        there = sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in folder.glob("Pulumi.*.yaml"))
        raise ToolError(f"there is no Pulumi.{source}.yaml to start from; FROM may be one of: {', '.join(there)}")
    levels = folder / "policy" / "levels"
    for file in (target, levels / f"{name}.json"):
        if file.exists():
            raise ToolError(f"{file.name} exists already; choose another NAME, or edit that file")
    text = origin.read_text()
    if _SECRET.search(text):
        raise ToolError(f"{origin.name} holds encrypted values, which only its own passphrase opens; remove them first")
    target.write_text(f"# Made from {origin.name} for real Azure.\n{_real(text, name, source)}")
    if (levels / f"{source}.json").exists():
        shutil.copyfile(levels / f"{source}.json", levels / f"{name}.json")
    say(_next_steps(target, name))
    return target


def _real(text: str, name: str, source: str) -> str:
    """The stack file's text without what only the local environments have."""
    text = _LOCAL_ONLY.sub("", text)
    text = _BASE_IMAGE.sub(_PUBLIC_BASE, text)
    if _LOCAL_REF.search(text):
        text = _PROMOTED.sub("", text)
    return re.sub(rf"^    environment: {re.escape(source)}$", f"    environment: {name}", text, flags=re.MULTILINE)


def _next_steps(file: Path, name: str) -> str:
    config: dict[str, Any] = yaml.safe_load(file.read_text()).get("config") or {}
    image = config.get("aml-edge:image") or {}
    review = ["azure-native:location", "aml-edge:registry.sku, aml-edge:hub.sku", "aml-edge:devices", "aml-edge:tags"]
    if image.get("builder") == "azureml":
        review.append("aml-edge:image.builder: acr builds in Azure without azureml-core, whose support has ended")
    if str(config.get("aml-edge:protect")).lower() != "true":  # Pulumi writes it as text
        review.append("aml-edge:protect: true, where something must not be lost")
    steps = [f"wrote {file.name}. Review:", *(f"  - {line}" for line in review)]
    steps += ["Then, in a shell without `make env` and logged in to Azure:"]
    steps += [
        f"  pulumi stack init {name} --secrets-provider=azurekeyvault://VAULT.vault.azure.net/keys/KEY   (or: passphrase)"
    ]
    if image.get("builder") == "none" and not image.get("ref"):
        steps.append(
            f"  python -m pipeline promote --source ... --target {name}   (it builds nothing: promote what another real stack runs)"
        )
    return "\n".join([*steps, f"  python -m pipeline up --stack {name}"])
