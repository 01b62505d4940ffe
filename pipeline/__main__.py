"""`python -m pipeline`: `comment --stack dev < preview.json`, `preview`, `upsert`, `up`, `promote`, `rollback`.

All of them work in the shell's own environment: the backend and the Azure that you are logged in to.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import github, run
from tools import promotion
from tools.console import ToolError


def main() -> int:
    arguments = _parser().parse_args()
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr] # whatever the locale says
    code: int = arguments.run(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(required=True)
    base: dict[str, Any] = {
        "type": Path,
        "help": "the project's folder before the change: shows which packages changed",
    }

    made = commands.add_parser("comment", help="Markdown of `pulumi preview --json`, read from stdin")
    made.add_argument("--stack", required=True)
    made.add_argument(
        "--diagnostics", type=Path, help="text output of the same preview: policy violations are only there"
    )
    made.add_argument("--exit-code", type=int, default=0, help="of the preview; not every failure is in its JSON")
    made.add_argument("--base", **base)
    made.set_defaults(run=_comment)

    previewed = commands.add_parser("preview", help="preview a stack with its policies and write the comment")
    previewed.add_argument("--stack", required=True)
    previewed.add_argument("--output", type=Path, required=True)
    previewed.add_argument("--base", **base)
    previewed.set_defaults(run=_preview)

    upserted = commands.add_parser(
        "upsert", help="write a comment into a pull request, in the place of the earlier one"
    )
    upserted.add_argument("--number", type=int, required=True)
    upserted.add_argument("--file", type=Path, required=True)
    upserted.set_defaults(run=_upsert)

    brought = commands.add_parser("up", help="bring a stack up with its policies")
    brought.add_argument("--stack", required=True)
    brought.set_defaults(run=lambda arguments: _told(lambda: run.up(arguments.stack, Path.cwd())))

    promoted = commands.add_parser(
        "promote", help="bring what one stack runs to another, as `make promote` does locally"
    )
    promoted.add_argument("--source", required=True, help="a stack, or organization/project/stack")
    promoted.add_argument("--target", required=True)
    promoted.add_argument("--force", default="", help="the reason for promoting a stack that is not healthy")
    promoted.set_defaults(run=_promote)

    back = commands.add_parser("rollback", help="bring back what a stack ran before")
    back.add_argument("--target", required=True)
    back.set_defaults(run=_rollback)
    for one in (promoted, back):
        one.add_argument("--yes", action="store_true", help="apply without asking")
    return parser


def _promote(arguments: argparse.Namespace) -> int:
    here = {"force": arguments.force, "yes": arguments.yes, "project": Path.cwd()}
    return _told(lambda: promotion.promote(os.environ, arguments.source, arguments.target, **here))


def _rollback(arguments: argparse.Namespace) -> int:
    return _told(lambda: promotion.rollback(os.environ, arguments.target, yes=arguments.yes, project=Path.cwd()))


def _told(work: Callable[[], None]) -> int:
    """The exit code; what went wrong is printed without a traceback."""
    try:
        work()
    except ToolError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to go on\n")
        return 130
    return 0


def _comment(arguments: argparse.Namespace) -> int:
    """0 also for a failed preview: its comment is what was asked for."""
    try:
        said = arguments.diagnostics.read_text(errors="replace") if arguments.diagnostics else ""
    except OSError as error:  # no comment rather than one that misses the violations
        sys.stderr.write(f"error: {arguments.diagnostics} holds the violations and cannot be read: {error.strerror}\n")
        return 1
    text = sys.stdin.buffer.read().decode(errors="replace")
    sys.stdout.write(run.write(arguments.stack, text, said, arguments.exit_code, Path.cwd(), arguments.base))
    return 0


def _preview(arguments: argparse.Namespace) -> int:
    text, code = run.preview(arguments.stack, Path.cwd(), arguments.base)
    arguments.output.write_text(text, encoding="utf-8")
    return code


def _upsert(arguments: argparse.Namespace) -> int:
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    text = arguments.file.read_text(encoding="utf-8")
    try:
        print(github.upsert(api, os.environ["GITHUB_REPOSITORY"], arguments.number, os.environ["GITHUB_TOKEN"], text))
    except KeyError as error:
        sys.stderr.write(f"error: {error.args[0]} is not set; a workflow of GitHub has it\n")
        return 1
    except github.CommentError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
