"""`python -m localazure up | down | remove | status | logs | env | fault | principal | rbac | connection-string`: the command line.

Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage; 3 (`status`) not running.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from localazure import certs, control, environment, instance
from localazure.cli import logs, owner, report
from localazure.cli.remove import remove
from localazure.instance import InstanceError

NOT_RUNNING = 3


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.folder = options.folder.absolute()
    try:
        return int(options.run(options))
    except (control.ControlError, InstanceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(options: argparse.Namespace) -> int:
    status, started = control.start(options.folder, _say)
    if options.strict_rbac:
        owner.set_strict(options.folder, True)
    print(f"local Azure {'is up' if started else 'was already up'} at {status['arm']} (process {status['pid']})")
    print(f"  logs: {options.folder / 'daemon.log'}, {options.folder / 'requests.jsonl'}")
    return _failures(status)


def _down(options: argparse.Namespace) -> int:
    last = control.stop(options.folder, _say)
    print("the local Azure was not running" if last is None else report.stopped(last))
    return 0


def _remove(options: argparse.Namespace) -> int:
    remove(options.folder, _say)
    print(f"nothing is left of the local Azure in {options.folder}")
    return 0


def _status(options: argparse.Namespace) -> int:
    pid = control.running(options.folder)
    if pid is None:
        print(f"the local Azure of {options.folder} is not running; start it with: python -m localazure up")
        return NOT_RUNNING
    status = control.status(options.folder)
    if status is None:
        raise control.ControlError(
            f"process {pid} holds {options.folder} but does not answer; see {options.folder / 'daemon.log'}"
        )
    print(json.dumps(status, indent=2) if options.json else report.running(status))
    return _failures(status)


def _logs(options: argparse.Namespace) -> int:
    name = "requests.jsonl" if options.requests else "daemon.log"
    return logs.show(options.folder / name, lines=options.lines, follow=options.follow)


def _environment(options: argparse.Namespace) -> int:
    """Known before the first `up`: the address and the ids are drawn once."""
    made = instance.load_or_create(options.folder)
    certs.ensure(made)
    plugin = environment.plugin_variables(made) if options.plugin else {}
    found = environment.variables(made) | plugin
    lines = [f"export {key}={shlex.quote(value)}" for key, value in sorted(found.items())]
    print(json.dumps(found, indent=2) if options.json else "\n".join(lines))
    return 0


def _run(options: argparse.Namespace) -> int:
    from localazure import daemon  # the other commands answer without loading the services

    daemon.main(options.folder)
    return 0


def _failures(status: dict[str, dict[str, str]]) -> int:
    for name, reason in status["failures"].items():
        print(
            f"error: the service '{name}' did not start: {reason}; when that is mended: down, then up", file=sys.stderr
        )
    return 1 if status["failures"] else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localazure", description="An embedded Azure for this clone.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--folder",
        type=Path,
        default=instance.default_folder(),
        help="its state; default: $LOCALAZURE_HOME, else .local/azure here",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        # A group of commands has no --folder of its own: the one of its members would overrule it unseen.
        added = commands.add_parser(name, parents=[common] if run else [], help=text, description=text)
        added.set_defaults(run=run)
        return added

    up = command("up", _up, "start it in the background and wait until it answers")
    up.add_argument("--strict-rbac", action="store_true", help="enforce role assignments from now on (see: rbac)")
    command("down", _down, "stop it; its state stays")
    command(
        "remove",
        _remove,
        "stop it and remove all of it: its state, its devices' containers and networks, pulled images",
    )
    command("status", _status, "what runs; exit code 3 when nothing does").add_argument(
        "--json", action="store_true", help="for programs"
    )
    shown = command("logs", _logs, "the daemon's log")
    shown.add_argument("--requests", action="store_true", help="every request it got, one JSON object a line")
    shown.add_argument("-f", "--follow", action="store_true", help="wait for more, until Ctrl-C")
    shown.add_argument("-n", "--lines", type=int, default=200, help="how many of the last lines (default 200)")
    shown = command("env", _environment, 'the variables that point SDKs at it: eval "$(python -m localazure env)"')
    shown.add_argument("--json", action="store_true", help="as one JSON object")
    shown.add_argument(
        "--plugin", action="store_true", help="and those with which Pulumi's own azure-native plugin logs in (untested)"
    )
    command("run", _run, "run it in the foreground (what 'up' starts)")
    owner.add_commands(command, common)
    return parser


if __name__ == "__main__":
    sys.exit(main())
