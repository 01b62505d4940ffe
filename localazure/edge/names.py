"""What the device's containers and its network are called, and the labels by which they are found again.

Several instances of the local Azure may share one Docker engine, so every name ends with a hash of the device's folder.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

OWNER_LABEL, OWNER = "net.azure-devices.edge.owner", "Microsoft.Azure.Devices.Edge.Agent"
"""The label by which edgeAgent knows its containers (Azure/iotedge, `Constants.cs`)."""
FOLDER_LABEL = "aml-edge.device-folder"
DEVICE_LABEL = "aml-edge.device"
MODULE_LABEL = "aml-edge.module"
FINGERPRINT_LABEL = "aml-edge.fingerprint"
GATEWAY_LABEL = "aml-edge.gateway"


def labels(folder: Path, hub: str, device_id: str) -> dict[str, str]:
    """On everything that belongs to the device."""
    return {OWNER_LABEL: OWNER, FOLDER_LABEL: str(folder), DEVICE_LABEL: f"{hub}/{device_id}"}


def container(folder: Path, device_id: str, module: str) -> str:
    return f"{_plain(device_id)}-{module}-{_suffix(folder)}"


def network(folder: Path, device_id: str) -> str:
    return f"{_plain(device_id)}-{_suffix(folder)}"


def directory(device_id: str) -> str:
    """A file name for any device id: ids may hold almost every sign, be `..` and be 128 characters long."""
    name = quote(device_id, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > 200:
        name = name[:100] + "%" + hashlib.sha256(device_id.encode()).hexdigest()
    return name


def _suffix(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def _plain(device_id: str) -> str:
    """Docker's alphabet for names; the first sign must be a letter or a digit."""
    return re.sub(r"[^a-zA-Z0-9_.-]", "-", device_id).lstrip("-_.")[:60] or "device"
