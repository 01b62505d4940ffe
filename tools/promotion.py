"""`make promote FROM=dev TO=staging` and `make rollback STACK=prod`: what a stack runs, written into its stack file.

A promotion is an edit of `Pulumi.<stack>.yaml`, so that a commit holds it, a pull request shows it and `git revert` takes it back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import bringup, policy_pack, release
from tools.console import ToolError, say
from tools.environment import ROOT
from tools.release import Release


def promote(
    values: Mapping[str, str], source: str, target: str, *, force: str = "", yes: bool = False, project: Path = ROOT
) -> None:
    """Bring what `source` runs to `target`: check, write, preview, ask, apply. Raises ToolError; what was refused changes no file.

    `source` may be a full name, `organization/project/stack`. `force` is the reason for
    promoting a stack that is not healthy; it is written into the stack file too.
    """
    stack_file(target, project)
    if _short(source) == target:
        raise ToolError("FROM and TO are the same stack")
    stack = release.source(values, source, project)
    problems = release.unfit(stack)
    if problems and not force.strip():
        raise ToolError(
            f"{source} is not fit to be promoted: {'; '.join(problems)}\n"
            f"  Mend it (make up), or say why it is promoted all the same: make promote FROM={source} TO={target} FORCE='the reason'"
        )
    wanted = release.release(stack)
    if problems:
        say(f"  {source}: {'; '.join(problems)} - promoted all the same: {force}")
        wanted = wanted.forced(force)
    elif force.strip():
        say(f"  {source} is fit to be promoted: FORCE was not needed and is written nowhere")
    _write_and_apply(values, target, wanted, yes, project)


def rollback(values: Mapping[str, str], stack: str, *, yes: bool = False, project: Path = ROOT) -> None:
    """Bring back what the stack ran before, as the history of its stack file says. Raises ToolError."""
    found = release.before(stack, project)
    say(f"  {stack} goes back to {found.ref}")
    _write_and_apply(values, stack, found, yes, project)


def stack_file(stack: str, project: Path = ROOT) -> Path:
    """Raises ToolError where there is none: a stack that nobody described is a name mistyped."""
    there = sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in project.glob("Pulumi.*.yaml"))
    if stack in there:
        return project / f"Pulumi.{stack}.yaml"
    if not stack:
        raise ToolError(f"name the stack (TO=.. of promote, STACK=.. of rollback), one of: {', '.join(there)}")
    raise ToolError(
        f"there is no Pulumi.{stack}.yaml; the stack is one of {', '.join(there)}, or a new one: "
        "make environment NAME=.. FROM=prod"
    )


def _write_and_apply(values: Mapping[str, str], stack: str, wanted: Release, yes: bool, project: Path) -> None:
    file = stack_file(stack, project)
    kept = file.read_bytes()
    flags = ["--stack", stack, "--non-interactive"]
    checks = policy_pack.flags(stack, project / "policy")
    try:
        write(values, stack, wanted, project)
        if file.read_bytes() == kept:
            say(f"  {file.name} names it already; the preview says whether {stack} lacks anything of it")
        _call(values, project, "preview", "--diff", *flags, *checks)
        if not yes and not _confirmed(f"Bring {stack} to {wanted.ref}?"):
            raise ToolError(f"nothing was changed; {file.name} is as it was")
    except BaseException:
        file.write_bytes(kept)
        raise
    try:
        _call(values, project, "up", "--yes", "--skip-preview", *flags, *checks)
    except ToolError as error:
        raise ToolError(
            f"{error}\n  {file.name} names {wanted.ref}, which {stack} does not run. To try again: pulumi up --stack {stack}. "
            f"To stay with what ran before: git checkout {file.name}, then pulumi up --stack {stack}.",
            error.exit_code,
        ) from error
    say(f"{stack} runs {wanted.ref.partition('@')[2]}. Commit {file.name}: it is what makes this promotion stay.")


def write(values: Mapping[str, str], stack: str, wanted: Release, project: Path = ROOT) -> None:
    """Into the stack file, by Pulumi itself, which keeps comments and order."""
    values_of = wanted.settings(project / f"Pulumi.{stack}.yaml")
    settings = [part for path, value in values_of.items() for part in ("--plaintext", f"{path}={value}")]
    _call(values, project, "config", "set-all", "--path", "--stack", stack, "--non-interactive", *settings)


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _confirmed(question: str, read: Callable[[str], str] = input) -> bool:
    if not sys.stdin.isatty():
        raise ToolError("nobody is here to be asked; say YES=1 to go on without")
    return read(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _call(values: Mapping[str, str], project: Path, *arguments: str) -> None:
    bringup.call(["pulumi", *arguments], values, project, f"pulumi {arguments[0]}")
