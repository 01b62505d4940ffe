"""What a deployment says of its modules, wherever it says it: our own, those beside it, the runtime's, those of a whole manifest.

edgeAgent and the Docker Engine read the names of settings in any case (Json.NET, Go's encoding/json), so the rules do too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policy.subject import Subject

_NAMED = ("modules", "systemmodules")
"""Below these, keys are the names of modules: one may be called `env`."""
_FREE = ("env", "createoptions", "routes", "desired")
"""Below these, keys are the user's own and mean nothing to edgeAgent."""
_PIECE = re.compile(r"createoptions(\d\d)?", re.IGNORECASE)


def settings(subject: Subject) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(path, module, every object that may hold a module's image or createOptions)."""
    deployment = subject.props.get("deployment")
    name = deployment.get("module") if isinstance(deployment, Mapping) else None
    yield from _walk(deployment, "deployment", name if isinstance(name, str) else "scorer")


def _walk(value: Any, path: str, module: str, named: bool = False) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]", module)
    if not isinstance(value, Mapping):
        return
    if not named:
        yield path, module, value
    for key, item in value.items():
        if named or key.lower() not in _FREE:
            inside = module if key.lower() == "settings" and not named else key
            yield from _walk(item, f"{path}.{key}", inside, not named and key.lower() in _NAMED)


def create_options(given: Mapping[str, Any]) -> Any:
    """As written: an object, or the text that manifests hold, whose pieces are joined; None where there are none."""
    pieces = [item for _, item in sorted((key.lower(), item) for key, item in given.items() if _PIECE.fullmatch(key))]
    if len(pieces) > 1 and all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    return pieces[0] if pieces else None


def parsed(options: Any) -> Mapping[str, Any]:
    """The object with its keys in lower case; what is doubled is one, as in Go. Empty where it is not known or none."""
    if isinstance(options, str):
        try:
            options = json.loads(options, object_pairs_hook=_folded)
        except (ValueError, RecursionError):
            return {}
    found = _lower(options)
    return found if isinstance(found, Mapping) else {}


def _lower(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _folded((key, _lower(item)) for key, item in value.items())
    return [_lower(item) for item in value] if isinstance(value, list) else value


def _folded(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in pairs:
        before = found.get(key.lower())
        both = isinstance(before, dict) and isinstance(item, dict)
        found[key.lower()] = {**before, **item} if both else item  # type: ignore[dict-item]
    return found
