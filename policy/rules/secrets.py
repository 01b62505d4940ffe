"""What looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

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


def in_plain(subject: Subject, settings: Settings) -> Iterator[str]:
    """Texts under a telling name, and texts that tell themselves. What is in them is never repeated."""
    allowed = set(settings.get("allow") or [])
    for path, value in leaves(subject.props):
        where = ".".join(path)
        if not isinstance(value, str) or not value or where in allowed or (path and path[-1] in allowed):
            continue
        name = path[-1] if path else ""
        if (_NAME.search(name) and not _NAMES_ONLY.search(name)) or _VALUE.search(value):
            yield f"{where} holds what looks like a secret, in plain text"
