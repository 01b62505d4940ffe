"""`keyGeneration`: the primary key becomes the secondary, nobody loses a session, and no kill or lost answer rotates twice."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient, Message
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin

from components.device import DeviceIdentityProvider
from components.services.errors import ChangedError, ServiceError
from tests.components.life import CheckError, Life, wire
from tests.services.cloud import Cloud
from tests.waiting import until

OWNER = "aml-edge/dev"


@pytest.fixture
def life() -> Iterator[Life]:
    made = Life(DeviceIdentityProvider())
    yield made
    if made.id:
        made.destroy()


@pytest.fixture
def wanted(hub_id: str, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    def make(generation: int = 1, **more: Any) -> dict[str, Any]:
        inputs = {
            "hubId": hub_id,
            "deviceId": re.sub(r"\W", "-", request.node.name[5:60]),
            "status": "enabled",
            "tags": {},
            "owner": OWNER,
        }
        return {**inputs, **({"keyGeneration": generation} if generation > 1 else {}), **more}

    return make


def keys(others: IoTHubRegistryManager, inputs: dict[str, Any]) -> tuple[str, str]:
    found = others.get_device(inputs["deviceId"]).authentication.symmetric_key
    return found.primary_key, found.secondary_key


def test_a_rotation(life: Life, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager) -> None:
    life.up(wanted())
    first, _ = keys(others, wanted())
    assert life.preview(wanted(2)) == "update"
    assert life.up(wanted(2)) == "update"
    second, kept = keys(others, wanted())
    assert kept == first
    assert second != first
    assert life.outs["connectionString"].endswith(f"SharedAccessKey={second}")
    assert life.up(wanted(2)) == "same"
    assert life.refresh()
    assert life.up(wanted(2)) == "same"
    assert life.up(wanted(2, tags={"site": "lab"}, status="disabled")) == "update"
    assert keys(others, wanted()) == (second, first), "no other change rotates"

    assert life.up(wanted(7)) == "update"
    third, kept = keys(others, wanted())
    assert kept == second, "a higher number rotates once"
    assert life.refresh()
    assert life.up(wanted(7)) == "same"
    assert third in life.outs["connectionString"]


def test_a_new_device_may_begin_at_any_generation(
    life: Life, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager
) -> None:
    assert life.up(wanted(4)) == "create"
    before = keys(others, wanted())
    assert life.refresh()
    assert life.up(wanted(4)) == "same"
    assert keys(others, wanted()) == before


def test_generations_do_not_go_back(life: Life, wanted: Callable[..., dict[str, Any]]) -> None:
    life.up(wanted(3))
    for lower in (2, 1):
        with pytest.raises(CheckError) as caught:
            life.up(wanted(lower))
        assert "write 3, or 4 to rotate" in caught.value.problems["deviceId"]


def test_the_hub_may_be_ahead_of_the_settings(
    life: Life, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager
) -> None:
    """Somebody's state that is older than the hub, or another clone's."""
    life.up(wanted(2))
    old_state = dict(life.outs)
    life.up(wanted(3))
    life.outs = old_state
    before = keys(others, wanted())
    with pytest.raises(ServiceError, match="generation 3, later than the 2") as caught:
        life.up(wanted(2, tags={"a": "b"}))
    assert "to 3, or to 4" in caught.value.advice
    assert keys(others, wanted()) == before


@pytest.mark.parametrize("refreshed", [False, True])
def test_a_run_killed_between_the_hub_and_the_state(
    life: Life, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager, refreshed: bool
) -> None:
    life.up(wanted())
    before = wire(life.outs)
    life.provider.update(life.id or "", before, wire(wanted(2)))
    rotated = keys(others, wanted())
    if refreshed:
        assert life.refresh()
    assert life.up(wanted(2)) == ("same" if refreshed else "update")
    assert keys(others, wanted()) == rotated, "it is not rotated a second time"
    assert rotated[0] in life.outs["connectionString"]


def test_a_lost_answer_is_no_second_rotation(
    life: Life, azure: Cloud, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager
) -> None:
    life.up(wanted())
    first, _ = keys(others, wanted())
    azure.azure.command("fault", "add", "--match", "PUT /devices/.*lost.*", "--reset", "after")
    life.up(wanted(2))
    second, kept = keys(others, wanted())
    assert kept == first
    assert second in life.outs["connectionString"]


def test_a_rotation_that_somebody_overtakes(
    life: Life, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.services.hub import Hub

    life.up(wanted())
    real = Hub.replace

    def overtaken(self: Hub, identity: Any, **changes: str) -> Any:
        real(self, identity, status="disabled")
        return real(self, identity, **changes)

    monkeypatch.setattr(Hub, "replace", overtaken)
    before = keys(others, wanted())
    with pytest.raises(ChangedError, match="pulumi refresh"):
        life.up(wanted(2))
    assert keys(others, wanted()) == before


def test_marks_that_others_took_away(
    life: Life, wanted: Callable[..., dict[str, Any]], others: IoTHubRegistryManager
) -> None:
    life.up(wanted(2))
    before = keys(others, wanted())
    device = others.get_device(wanted()["deviceId"])
    others.update_device_with_sas(
        device.device_id, device.etag, *before, "enabled", iot_edge=True, status_reason="broken, see ticket 7"
    )
    assert life.refresh()
    assert life.up(wanted(2)) == "same", "a reason for people is theirs"
    assert life.up(wanted(2, tags={"a": "b"})) == "update"
    assert keys(others, wanted()) == before, "the state remembers the generation"

    others.update_twin(device.device_id, Twin(tags={"managedBy": "me"}), "*")
    assert life.refresh()
    assert life.preview(wanted(2, tags={"a": "b"})) == "update", "the twin is marked again"
    life.up(wanted(2, tags={"a": "b"}))
    assert others.get_twin(device.device_id).tags == {"a": "b", "managedBy": OWNER}

    life.id, life.outs = None, {}
    assert life.up(wanted(2)) == "create", "the tag alone says that it is ours"


def test_state_of_older_versions_needs_no_update(life: Life, wanted: Callable[..., dict[str, Any]]) -> None:
    life.up(wanted())
    for key in ("managedBy", "keyGeneration"):
        life.outs.pop(key, None)
    life.outs["configToml"] = "[provisioning]"
    assert life.up(wanted()) == "same"
    assert life.refresh()
    assert life.up(wanted()) == "same"


class Connected:
    """azure-iot-device as that device."""

    def __init__(self, azure: Cloud, connection_string: str) -> None:
        address, ca = azure.azure.instance.address, azure.azure.instance.ca.read_text()
        self.client: Any = IoTHubDeviceClient.create_from_connection_string(
            f"{connection_string};GatewayHostName={address}", server_verification_cert=ca, connection_retry=False
        )
        self.changes: list[bool] = []
        self.client.on_connection_state_change = lambda: self.changes.append(self.client.connected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.client.connect()


@contextlib.contextmanager
def connected(azure: Cloud, connection_string: str) -> Iterator[Connected]:
    made = Connected(azure, connection_string)
    try:
        yield made
    finally:
        made.client.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_a_connected_device_keeps_its_session(life: Life, azure: Cloud, wanted: Callable[..., dict[str, Any]]) -> None:
    life.up(wanted())
    first = life.outs["connectionString"]
    with connected(azure, first) as device:
        life.up(wanted(2))
        device.client.send_message(Message(json.dumps({"after": "the rotation"})))
        assert device.client.get_twin()["desired"]
        assert False not in device.changes, "the session that stood stands"
        with connected(azure, first) as again:
            assert again.client.connected, "what has only the key before can still connect"
    with connected(azure, life.outs["connectionString"]) as device:
        life.up(wanted(3))
        assert device.client.get_twin()["desired"]
        assert False not in device.changes
        with pytest.raises(CredentialError):
            Connected(azure, first)
        life.up(wanted(4))
        until(lambda: False in device.changes)  # its key is neither the primary nor the secondary any more
