"""What edgeHub asks to learn whom it may let in: itself, its modules, its leaf devices and theirs.

Paths and shapes are those of edgeHub's DeviceScopeApiClient (Azure/iotedge, edge-hub/core, CloudProxy); the caller is `$edgeHub` itself.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from localazure.hub.access import Caller
from localazure.hub.errors import invalid, unauthorized
from localazure.hub.hub import Hub
from localazure.hub.identities import Key

_MAX_PAGE = 1000

Json = dict[str, Any]


def page(hub: Hub, caller: Caller, device_id: str, module_id: str, size: Any, continuation: Any) -> Json:
    """`{devices, modules, continuationLink}`: up to `size` devices with all their modules; the link is '' after the last page."""
    _own(caller, device_id, module_id)
    if not isinstance(size, int) or not 0 < size <= _MAX_PAGE:
        raise invalid(f"the page size is not in 1..{_MAX_PAGE}")
    start = _offset(continuation)
    devices = _devices(hub, device_id)
    chosen = devices[start : start + size]
    modules = [module for device in chosen for module in hub.modules(device["deviceId"])]
    more = start + size < len(devices)
    return {
        "devices": [_device(device) for device in chosen],
        "modules": [_module(module) for module in modules],
        "continuationLink": _link(device_id, size, start + size) if more else "",
    }


def one(hub: Hub, caller: Caller, device_id: str, module_id: str, target: Key) -> Json:
    """The same shape with one identity; both lists empty when it is not in scope."""
    _own(caller, device_id, module_id)
    device = next((found for found in _devices(hub, device_id) if found["deviceId"] == target.device_id), None)
    modules = (
        [] if device is None else [one for one in hub.modules(target.device_id) if one["moduleId"] == target.module_id]
    )
    devices = [] if device is None or (target.module_id and not modules) else [_device(device)]
    return {"devices": devices, "modules": [_module(module) for module in modules], "continuationLink": ""}


def _own(caller: Caller, device_id: str, module_id: str) -> None:
    if module_id != "$edgeHub" or caller.key != Key(device_id, "$edgeHub"):
        raise unauthorized()


def _devices(hub: Hub, device_id: str) -> list[Json]:
    edge = hub.identities.get(Key(device_id))
    return [edge, *hub.identities.children(edge["deviceScope"])] if edge["capabilities"]["iotEdge"] else [edge]


def _link(device_id: str, size: int, start: int) -> str:
    path = f"/devices/{quote(device_id, safe='')}/modules/%24edgeHub/devicesAndModulesInDeviceScope"
    return f"{path}?deviceCount={size}&continuationToken={start}&api-version=2018-08-30-preview"


def _offset(continuation: Any) -> int:
    """From a link, or from the token in it."""
    text = str(continuation or "0")
    text = parse_qs(urlsplit(text).query).get("continuationToken", [""])[0] if "?" in text else text
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid("the continuation is not one that this hub gave")
    return int(text)


def _device(device: Json) -> Json:
    names = (
        "deviceId",
        "generationId",
        "status",
        "authentication",
        "capabilities",
        "deviceScope",
        "parentScopes",
        "etag",
    )
    return {name: device.get(name) for name in names}


def _module(module: Json) -> Json:
    return {
        name: module.get(name)
        for name in ("deviceId", "moduleId", "managedBy", "generationId", "authentication", "etag")
    }
