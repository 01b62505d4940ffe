"""The device's config.toml: the part of IoT Edge's own format that a manually provisioned SAS device needs.

Source of the keys: `iotedge config` of IoT Edge 1.2+ (template.toml in Azure/iotedge, aziotctl-common's test files in
Azure/iot-identity-service). The table `[localazure]` is ours and absent on a real device.
"""

from __future__ import annotations

import base64
import binascii
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DEFAULT_NETWORK = "azure-iot-edge"


class ConfigError(Exception):
    """config.toml cannot be used; the message names the key and what it should hold."""


@dataclass(frozen=True)
class DeviceConfig:
    """One device. `iothub_hostname` may carry a port; `hostname` is what modules see as IOTEDGE_GATEWAYHOSTNAME."""

    iothub_hostname: str
    device_id: str
    key: str | Path = field(repr=False)
    """Base64 text, or the file that holds the key's raw bytes."""

    hostname: str
    folder: Path
    ca: Path
    network: str
    gateway: str
    """Address of the device's Docker network on the host: the edge hub listens there."""
    certificate: Path
    certificate_key: Path
    agent_env: dict[str, str] = field(default_factory=dict)

    @property
    def primary_key(self) -> str:
        """Base64. A key file is read each time, as aziot-keyd does: a new key counts without a restart. Raises OSError."""
        return base64.b64encode(self.key.read_bytes()).decode() if isinstance(self.key, Path) else self.key

    @property
    def hub_address(self) -> str:
        """The host part of the hub's name: azure-iot-device always connects to port 8883 of it."""
        return self.iothub_hostname.rsplit(":", 1)[0]


def load(path: Path) -> DeviceConfig:
    """Raises ConfigError with the key that is missing or wrong."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"reading the device's configuration {path}: {error}") from error
    provisioning = _table(document, "provisioning", path)
    if provisioning.get("source") != "manual":
        raise ConfigError(f'{path}: provisioning.source must be "manual", not {provisioning.get("source")!r}')
    authentication = _table(provisioning, "authentication", path)
    if authentication.get("method") != "sas":
        raise ConfigError(
            f'{path}: provisioning.authentication.method must be "sas", not {authentication.get("method")!r}'
        )
    local = _table(document, "localazure", path)
    device_id = _text(provisioning, "device_id", path)
    certificates = _table(document, "edge_ca", path)
    return DeviceConfig(
        iothub_hostname=_text(provisioning, "iothub_hostname", path),
        device_id=device_id,
        key=_key(authentication.get("device_id_pk"), path),
        hostname=str(document.get("hostname") or device_id).lower(),
        folder=path.absolute().parent,
        ca=_file(_text(document, "trust_bundle_cert", path), path),
        network=str(local.get("network") or DEFAULT_NETWORK),
        gateway=_text(local, "gateway", path),
        certificate=_file(_text(certificates, "cert", path), path),
        certificate_key=_file(_text(certificates, "pk", path), path),
        agent_env={name: str(value) for name, value in document.get("agent", {}).get("env", {}).items()},
    )


def _table(parent: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: the table [{name}] is missing")
    return value


def _text(parent: dict[str, Any], name: str, path: Path) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{path}: {name} must be a text that is not empty, not {value!r}")
    return value


def _file(uri: str, path: Path) -> Path:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        raise ConfigError(f"{path}: {uri!r} must be a file URI such as file:///var/secrets/name.pem")
    return Path(unquote(parts.path))


def _key(given: Any, path: Path) -> str | Path:
    """Base64 text from `{ value = "..." }`, or the file of `{ uri = "file:///..." }`, which must be readable."""
    if isinstance(given, dict) and isinstance(given.get("value"), str):
        text = given["value"]
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"{path}: device_id_pk.value is not base64") from error
        return text
    if isinstance(given, dict) and isinstance(given.get("uri"), str):
        file = _file(given["uri"], path)
        try:
            file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: device_id_pk.uri: {error}") from error
        return file
    raise ConfigError(f'{path}: device_id_pk must be {{ value = "<base64>" }} or {{ uri = "file:///..." }}')
