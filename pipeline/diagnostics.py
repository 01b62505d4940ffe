"""What the preview's JSON does not hold: violations of the policies, from the text of the same preview.

Pulumi prints them below `Policies:`, a pack's line, then for each violation `- [level]  name  (type: resource)` and its text indented
(github.com/pulumi/pulumi, pkg/backend/display/policy.go and rows.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pipeline.values import scrub

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_VIOLATION = re.compile(r"^\s*-?\s*\[(?P<level>[a-z]+)\]\s+(?P<policy>\S+)(?P<where>(\s+.*)?)$")
_RESOURCE = re.compile(r"\((?P<type>\S+): (?P<name>[^)]*)\)")
_LEVELS = ("mandatory", "advisory", "remediate")


@dataclass(frozen=True)
class Violation:
    policy: str
    level: str
    resource: str
    message: str

    @property
    def stops(self) -> bool:
        return self.level == "mandatory"


@dataclass
class _Draft:
    level: str
    policy: str
    resource: str
    indent: int
    lines: list[str] = field(default_factory=list)


def violations(text: str) -> list[Violation]:
    """Every violation once, those that stop the update first, then by policy and resource."""
    found: list[_Draft] = []
    current: _Draft | None = None
    for raw in _ANSI.sub("", text).splitlines():
        match = _VIOLATION.match(raw)
        indent = len(raw) - len(raw.lstrip())
        if match and match["level"] in _LEVELS:
            resource = _RESOURCE.search(match["where"])
            current = _Draft(match["level"], match["policy"], resource["name"] if resource else "the stack", indent)
            found.append(current)
        elif current and raw.strip() and indent > current.indent:
            current.lines.append(raw.strip())
        elif raw.strip():
            current = None
    made = {Violation(one.policy, one.level, one.resource, scrub("\n".join(one.lines))) for one in found}
    return sorted(made, key=lambda one: (not one.stops, one.policy, one.resource, one.message))


def errors(text: str) -> tuple[str, ...]:
    """The lines of the text output that begin with `error:`, each once."""
    lines = [line.strip() for line in _ANSI.sub("", text).splitlines()]
    return tuple(dict.fromkeys(line for line in lines if line.startswith("error:")))
