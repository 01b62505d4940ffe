"""What looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from policy.rules import modules
from policy.subject import Settings, Subject, leaves

_NAME = re.compile(
    r"(password|passwd|secret|connection_?string|private_?key|access_?key|account_?key|primary_?key|secondary_?key|api_?key|"
    r"shared_?access|credential|(^|_)token$|[a-z]Token$)",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"(SharedAccessKey=|AccountKey=|SharedAccessSignature=|[?&]sig=|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@]+:[^/\s@]+@)",
    re.IGNORECASE,
)
_NAMES_ONLY = re.compile(r"(name|id|uri|url|version|type|algorithm|enabled|allowed|outputs?)$", re.IGNORECASE)
"""`secretName`, `passwordEnabled`: about a secret, not one."""


_VARIABLE = re.compile(r"(?P<name>\w+)=.+", re.DOTALL)
"""Of the list `Env` in createOptions."""


def in_plain(subject: Subject, settings: Settings) -> Iterator[str]:
    """Texts under a telling name, and texts that tell themselves. What is in them is never repeated."""
    allowed = set(settings.get("allow") or [])
    for path, value in _texts(subject):
        where = ".".join(path)
        if not value or where in allowed or (path and path[-1] in allowed):
            continue
        name = _name(path, value)
        if (_NAME.search(name) and not _NAMES_ONLY.search(name)) or _VALUE.search(value):
            yield f"{where} holds what looks like a secret, in plain text"


def _texts(subject: Subject) -> Iterator[tuple[tuple[str, ...], str]]:
    """Those inside createOptions that are JSON text included."""
    found = leaves(subject.props)
    for at, _, given in modules.settings(subject):
        if isinstance(options := modules.create_options(given), str):
            found = chain(found, leaves(modules.parsed(options), (*at.split("."), "createOptions")))
    yield from ((path, value) for path, value in found if isinstance(value, str))


def _name(path: tuple[str, ...], value: str) -> str:
    """What the text is called: a variable is `{NAME: {value: ..}}` in a manifest and `NAME=..` in a list of createOptions."""
    if path and path[-1].lower() == "env" and (variable := _VARIABLE.fullmatch(value)):
        return variable["name"]
    named = path[:-1] if len(path) > 1 and path[-1].lower() == "value" else path
    return named[-1] if named else ""
