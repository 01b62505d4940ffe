"""`python -m tools COMMAND`: what the Makefile's targets do."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from tools import bringup, console, environment, new_environment, policy_pack, pr_preview, promotion, score, turn
from tools.console import ToolError, say
from tools.environment import ROOT, STACK

READINGS = ROOT / "scoring" / "readings.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--file", type=Path, default=READINGS, help="readings to score")
    parser.add_argument("--name", default="", help="of the environment to write")
    parser.add_argument("--source", default=STACK, help="the environment or stack to start from")
    parser.add_argument("--target", default="", help="the stack to promote to or to roll back")
    parser.add_argument("--force", default="", help="the reason for promoting a stack that is not healthy")
    parser.add_argument("--yes", action="store_true", help="apply without asking")
    parser.add_argument("--base", default="main", help="the commit that a pull request starts from")
    arguments = parser.parse_args()
    try:
        with turn.of(ROOT, arguments.command) if arguments.command in _ONE_AT_A_TIME else contextlib.nullcontext():
            _COMMANDS[arguments.command](arguments)
    except ToolError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    return 0


def _up(arguments: argparse.Namespace) -> None:
    values = bringup.prepare()
    bringup.select_stack(values)
    # Previewed first: what a policy forbids ends it before anything is made.
    bringup.call(["pulumi", "up", "--yes", "--stack", STACK, *policy_pack.flags(STACK)], values)
    score.run(values, arguments.file)


def _preview(_: argparse.Namespace) -> None:
    values = bringup.prepare()
    bringup.select_stack(values)
    bringup.call(["pulumi", "preview", "--diff", "--stack", STACK, *policy_pack.flags(STACK)], values)


def _destroy(_: argparse.Namespace) -> None:
    values = bringup.prepare()
    bringup.select_stack(values)
    bringup.call(["pulumi", "destroy", "--yes", "--skip-preview", "--stack", STACK], values)


def _env(_: argparse.Namespace) -> None:
    print(environment.for_shell(bringup.current()))


def _score(arguments: argparse.Namespace) -> None:
    score.run(bringup.prepare(), arguments.file)


def _promote(arguments: argparse.Namespace) -> None:
    promotion.stack_file(arguments.target)  # before anything is made for it
    values = bringup.prepare()
    bringup.make_stack(values, arguments.target)
    promotion.promote(values, arguments.source, arguments.target, force=arguments.force, yes=arguments.yes)


def _rollback(arguments: argparse.Namespace) -> None:
    promotion.stack_file(arguments.target)
    values = bringup.prepare()
    bringup.make_stack(values, arguments.target)
    promotion.rollback(values, arguments.target, yes=arguments.yes)


def _pr_preview(arguments: argparse.Namespace) -> None:
    with console.stdout_for_the_answer() as answer:
        text, exit_code = pr_preview.comment(arguments.base)
        answer.write(text)
    if exit_code:
        raise ToolError("the preview failed; the comment says why", exit_code)


_COMMANDS = {
    "up": _up,
    "preview": _preview,
    "destroy": _destroy,
    "down": lambda _: bringup.stop(),
    "clean": lambda _: bringup.clean(),
    "env": _env,
    "pr-preview": _pr_preview,
    "promote": _promote,
    "rollback": _rollback,
    "environment": lambda arguments: new_environment.write(arguments.name, arguments.source),
    "score": _score,
}

_ONE_AT_A_TIME = ("up", "preview", "destroy", "pr-preview", "promote", "rollback")

if __name__ == "__main__":
    sys.exit(main())
