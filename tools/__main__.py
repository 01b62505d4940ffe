"""`python -m tools COMMAND`: what the Makefile's targets do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import bringup, environment, new_environment, score
from tools.console import ToolError, say
from tools.environment import ROOT, STACK

READINGS = ROOT / "scoring" / "readings.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--file", type=Path, default=READINGS, help="readings to score")
    parser.add_argument("--name", default="", help="of the environment to write")
    parser.add_argument("--source", default=STACK, help="the environment to start from")
    arguments = parser.parse_args()
    try:
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
    bringup.call(["pulumi", "up", "--yes", "--skip-preview", "--stack", STACK], values)
    score.run(values, arguments.file)


def _preview(_: argparse.Namespace) -> None:
    values = bringup.prepare()
    bringup.select_stack(values)
    bringup.call(["pulumi", "preview", "--diff", "--stack", STACK], values)


def _destroy(_: argparse.Namespace) -> None:
    values = bringup.prepare()
    bringup.call(["pulumi", "destroy", "--yes", "--skip-preview", "--stack", STACK], values)


def _env(_: argparse.Namespace) -> None:
    print(environment.for_shell(bringup.current()))


def _score(arguments: argparse.Namespace) -> None:
    score.run(bringup.current(), arguments.file)


_COMMANDS = {
    "up": _up,
    "preview": _preview,
    "destroy": _destroy,
    "down": lambda _: bringup.stop(),
    "clean": lambda _: bringup.clean(),
    "env": _env,
    "environment": lambda arguments: new_environment.write(arguments.name, arguments.source),
    "score": _score,
}

if __name__ == "__main__":
    sys.exit(main())
