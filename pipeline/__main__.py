"""`python -m pipeline comment --stack dev < preview.json`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from pipeline import comment, diagnostics
from pipeline.preview import PreviewError, parse


def main() -> int:
    """0 also for a failed preview: its comment is what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("comment", help="Markdown of `pulumi preview --json`, read from stdin")
    made.add_argument("--stack", required=True)
    made.add_argument(
        "--diagnostics", type=Path, help="text output of the same preview: policy violations are only there"
    )
    made.add_argument("--base", type=Path, help="the project's folder before the change: shows which packages changed")
    made.add_argument("--exit-code", type=int, default=0, help="of the preview; not every failure is in its JSON")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr] # whatever the locale says
    sys.stdout.write(_comment(arguments))
    return 0


def _comment(arguments: argparse.Namespace) -> str:
    said = arguments.diagnostics.read_text(errors="replace") if arguments.diagnostics else ""
    base = arguments.base
    context = comment.Context(
        arguments.stack, diagnostics.violations(said), head=Path.cwd() if base else None, base=base
    )
    try:
        read = parse(sys.stdin.buffer.read().decode(errors="replace"), arguments.exit_code)
        if read.failed and not read.errors and not context.violations:
            read = dataclasses.replace(read, errors=diagnostics.errors(said))
        return comment.render(read, context)
    except PreviewError as error:
        return comment.broken(str(error), said, context)


if __name__ == "__main__":
    sys.exit(main())
