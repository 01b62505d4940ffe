"""The preparation of a Linux machine (amd64, arm64) as an IoT Edge device: user data for cloud-init that installs the runtime and
applies the device's configuration. Untested on real machines: nothing here was ever run but by cloud-init's schema check.

Steps and package names: "Create and provision an IoT Edge device on Linux using symmetric keys" and "Prepare to deploy your IoT Edge
solution in production" (log driver). The key lies in a file of its own, raw bytes, readable by the key service's user only
(MicrosoftDocs/azure-docs#98739, Azure/iotedge#4853): a rotated key is a new file, and config.toml stays as it is.
"""

from __future__ import annotations

import json
import re

import yaml

from components.edge import config_toml

CONFIG_PATH = "/etc/aziot/config.toml"
KEY_PATH = "/var/secrets/aziot/device-id.key"
_AGENT_IMAGE = "mcr.microsoft.com/azureiotedge-agent"

# The packages of Microsoft's repository for this distribution; the version's dot is followed by what apt may choose: 1.6 -> 1.6.*
_INSTALL = """\
set -eu
export DEBIAN_FRONTEND=noninteractive
. /etc/os-release
case "$(dpkg --print-architecture)" in amd64|arm64) ;; *) echo "IoT Edge has no packages for this architecture" >&2; exit 1 ;; esac
prod="https://packages.microsoft.com/config/$ID/$VERSION_ID/packages-microsoft-prod.deb"
curl --fail --silent --show-error --location --retry 5 --output /tmp/packages-microsoft-prod.deb "$prod"
dpkg --install /tmp/packages-microsoft-prod.deb
apt-get update
apt-get install --yes moby-engine
apt-get install --yes "aziot-edge={version}" "aziot-identity-service={release}"
chown -R aziotks:aziotks {folder}
chmod 700 {folder}
chmod 600 {key}
iotedge config apply
"""


def config_for(host_name: str, device_id: str, runtime_version: str) -> str:
    """The device's config.toml. It names the file of the key and holds no secret."""
    return config_toml.render(
        host_name, device_id, key_uri=f"file://{KEY_PATH}", agent_image=f"{_AGENT_IMAGE}:{runtime_version}"
    )


def render(connection_string: str, runtime_version: str) -> str:
    """User data for the machine's first start. `runtime_version` is a release (1.6) or one version of it (1.6.1).

    The result holds the device's key: a secret. Raises ConfigError for what is no connection string.
    """
    host_name, device_id, key = config_toml.parse_connection_string(connection_string)
    release = ".".join(runtime_version.split(".")[:2])
    exact = re.fullmatch(r"\d+\.\d+\.\d+", runtime_version)
    install = _INSTALL.format(
        version=f"{runtime_version}-*" if exact else f"{release}.*",
        release=f"{release}.*",
        folder=KEY_PATH.rpartition("/")[0],
        key=KEY_PATH,
    )
    content = {
        "package_update": True,
        "packages": ["ca-certificates", "curl"],
        "write_files": [
            {"path": KEY_PATH, "encoding": "b64", "content": key, "owner": "root:root", "permissions": "0600"},
            {
                "path": CONFIG_PATH,
                "content": config_for(host_name, device_id, runtime_version),
                "owner": "root:root",
                "permissions": "0600",
            },
            {"path": "/etc/docker/daemon.json", "content": json.dumps({"log-driver": "local"}), "permissions": "0644"},
        ],
        "runcmd": [["sh", "-c", install]],
    }
    return "#cloud-config\n" + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block, so that people can read it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
