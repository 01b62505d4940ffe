"""How a value of a preview is shown: short, without secrets, and `?` where only the update will tell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

SECRET = "[secret]"  # noqa: S105 - what Pulumi itself writes in the place of one
UNKNOWN = "(known after the update)"
# Placeholders of unknown values on the wire; sdk/python/lib/pulumi/runtime/rpc.py.
UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
_SIGNATURE = "4dabf18193072939515e22adb298388d"  # the key that marks secrets, assets and references in Pulumi's JSON
_TELLING_NAMES = re.compile(
    r"(password|passwd|secret|token|credential|connectionstring|privatekey|accesskey|accountkey|primarykey|secondarykey|"
    r"apikey|sharedaccess|configtoml|cloudinit|registries$|^sas$|^key$)",
    re.IGNORECASE,
)
_HARMLESS = frozenset({SECRET, UNKNOWN, "", "true", "false"})
_IN_TEXT = (
    re.compile(r"(?i)((?:SharedAccess|Account|Access|Primary|Secondary|Api)_?-?Key(?:Value)?\s*[=:]\s*\"?)[^\s;\"',]+"),
    re.compile(r"(?i)((?:password|passwd|secret|token|sig)[\"']?\s*[=:]\s*[\"']?)[^\s;&\"',\[(]+"),
    re.compile(r"(?i)(\bBearer\s+)[\w.~+/-]+=*"),
    re.compile(r"(?i)(://[^\s/:@]+:)[^\s/@]+(?=@)"),
)
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_HASH = re.compile(r"[0-9a-f]{32,64}")
_LONGEST = 200


def clean(value: Any, name: str = "", secret_names: frozenset[str] = frozenset()) -> Any:
    """The value without `__` keys, secrets and placeholders; `secret_names` are top-level names that are secret whatever they hold."""
    if isinstance(value, Mapping):
        if _SIGNATURE in value or name in secret_names:
            return SECRET
        return {  # a variable is {NAME: {value: ..}} in a manifest: its name is what tells
            key: clean(item, name if key == "value" else key, secret_names)
            for key, item in sorted(value.items())
            if not str(key).startswith("__")
        }
    if isinstance(value, str) and value in UNKNOWNS:
        return UNKNOWN
    if name in secret_names or (_is_telling(name) and not _harmless(value)):
        return SECRET
    if isinstance(value, list):
        return [clean(item, name, secret_names) for item in value]
    return scrub(value) if isinstance(value, str) else value


def show(value: Any) -> str:
    """One line, at most 200 characters; digests and hashes by their first twelve."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    if _HASH.fullmatch(text):
        text = text[:12]
    text = _DIGEST.sub(lambda match: match[0][:12] + "…", text)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def scrub(text: str) -> str:
    """Free text (messages of errors, values) without what looks like the value of a key, password or signature."""
    for pattern in _IN_TEXT:
        text = pattern.sub(rf"\g<1>{SECRET}", text)
    return text


def _is_telling(name: str) -> bool:
    return bool(_TELLING_NAMES.search(name))


def _harmless(value: Any) -> bool:
    """Switches, counts, and what says itself that it is no value."""
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and value in _HARMLESS)
