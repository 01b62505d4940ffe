from __future__ import annotations

from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin

from components.device import DeviceIdentityProvider
from components.edge.identity_mark import Mark
from components.services.errors import NotFoundError, ServiceError
from tests.components.life import Life
from tests.services.cloud import Cloud

OWNER = "aml-edge/dev"


@pytest.fixture
def life() -> Life:
    return Life(DeviceIdentityProvider())


def wanted(hub_id: str, device_id: str, **more: Any) -> dict[str, Any]:
    inputs = {"hubId": hub_id, "deviceId": device_id, "status": "disabled", "tags": {}, "owner": OWNER}
    return {**inputs, **more}


def test_the_life_of_an_identity(life: Life, hub_id: str, others: IoTHubRegistryManager) -> None:
    tags = {"site": "lab", "floor": 3, "place": {"room": 1.5}}
    assert life.up(wanted(hub_id, "life", tags=tags)) == "create"
    device = others.get_device("life")
    assert (device.status, device.capabilities.iot_edge) == ("disabled", True)
    seen = others.get_twin("life").tags
    assert seen == {**tags, "managedBy": OWNER}
    assert isinstance(seen["floor"], int), "Pulumi's 3.0 is the user's 3"

    key = device.authentication.symmetric_key.primary_key
    host = life.outs["hostName"]
    assert life.outs["connectionString"] == f"HostName={host};DeviceId=life;SharedAccessKey={key}"
    assert life.id == f"{hub_id}/devices/life"
    assert key not in life.id

    assert life.up(wanted(hub_id, "life", tags=tags)) == "same"
    assert life.refresh()
    assert life.up(wanted(hub_id, "life", tags=tags)) == "same", "managedBy is ours and no difference"

    assert life.up(wanted(hub_id, "life", tags={"site": "plant"}, status="enabled")) == "update"
    assert others.get_twin("life").tags == {"site": "plant", "managedBy": OWNER}
    device = others.get_device("life")
    assert device.status == "enabled"
    assert device.authentication.symmetric_key.primary_key == key

    assert life.preview(wanted(hub_id, "other-id")) == "replace"
    kept = (life.id, life.outs)
    life.destroy()
    life.id, life.outs = kept
    life.destroy()
    life.id, life.outs = kept
    assert life.refresh() is False


def test_edits_of_others_are_seen_and_set_right(life: Life, hub_id: str, others: IoTHubRegistryManager) -> None:
    inputs = wanted(hub_id, "edited", tags={"site": "lab", "line": "1"}, status="enabled")
    life.up(inputs)
    device = others.get_device("edited")
    keys = device.authentication.symmetric_key
    others.update_device_with_sas(
        "edited", device.etag, keys.primary_key, keys.secondary_key, "disabled", iot_edge=True
    )
    others.update_twin("edited", Twin(tags={"site": "elsewhere", "line": None, "theirs": "x"}), "*")
    assert life.refresh()
    assert (life.outs["status"], life.outs["tags"]) == ("disabled", {"site": "elsewhere"})
    assert life.up(inputs) == "update"
    assert others.get_device("edited").status == "enabled"
    assert others.get_twin("edited").tags == {
        "site": "lab",
        "line": "1",
        "theirs": "x",
        "managedBy": OWNER,
    }, "tags that we never set are theirs"
    life.destroy()


def test_a_tag_inside_a_tag_is_removed_too(life: Life, hub_id: str, others: IoTHubRegistryManager) -> None:
    life.up(wanted(hub_id, "nested", tags={"place": {"floor": 3, "room": {"name": "a", "door": 1}}, "x": {"y": 1}}))
    inputs = wanted(hub_id, "nested", tags={"place": {"room": {"name": "a"}}, "x": "y"})
    assert life.up(inputs) == "update"
    assert others.get_twin("nested").tags == {**inputs["tags"], "managedBy": OWNER}
    assert life.refresh()
    assert life.up(inputs) == "same"
    life.destroy()


def test_a_rotated_key_is_seen_at_read(life: Life, hub_id: str, others: IoTHubRegistryManager) -> None:
    life.up(wanted(hub_id, "rotated"))
    device = others.get_device("rotated")
    keys = device.authentication.symmetric_key
    others.update_device_with_sas(
        "rotated", device.etag, keys.secondary_key, keys.primary_key, "disabled", iot_edge=True
    )
    assert life.refresh()
    assert keys.secondary_key in life.outs["connectionString"]
    life.destroy()


@pytest.mark.parametrize("step", ["the identity", "the tags"])
def test_what_a_killed_run_made_is_taken_over(
    life: Life, hub_id: str, others: IoTHubRegistryManager, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = wanted(hub_id, "killed", tags={"site": "lab"})
    if step == "the identity":
        others.create_device_with_sas("killed", None, None, "enabled", iot_edge=True, status_reason=str(Mark(OWNER)))
    else:
        Life(DeviceIdentityProvider()).up(inputs)
    key = others.get_device("killed").authentication.symmetric_key.primary_key
    assert life.up(inputs) == "create"
    assert "taking over" in capsys.readouterr().out
    assert key in life.outs["connectionString"]
    assert others.get_device("killed").status == "disabled"
    assert others.get_twin("killed").tags == {"site": "lab", "managedBy": OWNER}
    life.destroy()


@pytest.mark.parametrize(
    ("edge", "reason", "said"),
    [
        (True, None, "an IoT Edge device"),
        (True, "broken, see ticket 7", "broken, see ticket 7"),
        (True, str(Mark("aml-edge/prod")), "aml-edge/prod"),
        (False, str(Mark(OWNER)), "a device without IoT Edge"),
    ],
)
def test_somebody_elses_device_is_refused_and_left_alone(
    life: Life, hub_id: str, others: IoTHubRegistryManager, edge: bool, reason: str | None, said: str
) -> None:
    others.create_device_with_sas("foreign", None, None, "disabled", iot_edge=edge, status_reason=reason)
    before = others.get_device("foreign").etag
    with pytest.raises(ServiceError, match="this stack did not make") as caught:
        life.up(wanted(hub_id, "foreign", status="enabled", tags={"a": "b"}))
    assert said in str(caught.value)
    assert "aml-edge:devices" in caught.value.advice
    assert others.get_device("foreign").etag == before
    assert not others.get_twin("foreign").tags
    others.delete_device("foreign")


def test_an_update_of_what_others_deleted_says_to_refresh(
    life: Life, hub_id: str, others: IoTHubRegistryManager
) -> None:
    life.up(wanted(hub_id, "vanished"))
    others.delete_device("vanished")
    with pytest.raises(NotFoundError, match="pulumi refresh"):
        life.up(wanted(hub_id, "vanished", tags={"a": "b"}))
    assert life.refresh() is False
    assert life.up(wanted(hub_id, "vanished", tags={"a": "b"})) == "create"
    life.destroy()


def test_with_the_hub_the_device_is_gone(azure: Cloud, life: Life) -> None:
    hub = azure.hub("hubtogo")
    life.up(wanted(hub, "inside"))
    kept = (life.id, life.outs)
    azure.delete(hub)
    assert life.refresh() is False
    life.id, life.outs = kept
    life.destroy()


def test_a_renamed_stack_is_no_change(life: Life, hub_id: str) -> None:
    life.up(wanted(hub_id, "renamed"))
    assert life.preview(wanted(hub_id, "renamed", owner="aml-edge/other")) == "same"
    life.destroy()
