"""User data for a machine's first start: read back as cloud-init reads it, against cloud-init's own schema. Never run on a machine."""

from __future__ import annotations

import base64
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.edge import cloud_init, config_toml

KEY = base64.b64encode(bytes(range(32))).decode()
DEVICE = "aZ9-:.+%_#*?!(),=@$'"
CONNECTION = config_toml.connection_string("contoso.azure-devices.net", DEVICE, KEY)
SCHEMA = json.loads((Path(__file__).parent / "data" / "cloud-config-schema.json").read_text())

# The keys of the template that IoT Edge installs as /etc/aziot/config.toml.edge.template (Azure/iotedge,
# edgelet/contrib/config/linux/template.toml), of its sections "Manual provisioning with symmetric key" and "Default Edge Agent".
TEMPLATE = """
[provisioning]
source = "manual"
iothub_hostname = "example.azure-devices.net"
device_id = "my-device"
[provisioning.authentication]
method = "sas"
device_id_pk = { uri = "file:///var/secrets/device-id.key" }
[agent]
name = "edgeAgent"
type = "docker"
imagePullPolicy = "on-create"
[agent.config]
image = "mcr.microsoft.com/azureiotedge-agent:1.6"
createOptions = { }
[agent.env]
"""


def rendered(version: str = "1.6") -> dict[str, Any]:
    text = cloud_init.render(CONNECTION, version)
    assert text.startswith("#cloud-config\n"), "cloud-init tells the kind of user data by this line"
    return dict(yaml.safe_load(text))


def files(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {file["path"]: file for file in content["write_files"]}


def script(content: dict[str, Any]) -> str:
    shell, option, text = content["runcmd"][0]
    assert (shell, option) == ("sh", "-c")
    return str(text)


def test_it_is_what_cloud_init_takes() -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(rendered())
    wrong = {**rendered(), "runcmds": [], "write_files": [{"content": "x"}]}
    assert len([*jsonschema.Draft7Validator(SCHEMA).iter_errors(wrong)]) == 2, "the schema would say what is wrong"


def test_the_key_is_in_a_file_of_its_own_as_raw_bytes() -> None:
    made = files(rendered())
    key = made[cloud_init.KEY_PATH]
    assert (key["encoding"], key["permissions"]) == ("b64", "0600")
    assert base64.b64decode(key["content"]) == bytes(range(32))
    assert KEY not in json.dumps({path: file for path, file in made.items() if path != cloud_init.KEY_PATH})
    assert KEY not in script(rendered()), "cloud-init logs its commands"


def test_config_toml_names_the_file_and_nothing_that_the_template_does_not_know() -> None:
    made = files(rendered())["/etc/aziot/config.toml"]
    assert made["permissions"] == "0600"
    document = tomllib.loads(made["content"])
    assert config_toml.parse(made["content"]) == config_toml.DeviceConfig(
        "contoso.azure-devices.net",
        DEVICE,
        key_uri=f"file://{cloud_init.KEY_PATH}",
        agent_image="mcr.microsoft.com/azureiotedge-agent:1.6",
    )
    assert unknown(document, tomllib.loads(TEMPLATE)) == []
    assert unknown({"provisioning": {"sourc": 1}}, tomllib.loads(TEMPLATE)) == ["provisioning.sourc"]


def unknown(document: dict[str, Any], template: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in document.items():
        if key not in template:
            found.append(f"{path}{key}")
        elif isinstance(value, dict):
            found += unknown(value, template[key], f"{path}{key}.")
    return found


@pytest.mark.parametrize(
    ("version", "edge", "identity"),
    [("1.6", "1.6.*", "1.6.*"), ("1.5", "1.5.*", "1.5.*"), ("1.5.21", "1.5.21-*", "1.5.*")],
)
def test_the_runtime_of_the_configured_version(version: str, edge: str, identity: str) -> None:
    content = rendered(version)
    assert f'"aziot-edge={edge}" "aziot-identity-service={identity}"' in script(content)
    assert f"azureiotedge-agent:{version}" in files(content)["/etc/aziot/config.toml"]["content"]


def test_the_script_is_shell_and_stops_at_the_first_failure() -> None:
    text = script(rendered())
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert text.startswith("set -eu\n")
    assert text.endswith("iotedge config apply\n")
