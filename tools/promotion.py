"""`make promote FROM=dev TO=staging` and `make rollback STACK=prod`: what a stack runs, written into its stack file.

A promotion is an edit of `Pulumi.<stack>.yaml`, so that a commit holds it, a pull request shows it and `git revert` takes it back.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools import environment, policy_pack
from tools.console import ToolError, say
from tools.environment import ROOT

_REF = re.compile(r"[^/]+/.+@sha256:[0-9a-f]{64}")
_MODEL = "pulumi-python:dynamic/edge:RegisteredModel"


@dataclass(frozen=True)
class Release:
    """What goes from stack to stack: an image by digest, and the model in it."""

    ref: str
    fingerprint: str
    model_hash: str
    """SHA-256 of the model's content, the same in every workspace."""
    lineage: str
    """`dev best_model:3`: where this version of the model came from."""

    def settings(self) -> dict[str, str]:
        """Path in the stack's configuration -> value."""
        return {
            "aml-edge:image.ref": self.ref,
            "aml-edge:image.fingerprint": self.fingerprint,
            "aml-edge:model.contentHash": self.model_hash,
            "aml-edge:model.promotedFrom": self.lineage,
        }


def promote(
    values: Mapping[str, str], source: str, target: str, *, force: str = "", yes: bool = False, project: Path = ROOT
) -> None:
    """Bring what `source` runs to `target`: check, write, preview, ask, apply. Raises ToolError; what was refused changes no file.

    `force` is the reason for promoting a stack that is not healthy.
    """
    if source == target:
        raise ToolError("FROM and TO are the same stack")
    outputs = _json(values, project, "stack", "output", "--json", "--stack", source)
    problems = unhealthy(outputs)
    if problems and not force:
        raise ToolError(
            f"{source} is not fit to be promoted: {'; '.join(problems)}\n"
            f"  Mend it (make up), or say why it is promoted all the same: make promote FROM={source} TO={target} FORCE='the reason'"
        )
    if problems:
        say(f"  {source}: {'; '.join(problems)} - promoted all the same: {force}")
    state = _json(values, project, "stack", "export", "--stack", source)
    _write_and_apply(values, target, release(source, outputs, state), yes, project)


def rollback(values: Mapping[str, str], stack: str, *, yes: bool = False, project: Path = ROOT) -> None:
    """Bring back what the stack ran before, as the history of its stack file says. Raises ToolError."""
    found = before(stack, project)
    say(f"  {stack} goes back to {found.ref}")
    _write_and_apply(values, stack, found, yes, project)


def unhealthy(outputs: Mapping[str, Any]) -> list[str]:
    """Why a stack's release is not to go further; empty where it may."""
    problems = []
    if not _REF.fullmatch(str(outputs.get("imageRef", ""))):
        problems.append("it exports no image by digest (imageRef)")
    deployments = outputs.get("deployments")
    if not isinstance(deployments, dict) or not deployments:
        problems.append("it has no deployment")
    else:
        for device, deployment in sorted(deployments.items()):
            health = deployment.get("health") if isinstance(deployment, dict) else None
            if health != "healthy":
                problems.append(f"the deployment of {device} is {health or 'of unknown health'}")
    return problems


def release(source: str, outputs: Mapping[str, Any], state: Mapping[str, Any]) -> Release:
    """From a stack's outputs and its exported state, secrets encrypted. Raises ToolError where something is missing."""
    models = [one for one in state["deployment"].get("resources", []) if one["type"] == _MODEL]
    model = models[0]["outputs"] if models else {}
    content = str(model.get("contentHash") or "")
    ref = str(outputs.get("imageRef", ""))
    if not _REF.fullmatch(ref):
        raise ToolError(f"{source} exports no image by digest; bring it up first")
    if not content:
        raise ToolError(f"{source} has registered no model of its own; only what it registered can be promoted")
    return Release(ref, str(outputs.get("imageFingerprint", "")), content, f"{source} {outputs.get('modelId')}")


def before(stack: str, project: Path = ROOT) -> Release:
    """The newest release in the git history of the stack file that is not the present one."""
    name = f"Pulumi.{stack}.yaml"
    file = project / name
    if not file.exists():
        raise ToolError(f"there is no {name}")
    present = _read(file.read_text())
    for commit in _git(project, "log", "--format=%H", "--", name).split():
        earlier = _read(_git(project, "show", f"{commit}:./{name}"))
        if earlier and (not present or earlier.ref != present.ref):
            return earlier
    raise ToolError(
        f"the history of {name} has no other image.ref to go back to; commit promotions, so that there is one"
    )


def _read(text: str) -> Release | None:
    config = (yaml.safe_load(text) or {}).get("config") or {}
    image, model = config.get("aml-edge:image") or {}, config.get("aml-edge:model") or {}
    if not image.get("ref"):
        return None
    given = (image["ref"], image.get("fingerprint", ""), model.get("contentHash", ""), model.get("promotedFrom", ""))
    return Release(*map(str, given))


def _write_and_apply(values: Mapping[str, str], stack: str, wanted: Release, yes: bool, project: Path) -> None:
    file = project / f"Pulumi.{stack}.yaml"
    if not file.exists():
        raise ToolError(f"there is no {file.name}; write one with: make environment NAME={stack} FROM=prod")
    kept = file.read_bytes()
    flags = ["--stack", stack, "--non-interactive"]
    checks = policy_pack.flags(stack, project / "policy")
    try:
        write(values, stack, wanted, project)
        _call(values, project, "preview", "--diff", *flags, *checks)
        if not yes and not _confirmed(f"Bring {stack} to {wanted.ref}?"):
            raise ToolError(f"nothing was changed; {file.name} is as it was")
    except BaseException:
        file.write_bytes(kept)
        raise
    _call(values, project, "up", "--yes", "--skip-preview", *flags, *checks)
    say(f"{stack} runs {wanted.ref.partition('@')[2]}. Commit {file.name}: it is what makes this promotion stay.")


def write(values: Mapping[str, str], stack: str, wanted: Release, project: Path = ROOT) -> None:
    """Into the stack file, by Pulumi itself, which keeps comments and order."""
    settings = [part for path, value in wanted.settings().items() for part in ("--plaintext", f"{path}={value}")]
    _call(values, project, "config", "set-all", "--path", "--stack", stack, "--non-interactive", *settings)


def _confirmed(question: str, read: Callable[[str], str] = input) -> bool:
    if not sys.stdin.isatty():
        raise ToolError("nobody is here to be asked; say YES=1 to go on without")
    return read(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _json(values: Mapping[str, str], project: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        ["pulumi", *arguments, "--non-interactive"],
        cwd=project,
        env=environment.for_process(dict(values)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"`pulumi {' '.join(arguments)}` failed: {done.stderr.strip()[:500]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _call(values: Mapping[str, str], project: Path, *arguments: str) -> None:
    done = subprocess.run(["pulumi", *arguments], cwd=project, env=environment.for_process(dict(values)), check=False)
    if done.returncode:
        raise ToolError(f"`pulumi {arguments[0]}` ended with exit code {done.returncode}; see its output above")


def _git(project: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"could not read the history of {project}: {done.stderr.strip()[:300]}")
    return done.stdout
