"""What a device needs to become an IoT Edge device: its connection string and `/etc/aziot/config.toml` (manual SAS provisioning).

Keys: the template in Azure/iotedge (`edgelet/contrib/config/linux/template.toml`) and the examples of
Azure/iot-identity-service (`aziotctl/aziotctl-common/test-files/apply`). Both results hold the device's key: secrets.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Any

import tomlkit


class ConfigError(ValueError):
    """The text is not what IoT Edge reads; the message never quotes it, since it holds a key."""


@dataclass(frozen=True)
class DeviceConfig:
    """How a device finds its hub. Exactly one of `key` (base64) and `key_uri` (`file:///...`, mode 600) is set."""

    host_name: str
    device_id: str
    key: str | None = field(default=None, repr=False)
    key_uri: str | None = None
    agent_image: str | None = None


def render(
    host_name: str,
    device_id: str,
    *,
    key: str | None = None,
    key_uri: str | None = None,
    agent_image: str | None = None,
) -> str:
    """The text of config.toml. With `key_uri` it holds no secret; `agent_image` is the first edgeAgent that the device starts
    (its package's own when left out).

    Raises:
        ValueError: not exactly one of key and key_uri.
    """
    if (key is None) == (key_uri is None):
        raise ValueError(
            f"config.toml of device {device_id!r} takes either the key or the address of a file that holds it"
        )
    secret = tomlkit.inline_table()
    secret["value" if key is not None else "uri"] = key or key_uri
    document = tomlkit.document()
    document.add(tomlkit.comment("/etc/aziot/config.toml: mode 600, then `sudo iotedge config apply`."))
    document["provisioning"] = {
        "source": "manual",
        "iothub_hostname": host_name,
        "device_id": device_id,
        "authentication": {"method": "sas", "device_id_pk": secret},
    }
    if agent_image is not None:
        document["agent"] = {"name": "edgeAgent", "type": "docker", "config": {"image": agent_image}}
    return tomlkit.dumps(document)


def parse(text: str) -> DeviceConfig:
    """A manually provisioned config.toml, in the long form or with a `connection_string`.

    Raises:
        ConfigError: not TOML, or not manual SAS provisioning.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise ConfigError("config.toml is not TOML") from None
    provisioning = document.get("provisioning")
    if not isinstance(provisioning, dict) or provisioning.get("source") != "manual":
        raise ConfigError('config.toml lacks [provisioning] with source = "manual"')
    image = _text(document, "agent", "config", "image")
    if isinstance(provisioning.get("connection_string"), str):
        host_name, device_id, key = parse_connection_string(provisioning["connection_string"])
        return DeviceConfig(host_name, device_id, key=key, agent_image=image)
    host = _text(provisioning, "iothub_hostname")
    device = _text(provisioning, "device_id")
    value = _text(provisioning, "authentication", "device_id_pk", "value")
    uri = _text(provisioning, "authentication", "device_id_pk", "uri")
    if (
        not host
        or not device
        or (value is None) == (uri is None)
        or _text(provisioning, "authentication", "method") != "sas"
    ):
        raise ConfigError(
            "config.toml's [provisioning] needs iothub_hostname, device_id and "
            '[provisioning.authentication] with method = "sas" and device_id_pk = { value = ... } or { uri = ... }'
        )
    return DeviceConfig(host, device, key=value, key_uri=uri, agent_image=image)


def connection_string(host_name: str, device_id: str, key: str) -> str:
    """The device's connection string, as the portal shows it."""
    return f"HostName={host_name};DeviceId={device_id};SharedAccessKey={key}"


def parse_connection_string(text: str) -> tuple[str, str, str]:
    """(host name, device id, key) of a device's connection string.

    Raises:
        ConfigError: one of the three is missing.
    """
    # A device id may hold "=", a key ends with it: only the first one separates. It may also hold ";", which no tool escapes.
    parts = dict(part.partition("=")[::2] for part in text.strip().split(";") if part)
    try:
        return parts["HostName"], parts["DeviceId"], parts["SharedAccessKey"]
    except KeyError as missing:
        raise ConfigError(f"the connection string lacks {missing.args[0]}") from None


def _text(document: dict[str, Any], *path: str) -> str | None:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
