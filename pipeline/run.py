"""Previews and updates as continuous integration runs them: with the policies, and a comment of the preview."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline import comment, diagnostics
from pipeline.preview import PreviewError, parse
from tools import bringup, policy_pack


def preview(
    stack: str, project: Path, base: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """(comment, exit code of the preview with its policies).

    Two previews: the JSON of Pulumi has no word of policies, its text no differences that a program could read.
    """
    plain = ["--stack", stack, "--non-interactive", "--color", "never"]
    checked = _run(["pulumi", "preview", *plain, *policy_pack.flags(stack, project / "policy")], project, env)
    shown = _run(["pulumi", "preview", "--json", *plain], project, env)
    said = checked.stdout + checked.stderr
    return write(stack, shown.stdout, said, shown.returncode or checked.returncode, project, base), checked.returncode


def write(stack: str, json_text: str, said: str, exit_code: int, head: Path, base: Path | None) -> str:
    """The comment of a preview that was run: `json_text` is its JSON, `said` what it printed as text."""
    context = comment.Context(stack, diagnostics.violations(said), head=head if base else None, base=base)
    try:
        return comment.render(parse(json_text, exit_code, fallback=diagnostics.errors(said)), context)
    except (PreviewError, RecursionError) as error:
        return comment.broken(str(error), said, context)


def up(stack: str, project: Path) -> None:
    """`pulumi up`, which previews first: what a policy forbids ends it before anything is made. Raises ToolError."""
    flags = policy_pack.flags(stack, project / "policy")
    command = ["pulumi", "up", "--yes", "--stack", stack, "--non-interactive", *flags]
    bringup.call(command, os.environ, project, "pulumi up")


def _run(command: list[str], project: Path, env: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=project, env=dict(env or os.environ), capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
    return done
