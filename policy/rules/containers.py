"""What containers may ask of the host: createOptions of the Docker Engine API, "ContainerCreate"."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy.subject import Settings, Subject

_HOST_MODES = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode")


def confined(subject: Subject, settings: Settings) -> Iterator[str]:
    """Modules named under `exempt` with a reason may have it."""
    exempt = settings.get("exempt") or {}
    for module, options in _create_options(subject):
        if str(exempt.get(module, "")).strip():
            continue
        for what in _demands(_parsed(options)):
            yield f"the module {module!r} asks for {what}"


def _create_options(subject: Subject) -> Iterator[tuple[str, Any]]:
    """(module, its createOptions) wherever a deployment has them: the modules, the runtime, a raw manifest."""
    deployment = subject.props.get("deployment")
    if isinstance(deployment, Mapping):
        name = deployment.get("module")
        yield from _found(deployment, name if isinstance(name, str) else "scorer")


def _found(value: Any, module: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _found(item, module)
    if not isinstance(value, Mapping):
        return
    if "createOptions" in value:
        yield module, _joined(value)
    for key, item in value.items():
        if key != "env" and not key.startswith("createOptions"):
            yield from _found(item, module if key == "settings" else key)


def _joined(settings: Mapping[str, Any]) -> Any:
    """Manifests cut the text of long createOptions: createOptions, createOptions01, createOptions02, ..."""
    chunks = [item for key, item in sorted(settings.items()) if re.fullmatch(r"createOptions\d\d", key)]
    whole = [settings["createOptions"], *chunks]
    return "".join(whole) if chunks and all(isinstance(part, str) for part in whole) else whole[0]


def _parsed(options: Any) -> Mapping[str, Any]:
    """Manifests hold createOptions as JSON text."""
    if isinstance(options, str):
        try:
            options = json.loads(options)
        except json.JSONDecodeError:
            return {}
    return options if isinstance(options, Mapping) else {}


def _demands(options: Mapping[str, Any]) -> Iterator[str]:
    host = options.get("HostConfig")
    if not isinstance(host, Mapping):
        return
    if host.get("Privileged") is True:
        yield "privileged mode"
    yield from (f"the host's {mode.removesuffix('Mode').lower()}" for mode in _HOST_MODES if host.get(mode) == "host")
    yield from (f"the host's folder {folder}" for folder in _binds(host))
    yield from (key for key in ("CapAdd", "Devices", "DeviceCgroupRules", "DeviceRequests") if _list(host.get(key)))
    for option in _list(host.get("SecurityOpt")):
        if isinstance(option, str) and "unconfined" in option:
            yield f"the security option {option}"


def _binds(host: Mapping[str, Any]) -> Iterator[str]:
    """A named volume is Docker's own and stays allowed."""
    for bind in _list(host.get("Binds")):
        if isinstance(bind, str) and _is_path(bind):
            yield bind[: bind.find(":", 2)] if ":" in bind[2:] else bind
    for mount in _list(host.get("Mounts")):
        if isinstance(mount, Mapping) and mount.get("Type") == "bind":
            yield str(mount.get("Source"))


def _is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~", "\\")) or source[1:2] == ":"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
