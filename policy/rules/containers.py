"""What containers may ask of the host: createOptions of the Docker Engine API, "ContainerCreate"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policy.rules import modules
from policy.subject import Settings, Subject

_HOST_MODES = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode")
_LISTS = ("CapAdd", "Devices", "DeviceCgroupRules", "DeviceRequests", "VolumesFrom")


def confined(subject: Subject, settings: Settings) -> Iterator[str]:
    """Modules named under `exempt` with a reason may have it."""
    exempt = settings.get("exempt") or {}
    for _, module, given in modules.settings(subject):
        if str(exempt.get(module, "")).strip():
            continue
        for what in _demands(modules.parsed(modules.create_options(given))):
            yield f"the module {module!r} asks for {what}"


def _demands(options: Mapping[str, Any]) -> Iterator[str]:
    """`options` with its keys in lower case."""
    if "host" in _mapping(_mapping(options.get("networkingconfig")).get("endpointsconfig")):
        yield "the endpoint of the host's network"
    host = _mapping(options.get("hostconfig"))
    if host.get("privileged") is True:
        yield "privileged mode"
    modes = ((mode, host.get(mode.lower())) for mode in _HOST_MODES)
    yield from (f"the host's {mode.removesuffix('Mode').lower()}" for mode, value in modes if value == "host")
    yield from (f"the host's folder {folder}" for folder in _binds(host))
    yield from (key for key in _LISTS if _list(host.get(key.lower())))
    for option in _list(host.get("securityopt")):
        if isinstance(option, str) and "unconfined" in option:
            yield f"the security option {option}"


def _binds(host: Mapping[str, Any]) -> Iterator[str]:
    """A named volume is Docker's own and stays allowed, unless it is one that stands for a folder of the host."""
    for bind in _list(host.get("binds")):
        if isinstance(bind, str) and _is_path(bind):
            yield bind[: bind.find(":", 2)] if ":" in bind[2:] else bind
    for mount in map(_mapping, _list(host.get("mounts"))):
        if mount.get("type") == "bind":
            yield str(mount.get("source"))
        driver = _mapping(_mapping(mount.get("volumeoptions")).get("driverconfig"))
        device = _mapping(driver.get("options")).get("device")
        if isinstance(device, str) and _is_path(device):
            yield device


def _is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~", "\\")) or source[1:2] == ":"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
