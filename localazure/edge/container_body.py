"""The body of Docker's "create container" for a module: createOptions as they are, and what edgeAgent adds to them.

Source: Azure/iotedge, `CreateCommand.cs`, `CombinedEdgeletConfigProvider.cs` and `CreateOrUpdateCommand.cs`; learn.microsoft.com,
"How to configure container create options for IoT Edge modules".
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localazure.edge import names
from localazure.edge.deployment import Deployment, Module

WORKLOAD_URI = "unix:///var/run/iotedge/workload.sock"
WORKLOAD_DIRECTORY = "/var/run/iotedge"
API_VERSION = "2020-07-07"


@dataclass(frozen=True)
class Surroundings:
    """What the device gives to each of its modules. `gateway` is the address of the edge hub, `hostname` its name."""

    hub: str
    device_id: str
    hostname: str
    gateway: str
    network: str
    labels: Mapping[str, str]


def fingerprint(module: Module, around: Surroundings, generation: str) -> str:
    """Of all that the container is made from: with another one it has to be made again."""
    parts = [module.fingerprint, around.hub, around.hostname, around.gateway, around.network, generation]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def body(
    module: Module, deployment: Deployment, around: Surroundings, generation: str, workload: Path
) -> dict[str, Any]:
    """ContainerConfig of the Docker Engine API. `workload` is the directory of the module's own workload socket on this host."""
    config = copy.deepcopy(module.create_options)
    host = _object(config, "HostConfig")
    config["Image"] = with_tag(module.image)
    config["Env"] = _env(config.get("Env"), {**module.env, **_edge_env(module, around, generation)})
    config["Labels"] = {
        **(config.get("Labels") or {}),
        **around.labels,
        names.MODULE_LABEL: module.name,
        names.FINGERPRINT_LABEL: fingerprint(module, around, generation),
    }
    # The directory, not the socket: a bind mount of the file would keep a dead inode when the socket is made again.
    host["Binds"] = [*(host.get("Binds") or []), f"{workload}:{WORKLOAD_DIRECTORY}"]
    if not (host.get("LogConfig") or {}).get("Type"):
        host["LogConfig"] = deployment.logging or {"Type": "json-file"}
    if (config.get("NetworkingConfig") or {}).get("EndpointsConfig") is None:
        # A module with a network of its own is left alone, and then cannot resolve the gateway's name: as on a real device.
        config["NetworkingConfig"] = {"EndpointsConfig": {around.network: {"Aliases": [module.name]}}}
        host.setdefault("NetworkMode", around.network)
        host["ExtraHosts"] = [*(host.get("ExtraHosts") or []), f"{around.hostname}:{around.gateway}"]
    return config


def with_tag(image: str) -> str:
    """`:latest` where neither tag nor digest is given, as edgeAgent's DockerConfig does."""
    name = image.rpartition("/")[2]
    return image if "@" in name or ":" in name else f"{image}:latest"


def _edge_env(module: Module, around: Surroundings, generation: str) -> dict[str, str]:
    return {
        "IOTEDGE_WORKLOADURI": WORKLOAD_URI,
        "IOTEDGE_MODULEID": module.name,
        "IOTEDGE_MODULEGENERATIONID": generation,
        "IOTEDGE_DEVICEID": around.device_id,
        "IOTEDGE_IOTHUBHOSTNAME": around.hub,
        "IOTEDGE_GATEWAYHOSTNAME": around.hostname,
        "IOTEDGE_APIVERSION": API_VERSION,
        "IOTEDGE_AUTHSCHEME": "sasToken",
    }


def _env(given: Any, added: Mapping[str, str]) -> list[str]:
    kept = [entry for entry in given or [] if str(entry).partition("=")[0] not in added]
    return [*kept, *(f"{name}={value}" for name, value in added.items())]


def _object(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if not isinstance(value, dict):
        value = config[key] = {}
    return value
