"""config.toml and connection strings, read back by TOML's own reader."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.edge.config_toml import (
    ConfigError,
    DeviceConfig,
    connection_string,
    parse,
    parse_connection_string,
    render,
)

KEY = "c2VjcmV0IGtleSB3aXRoIC8gYW5kICs9PQ=="


def test_the_keys_are_those_of_the_documented_template() -> None:
    text = render("hub.azure-devices.net", "edge-1", key=KEY, agent_image="mcr.microsoft.com/azureiotedge-agent:1.6")
    assert tomllib.loads(text) == {
        "provisioning": {
            "source": "manual",
            "iothub_hostname": "hub.azure-devices.net",
            "device_id": "edge-1",
            "authentication": {"method": "sas", "device_id_pk": {"value": KEY}},
        },
        "agent": {
            "name": "edgeAgent",
            "type": "docker",
            "config": {"image": "mcr.microsoft.com/azureiotedge-agent:1.6"},
        },
    }


def test_a_key_by_address_leaves_no_secret_in_the_file() -> None:
    text = render("h", "d", key_uri="file:///var/secrets/device-id.key")
    assert tomllib.loads(text)["provisioning"]["authentication"]["device_id_pk"] == {
        "uri": "file:///var/secrets/device-id.key"
    }
    assert parse(text) == DeviceConfig("h", "d", key_uri="file:///var/secrets/device-id.key")


@pytest.mark.parametrize("keys", [{}, {"key": KEY, "key_uri": "file:///k"}])
def test_exactly_one_kind_of_key(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="edge-1") as caught:
        render("h", "edge-1", **keys)
    assert KEY not in str(caught.value)


ids = st.text(st.sampled_from("aZ9-:.+%_#*?!(),=@$'"), min_size=1, max_size=128)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(ids)
def test_any_device_id_survives(device_id: str) -> None:
    assert parse(render("127.0.0.5:20500", device_id, key=KEY)) == DeviceConfig("127.0.0.5:20500", device_id, key=KEY)
    assert parse_connection_string(connection_string("h", device_id, KEY)) == ("h", device_id, KEY)


def test_the_short_form_is_read_too() -> None:
    text = f'[provisioning]\nsource = "manual"\nconnection_string = "{connection_string("h", "d", KEY)}"\n'
    assert parse(text) == DeviceConfig("h", "d", key=KEY)


@pytest.mark.parametrize(
    "text",
    [
        "no toml",
        "[provisioning]\nsource = 'manual'\niothub_hostname = 'h'\ndevice_id = 'd'\nauthentication = { method = 'sas' }\n",
        "[provisioning]\nsource = 'manual'\niothub_hostname = 'h'\ndevice_id = 'd'\n"
        f"authentication = {{ method = 'sas', device_id_pk = {{ value = '{KEY}', uri = 'file:///k' }} }}\n",
        "",
        '[provisioning]\nsource = "dps"\n',
        '[provisioning]\nsource = "manual"\niothub_hostname = "h"\ndevice_id = "d"\n',
        f'[provisioning]\nsource = "manual"\ndevice_id = "d"\n[provisioning.authentication]\ndevice_id_pk = {{ value = "{KEY}" }}\n',
        '[provisioning]\nsource = "manual"\nconnection_string = "HostName=h;DeviceId=d"\n',
        f"[provisioning]\nsource = 'manual'\niothub_hostname = 'h'\ndevice_id = 'd'\n"
        f"authentication = {{ method = 'x509', device_id_pk = {{ value = '{KEY}' }} }}\n",
    ],
)
def test_what_is_refused_is_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert KEY not in str(caught.value)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(parse(render("h", "d", key=KEY)))
