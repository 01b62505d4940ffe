"""A release: what a stack runs, as it goes from stack to stack and as it stands in a stack file and in its history."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools import pulumi
from tools.console import ToolError
from tools.environment import ROOT

MODEL = "pulumi-python:dynamic/edge:RegisteredModel"
BUILT = "pulumi-python:dynamic/edge:ModelImage"
_REF = re.compile(r"[^/]+/.+@sha256:[0-9a-f]{64}")
_MODE = "containerImage"  # the settings' default


@dataclass(frozen=True)
class Release:
    """What goes from stack to stack: an image by digest, and the model in it."""

    ref: str
    fingerprint: str
    mode: str
    """The mode that the image was built in: it decides how the module is started."""
    model_hash: str
    """SHA-256 of the model's content, the same in every workspace."""
    lineage: str
    """`organization/aml-edge/dev best_model:3`: where this version of the model came from."""

    def settings(self) -> dict[str, str]:
        """Path in the stack's configuration -> value."""
        return {
            "aml-edge:image.ref": self.ref,
            "aml-edge:image.fingerprint": self.fingerprint,
            "aml-edge:image.mode": self.mode,
            "aml-edge:model.contentHash": self.model_hash,
            "aml-edge:model.promotedFrom": self.lineage,
        }


@dataclass(frozen=True)
class Source:
    """A stack as its backend knows it. Secrets stay encrypted or out."""

    name: str
    outputs: Mapping[str, Any]
    resources: Iterable[Mapping[str, Any]]
    updates: Iterable[Mapping[str, Any]]
    """The newest first: {kind, result, ...}."""
    config: Mapping[str, Any]


def source(values: Mapping[str, str], name: str, project: Path = ROOT) -> Source:
    """Asks Pulumi; nothing is changed. Raises ToolError."""

    def ask(*arguments: str) -> Any:
        return pulumi.read(values, *arguments, "--stack", name, project=project)

    state = ask("stack", "export")
    return Source(
        name,
        outputs=ask("stack", "output", "--json"),
        resources=(state.get("deployment") or {}).get("resources") or [],
        updates=ask("stack", "history", "--json", "--page-size", "20") or [],
        config=ask("config", "--json"),
    )


def unfit(stack: Source) -> list[str]:
    """Why a stack's release is not to go further; empty where it may."""
    problems = []
    last = next((update for update in stack.updates if update.get("kind") == "update"), None)
    if last and last.get("result") != "succeeded":
        problems.append(f"its last update {last.get('result') or 'has not ended'}")
    image = str(stack.outputs.get("imageRef", ""))
    if not _REF.fullmatch(image):
        problems.append("it exports no image by digest (imageRef)")
    deployments = stack.outputs.get("deployments")
    if not isinstance(deployments, dict) or not deployments:
        return [*problems, "it has no deployment"]
    for device, told in sorted(deployments.items()):
        deployment = told if isinstance(told, dict) else {}
        health = deployment.get("health")
        history = deployment.get("history") or [{}]
        ran = history[0].get("image", image)
        if health != "healthy":
            problems.append(f"the deployment of {device} is {health or 'of unknown health'}")
        elif ran != image:
            problems.append(f"{device} runs {ran}, not {image}")
    return problems


def release(stack: Source) -> Release:
    """Raises ToolError where something is missing."""
    models = [one for one in stack.resources if one["type"] == MODEL]
    models.sort(
        key=lambda one: not str(one.get("urn", "")).endswith("::model")
    )  # before the further ones, aml-edge:models
    content = str(models[0]["outputs"].get("contentHash") or "") if models else ""
    ref = str(stack.outputs.get("imageRef", ""))
    if not _REF.fullmatch(ref):
        raise ToolError(f"{stack.name} exports no image by digest; bring it up first")
    if not content:
        raise ToolError(f"{stack.name} has registered no model of its own; only what it registered can be promoted")
    lineage = f"{stack.outputs.get('stack') or stack.name} {stack.outputs.get('modelId')}"
    return Release(ref, str(stack.outputs.get("imageFingerprint", "")), _mode(stack), content, lineage)


def _mode(stack: Source) -> str:
    """Of the stack that built it, what it was built with; of one that promoted it, what its file says."""
    built = next((one for one in stack.resources if one["type"] == BUILT), None)
    given = (stack.config.get("aml-edge:image") or {}).get("objectValue") or {}
    return str((built["inputs"] if built else given).get("mode") or _MODE)


def before(stack: str, project: Path = ROOT) -> Release:
    """The newest release in the git history of the stack file that is not the present one. Raises ToolError."""
    name = f"Pulumi.{stack}.yaml"
    file = project / name
    if not file.exists():
        raise ToolError(f"there is no {name}")
    present = read(file.read_text())
    for commit in _git(project, "log", "--format=%H", "--", name).split():
        earlier = read(_git(project, "show", f"{commit}:./{name}"))
        if earlier and (not present or earlier.ref != present.ref):
            return earlier
    raise ToolError(
        f"the history of {name} has no other image.ref to go back to; commit promotions, so that there is one"
    )


def read(text: str) -> Release | None:
    """From the text of a stack file; None where it names no image."""
    config = (yaml.safe_load(text) or {}).get("config") or {}
    image, model = config.get("aml-edge:image") or {}, config.get("aml-edge:model") or {}
    if not image.get("ref"):
        return None
    given = (image["ref"], image.get("fingerprint", ""), image.get("mode", _MODE))
    return Release(*map(str, (*given, model.get("contentHash", ""), model.get("promotedFrom", ""))))


def _git(project: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"could not read the history of {project}: {done.stderr.strip()[:300]}")
    return done.stdout
