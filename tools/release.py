"""A release: what a stack runs, as it goes from stack to stack and as it stands in a stack file and in its history."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tools import pulumi
from tools.console import ToolError
from tools.environment import ROOT

MODEL = "pulumi-python:dynamic/edge:RegisteredModel"
FLEET = "pulumi-python:dynamic/edge:FleetDeployment"
BUILT = "pulumi-python:dynamic/edge:ModelImage"
_REF = re.compile(r"[^/]+/.+@sha256:[0-9a-f]{64}")
_MODE = "containerImage"  # the settings' default


@dataclass(frozen=True)
class Model:
    """A model in an image."""

    name: str
    """Empty for the one in aml-edge:model; those in aml-edge:models are found by theirs."""
    content_hash: str
    """SHA-256 of its content, the same in every workspace."""
    lineage: str
    """`organization/aml-edge/dev best_model:3`: where this version came from."""


@dataclass(frozen=True)
class Release:
    """What goes from stack to stack: an image by digest, and the models in it."""

    ref: str
    fingerprint: str
    mode: str
    """The mode that the image was built in: it decides how the module is started."""
    models: tuple[Model, ...]

    def forced(self, reason: str) -> Release:
        """The same with the reason in its lineage, where a reviewer of the stack file finds it."""
        models = (replace(model, lineage=f"{model.lineage} (forced: {reason})") for model in self.models)
        return replace(self, models=tuple(models))

    def settings(self, file: Path) -> dict[str, str]:
        """Path in the configuration -> value, for this stack file. Raises ToolError where it lacks a model."""
        config = _config(file.read_text())
        places = {"": "aml-edge:model"}
        for index, entry in enumerate(config.get("aml-edge:models") or []):
            places[_name(entry)] = f"aml-edge:models[{index}]"
        if missing := [model.name for model in self.models if model.name not in places]:
            raise ToolError(
                f"aml-edge:models of {file.name} lacks {', '.join(missing)}; write it as in the source's file"
            )
        found = {
            "aml-edge:image.ref": self.ref,
            "aml-edge:image.fingerprint": self.fingerprint,
            "aml-edge:image.mode": self.mode,
        }
        for model in self.models:
            found[f"{places[model.name]}.contentHash"] = model.content_hash
            found[f"{places[model.name]}.promotedFrom"] = model.lineage
        return found


@dataclass(frozen=True)
class Source:
    """A stack as its backend knows it. Secrets stay encrypted or out."""

    name: str
    outputs: Mapping[str, Any]
    resources: Iterable[Mapping[str, Any]]
    updates: Iterable[Mapping[str, Any]]
    """The newest first: {kind, result, ...}."""
    config: Mapping[str, Any]
    pending: Iterable[Mapping[str, Any]] = ()
    """What an update has begun and not ended. Histories of backends of one's own list an update only when it has ended."""


def source(values: Mapping[str, str], name: str, project: Path = ROOT) -> Source:
    """Asks Pulumi; nothing is changed. Raises ToolError."""

    def ask(*arguments: str) -> Any:
        try:
            return pulumi.read(values, *arguments, "--stack", name, project=project)
        except ToolError as error:
            raise ToolError(
                f"{error}\n  Nothing is known of the stack {name}: bring it up first, or name another"
            ) from error

    state = ask("stack", "export")
    return Source(
        name,
        outputs=ask("stack", "output", "--json"),
        resources=(state.get("deployment") or {}).get("resources") or [],
        updates=ask("stack", "history", "--json", "--page-size", "20") or [],
        config=ask("config", "--json"),
        pending=(state.get("deployment") or {}).get("pending_operations") or [],
    )


def unfit(stack: Source) -> list[str]:
    """Why a stack's release is not to go further; empty where it may."""
    problems = []
    last = next((update for update in stack.updates if update.get("kind") == "update"), None)
    if last and last.get("result") != "succeeded":
        problems.append(f"its last update {last.get('result') or 'has not ended'}")
    if stack.pending:
        problems.append("an update of it is under way or was cut off")
    image = str(stack.outputs.get("imageRef", ""))
    if not _REF.fullmatch(image):
        problems.append("it exports no image by digest (imageRef)")
    fleets = [one for one in stack.resources if one["type"] == FLEET]
    deployments = stack.outputs.get("deployments")
    if not isinstance(deployments, dict) or not (deployments or fleets):
        return [*problems, "it has no deployment"]
    return [*problems, *_devices(deployments, image), *filter(None, map(_fleet, fleets))]


def _devices(deployments: Mapping[str, Any], image: str) -> Iterator[str]:
    for device, told in sorted(deployments.items()):
        deployment = told if isinstance(told, dict) else {}
        health = deployment.get("health")
        history = deployment.get("history") or [{}]
        ran = history[0].get("image", image)
        if health != "healthy":
            yield f"the deployment of {device} is {health or 'of unknown health'}"
        elif ran != image:
            yield f"{device} runs {ran}, not {image}"


def _fleet(resource: Mapping[str, Any]) -> str:
    """What an update that succeeded says of a fleet: with a rollout, that its devices up to a wave report success."""
    inputs = resource["inputs"]
    rollout = inputs.get("rollout")
    if not rollout:
        return f"nobody waited for the devices of the fleet {inputs.get('name')}: it has no rollout"
    waves, wave = len(rollout.get("waves") or []), int(rollout.get("wave") or 0)
    return f"the fleet {inputs.get('name')} has reached wave {wave} of {waves}" if wave < waves else ""


def release(stack: Source) -> Release:
    """Raises ToolError where something is missing."""
    ref = str(stack.outputs.get("imageRef", ""))
    if not _REF.fullmatch(ref):
        raise ToolError(f"{stack.name} exports no image by digest; bring it up first")
    models = sorted((_model(stack, one) for one in stack.resources if one["type"] == MODEL), key=lambda one: one.name)
    if not models:
        raise ToolError(f"{stack.name} has registered no model of its own; only what it registered can be promoted")
    return Release(ref, str(stack.outputs.get("imageFingerprint", "")), _mode(stack), tuple(models))


def _model(stack: Source, resource: Mapping[str, Any]) -> Model:
    made = resource["outputs"]
    name = "" if str(resource["urn"]).endswith("::model") else str(made["name"])
    return Model(name, str(made["contentHash"]), f"{stack.outputs.get('stack') or stack.name} {made['modelId']}")


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
        try:
            earlier = read(_git(project, "show", f"{commit}:./{name}"))
        except yaml.YAMLError:
            continue  # that commit's file could never be brought up
        if earlier and (not present or earlier.ref != present.ref):
            return earlier
    raise ToolError(
        f"the history of {name} has no other image.ref to go back to; commit promotions, so that there is one"
    )


def read(text: str) -> Release | None:
    """From the text of a stack file; None where it names no image."""
    config = _config(text)
    image = config.get("aml-edge:image") or {}
    if not image.get("ref"):
        return None
    entries = [("", config.get("aml-edge:model") or {})]
    entries += [(_name(entry), entry) for entry in config.get("aml-edge:models") or []]
    models = [
        Model(name, str(entry["contentHash"]), str(entry.get("promotedFrom", "")))
        for name, entry in entries
        if entry.get("contentHash")
    ]
    found = tuple(sorted(models, key=lambda one: one.name))
    return Release(str(image["ref"]), str(image.get("fingerprint", "")), str(image.get("mode", _MODE)), found)


def _config(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (yaml.safe_load(text) or {}).get("config") or {}
    return found


def _name(entry: Mapping[str, Any]) -> str:
    """Of a model in a stack file: what the settings make of it."""
    return str(entry.get("name") or Path(str(entry.get("path", ""))).stem)


def _git(project: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"could not read the history of {project}: {done.stderr.strip()[:300]}")
    return done.stdout
