"""A module's createOptions: the object that a user writes, the hardening it starts from, the chunked JSON string that a twin holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from components.edge.limits import CHUNK_CHARACTERS, CHUNKS_MAX

APP_ROOT = "/var/azureml-app"
"""Azure ML's convention for what an image scores with."""

PACKAGE_SOURCE = "app"
"""The source directory of `Model.package`, which azureml-core keeps as a folder below the root: its script, its edge_runtime."""

HARDENED: Mapping[str, Any] = {
    # The supervisor reaches an image of Azure ML as a dependency file, so that only the deployment can make it the entry point.
    "Entrypoint": ["python", f"{APP_ROOT}/edge_runtime"],
    "User": "10001:10001",
    "Env": ["HOME=/tmp"],  # gunicorn and libraries write below HOME, and only /tmp can be written
    "HostConfig": {
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev"},  # noqa: S108 - the container's own
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
    },
}
"""What the scoring module runs with unless the user says otherwise. No restart policy: edgeAgent restarts modules itself and a
second authority would hide crashes from it."""

_KEY = re.compile(r"createOptions(?P<number>\d{2})?", re.IGNORECASE)


class CreateOptionsError(ValueError):
    """The createOptions cannot be rendered or read; the message names the reason, never their content."""


def hardened(users: Mapping[str, Any]) -> dict[str, Any]:
    """The hardening with the user's options merged over it, at any depth; the user wins and `null` removes a key.

    `Env` is merged by the variables' names; other lists are replaced as a whole.
    """
    merged = _merge(HARDENED, users)
    own_env, users_env = HARDENED["Env"], users.get("Env")
    if isinstance(users_env, list):
        set_by_user = {str(entry).partition("=")[0] for entry in users_env}
        merged["Env"] = [entry for entry in own_env if entry.partition("=")[0] not in set_by_user] + users_env
    return merged


def render(options: Mapping[str, Any]) -> dict[str, str]:
    """`createOptions`, `createOptions01`, ...: compact JSON with sorted keys in pieces of at most 512 ASCII characters.

    The hub accepts longer values today; 512 is what edgeAgent itself reports in and what every tool reads
    (Azure/iotedge, `Constants.TwinValueMaxSize`, `TwinValueMaxChunks`).

    Raises:
        CreateOptionsError: the options are no JSON object or need more than 100 pieces.
    """
    try:
        text = json.dumps(options, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        # not "from": the cause's text quotes the value, which may be a secret in Env
        raise CreateOptionsError("the createOptions cannot be written as JSON; use only JSON values") from None
    pieces = [text[start : start + CHUNK_CHARACTERS] for start in range(0, len(text), CHUNK_CHARACTERS)]
    if len(pieces) > CHUNKS_MAX:
        raise CreateOptionsError(
            f"the createOptions are {len(text)} characters of JSON; edgeAgent reads {CHUNKS_MAX} pieces of "
            f"{CHUNK_CHARACTERS}: shorten them"
        )
    return {f"createOptions{index:02d}" if index else "createOptions": piece for index, piece in enumerate(pieces)}


def keys(settings: Mapping[str, Any]) -> list[str]:
    """The keys of a module's `settings` that hold createOptions, as written (edgeAgent reads them in any case), in their order."""
    found = [(int(match["number"] or 0), key) for key in settings if (match := _KEY.fullmatch(str(key)))]
    return [key for _, key in sorted(found)]


def parse(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The object that the pieces in a module's `settings` hold; none or an empty string is no options.

    Raises:
        CreateOptionsError: a piece is missing, not a string, doubled, or the whole is not a JSON object.
    """
    names = keys(settings)
    numbers = [int(name[len("createOptions") :] or 0) for name in names]
    if numbers != list(range(len(numbers))):
        raise CreateOptionsError(
            "the pieces must be createOptions, createOptions01, createOptions02, ... without a gap"
        )
    pieces = [settings[name] for name in names]
    if not all(isinstance(piece, str) for piece in pieces):
        raise CreateOptionsError("every piece must be a string of JSON, not an object")
    text = "".join(pieces)
    if not text:
        return {}
    try:
        options = json.loads(text)
    except ValueError as error:
        place = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise CreateOptionsError(f"the joined pieces are not JSON{place}") from None
    if not isinstance(options, dict):
        raise CreateOptionsError("the joined pieces must be a JSON object")
    return options


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = base.get(key)
            merged[key] = _merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
