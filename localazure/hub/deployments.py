"""Configuration content for one edge device: its modules' desired properties and the identities of the modules themselves."""

from __future__ import annotations

from typing import Any

from localazure.hub import layers
from localazure.hub.identities import Identities, Key
from localazure.hub.twins import DesiredChange, Twins


def apply(identities: Identities, twins: Twins, device_id: str, content: Any) -> tuple[list[DesiredChange], list[Key]]:
    """Replace what runs on the device.

    `content` is `{"modulesContent": {module: {"properties.desired": {...}}}}`. Returns the changes to push and the modules that are gone.
    Modules that IoT Edge manages and that the content does not name any more are deleted (the integration test of the CLI extension
    expects so). Raises HubError; expects an open transaction.
    """
    device = identities.get(Key(device_id))
    modules = layers.full_content(content)
    if not device["capabilities"]["iotEdge"]:
        raise layers.bad_content(f"{device_id} is not an Azure IoT Edge device")
    present = {module["moduleId"]: module for module in identities.modules(device_id)}
    wanted = {*modules, *layers.listed_modules(modules)}
    gone = [
        Key(device_id, name)
        for name, module in present.items()
        if name not in wanted and (module["managedBy"] or "").lower() == "iotedge"
    ]
    for key in gone:
        identities.remove(key)
    for name in sorted(wanted - set(present)):
        identities.add_module(Key(device_id, name))
    changes = [
        twins.write(Key(device_id, name), None, part["properties.desired"], replace=True)
        for name, part in modules.items()
    ]
    return [change for change in changes if change], gone
