"""`python -m components.edge validate FILE`: the check that a deployment passes before it is sent, for any manifest file.

Bare, `{"modulesContent": ...}` or `{"content": {"modulesContent": ...}}`, complete or layered. Exit code 0: valid; 1: the violations
on standard output, one a line; 2: the file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from components.edge.limits import MODULES_MAX
from components.edge.validate import validate

_LARGEST_BYTES = 8_000_000
"""Of the file, with room for blanks: 50 modules, the agent and the hub have a twin of 32 KB each."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m components.edge", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("validate", help="check a deployment manifest")
    check.add_argument("file", type=Path, help="a manifest in JSON; - for standard input")
    file = parser.parse_args(arguments).file
    try:
        if str(file) != "-" and file.stat().st_size > _LARGEST_BYTES:
            raise OSError(
                f"it is larger than {_LARGEST_BYTES} bytes, which no manifest of {MODULES_MAX} modules can be"
            )
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
        document = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        print(f"error: cannot read {file}: {error}", file=sys.stderr)
        return 2
    except (ValueError, RecursionError) as error:
        print(f"error: {file} is not JSON: {error}", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name may hold half a character
    violations = validate(document)
    for violation in violations:
        print(violation)
    if violations:
        print(f"{file}: {len(violations)} violation{'s' if len(violations) > 1 else ''}", file=sys.stderr)
        return 1
    print(f"{file} is valid", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
