"""Deployments against the real simulated device with real containers."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import ConfigurationContent, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from components import deployment
from components.deployment import EdgeDeploymentProvider
from components.edge import manifest
from components.services import azure as arm
from components.services import registry
from components.services.errors import NotFoundError, RolloutError, ServiceError
from components.services.registry import Credentials
from tests.components.life import Life
from tests.components.modules import CREATE_OPTIONS, forget_images, push_module
from tests.services.cloud import Cloud, environment
from tests.waiting import PATIENCE, patiently, until

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def credentials(registry_id: str) -> Credentials:
    return registry.admin_credentials(registry_id)


@pytest.fixture(scope="module")
def image(credentials: Credentials) -> Iterator[str]:
    yield push_module(credentials, "module")
    forget_images(credentials.login_server)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules end as fast as the machine lets them."""
    monkeypatch.setattr(deployment, "_BASE_SECONDS", PATIENCE)


@pytest.fixture
def life() -> Life:
    return Life(EdgeDeploymentProvider())


@pytest.fixture
def device_id(others: IoTHubRegistryManager, request: pytest.FixtureRequest) -> Iterator[str]:
    """Its simulated machine starts with it; `offline` devices are disabled, so theirs cannot connect."""
    name = re.sub(r"\W", "-", request.node.name.removeprefix("test_"))[:40]
    status = "disabled" if "offline" in name else "enabled"
    others.create_device_with_sas(name, None, None, status, iot_edge=True)
    yield name
    with contextlib.suppress(HttpOperationError):  # the test has deleted it
        others.delete_device(name)


@pytest.fixture
def wanted(hub_id: str, device_id: str, credentials: Credentials, image: str) -> Callable[..., dict[str, Any]]:
    def make(seconds: float = PATIENCE, password: str = credentials.password, **more: Any) -> dict[str, Any]:
        given = {"module": "scorer", "image": image, "createOptions": CREATE_OPTIONS, **more}
        login = {"address": credentials.login_server, "username": credentials.username, "password": password}
        return {
            "hubId": hub_id,
            "deviceId": device_id,
            "deployment": given,
            "registries": [login],
            "verify": {"enabled": True, "timeoutSeconds": seconds},
            "onFailure": "keep",
        }

    return make


def modules(others: IoTHubRegistryManager, device_id: str) -> dict[str, Any]:
    desired = others.get_module_twin(device_id, "$edgeAgent").properties.desired
    return dict(desired.get("modules") or {})


def test_the_life_of_a_deployment(
    life: Life,
    wanted: Callable[..., dict[str, Any]],
    device_id: str,
    others: IoTHubRegistryManager,
    others_deployments: IoTHubConfigurationManager,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = wanted(env={"LEVEL": 2})
    assert life.up(inputs) == "create"
    assert life.outs["health"] == "healthy"
    assert life.outs["version"] == others.get_module_twin(device_id, "$edgeAgent").properties.desired["$version"]
    assert modules(others, device_id)["scorer"]["env"] == {"LEVEL": {"value": 2}}
    said = capsys.readouterr().out
    assert f"deployment {device_id}: applied version" in said
    assert f"deployment {device_id}: healthy" in said
    assert life.up(inputs) == "same"
    assert life.refresh()
    assert life.up(inputs) == "same", "what the hub stores is what was sent"

    foreign = manifest.base_manifest()["modulesContent"]
    others_deployments.apply_configuration_on_edge_device(device_id, ConfigurationContent(modules_content=foreign))
    assert life.refresh(), "there is a deployment, only not ours"
    assert life.up(inputs) == "update"
    assert list(modules(others, device_id)) == ["scorer"]
    assert life.up(inputs) == "same"

    twin = Twin(properties=TwinProperties(desired={"runtime": {"settings": {"registryCredentials": None}}}))
    others.update_module_twin(device_id, "$edgeAgent", twin)
    assert life.refresh()
    assert life.up(inputs) == "update", "without the logins the device could not pull again"
    assert life.up(inputs) == "same"

    life.destroy()
    assert modules(others, device_id) == {}
    desired = others.get_module_twin(device_id, "$edgeAgent").properties.desired
    assert "registryCredentials" not in desired["runtime"]["settings"]
    reported = others.get_module_twin(device_id, "$edgeAgent").properties.reported
    assert not reported.get("modules"), "destroy waits for a device that is there"


def test_a_digest_that_does_not_exist(life: Life, wanted: Callable[..., dict[str, Any]], image: str) -> None:
    missing = image.partition("@")[0] + "@sha256:" + "0" * 64

    def fail(seconds: float) -> str:
        with pytest.raises(RolloutError, match=f"not healthy within {seconds:.0f} s") as caught:
            life.up(wanted(seconds, image=missing))
        assert "pulumi up" in caught.value.advice
        assert life.id is None
        return str(caught.value)

    patiently(fail, r"manifest unknown|not found")  # the device's own reason


def test_a_wrong_password_is_the_devices_reason_and_never_shown(
    life: Life, wanted: Callable[..., dict[str, Any]], credentials: Credentials, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = push_module(credentials, "locked")

    def fail(seconds: float) -> str:
        with pytest.raises(RolloutError) as caught:
            life.up(wanted(seconds, password="wrong-password-canary", image=locked))
        assert "wrong-password-canary" not in str(caught.value) + capsys.readouterr().out
        return str(caught.value)

    patiently(fail, r"401|unauthorized|authentication|denied")


def test_a_module_that_ends(life: Life, wanted: Callable[..., dict[str, Any]]) -> None:
    options = {"Entrypoint": ["/bin/sleep"], "Cmd": ["nonsense"]}
    with pytest.raises(RolloutError, match="scorer") as caught:
        life.up(wanted(createOptions=options, restartPolicy="never"))
    assert "exit code 1" in str(caught.value)


def test_an_offline_device(
    life: Life,
    wanted: Callable[..., dict[str, Any]],
    device_id: str,
    others: IoTHubRegistryManager,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RolloutError, match="it has never reported"):
        life.up(wanted(2))
    assert list(modules(others, device_id)) == ["scorer"], "it takes it up when it is there"
    unverified = {**wanted(), "verify": {"enabled": False, "timeoutSeconds": 60}}
    assert life.up(unverified) == "create"
    assert life.outs["health"] == "not verified"
    capsys.readouterr()
    life.destroy()
    said = capsys.readouterr().out
    assert "the device is not connected and takes it up when it is" in said, "nobody waits for it"
    assert modules(others, device_id) == {}


def test_an_offline_rotated_password_reaches_the_manifest(
    life: Life, wanted: Callable[..., dict[str, Any]], device_id: str, others: IoTHubRegistryManager
) -> None:
    off = {"enabled": False, "timeoutSeconds": 60}
    life.up({**wanted(), "verify": off})
    before = life.outs["contentHash"]
    assert life.up({**wanted(password="rotated-password"), "verify": off}) == "update"
    desired = others.get_module_twin(device_id, "$edgeAgent").properties.desired
    logins = desired["runtime"]["settings"]["registryCredentials"].values()
    assert [login["password"] for login in logins] == ["rotated-password"]
    assert life.outs["contentHash"] == before, "nothing that the state shows can be used to guess it"


def test_an_offline_verification_ends_when_somebody_elses_deployment_takes_its_place(
    life: Life,
    wanted: Callable[..., dict[str, Any]],
    device_id: str,
    others: IoTHubRegistryManager,
    others_deployments: IoTHubConfigurationManager,
) -> None:
    base = ConfigurationContent(modules_content=manifest.base_manifest()["modulesContent"])

    def replace() -> None:
        until(lambda: modules(others, device_id))  # ours is there
        others_deployments.apply_configuration_on_edge_device(device_id, base)

    other = threading.Thread(target=replace, daemon=True)
    other.start()
    with pytest.raises(RolloutError, match="somebody else replaced version"):
        life.up(wanted())
    other.join()


def test_an_offline_deleted_device(
    life: Life, wanted: Callable[..., dict[str, Any]], device_id: str, others: IoTHubRegistryManager
) -> None:
    inputs = {**wanted(), "verify": {"enabled": False, "timeoutSeconds": 60}}
    life.up(inputs)
    kept = (life.id, life.outs)
    others.delete_device(device_id)
    with pytest.raises(NotFoundError, match="pulumi refresh"):
        life.up({**inputs, "deployment": {**inputs["deployment"], "env": {"A": "b"}}})
    assert life.refresh() is False
    life.id, life.outs = kept
    life.destroy()


def test_an_offline_hub_that_cannot_be_reached_is_not_taken_for_a_destroyed_deployment(
    life: Life, azure: Cloud, wanted: Callable[..., dict[str, Any]], device_id: str, others: IoTHubRegistryManager
) -> None:
    life.up({**wanted(), "verify": {"enabled": False, "timeoutSeconds": 60}})
    nowhere = f"https://{azure.azure.instance.address}:9/metadata"
    with environment({**azure.azure.env, "ARM_CLOUD_METADATA_URL": nowhere}), pytest.raises(ServiceError):
        life.destroy()
    assert list(modules(others, device_id)) == ["scorer"]
    life.destroy()


def test_an_offline_deployment_of_a_hub_that_is_gone(
    life: Life, azure: Cloud, wanted: Callable[..., dict[str, Any]]
) -> None:
    hub = azure.hub("deploymentshub")
    key = arm.post(hub, "IotHubKeys/iothubowner/listkeys")["primaryKey"]
    host = arm.get(hub)["properties"]["hostName"]
    there = IoTHubRegistryManager.from_connection_string(
        f"HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey={key}"
    )
    there.create_device_with_sas("inside", None, None, "disabled", iot_edge=True)
    life.up({**wanted(), "hubId": hub, "deviceId": "inside", "verify": {"enabled": False, "timeoutSeconds": 60}})
    kept = (life.id, life.outs)
    azure.delete(hub)
    assert life.refresh() is False
    life.id, life.outs = kept
    life.destroy()


def test_an_offline_module_twin_is_part_of_the_deployment(
    life: Life, wanted: Callable[..., dict[str, Any]], device_id: str, others: IoTHubRegistryManager
) -> None:
    """Modules beside ours and desired properties: what others change in them is drift, what we never set is theirs."""
    off = {"enabled": False, "timeoutSeconds": 60}
    more = {
        "modules": {"probe": {"image": "contoso.azurecr.io/probe:1", "desired": {"interval": 5}}},
        "desired": {"t": 1},
    }
    inputs = {**wanted(**more), "verify": off}
    assert life.up(inputs) == "create"
    assert set(modules(others, device_id)) == {"scorer", "probe"}
    assert desired(others, device_id, "probe") == {"interval": 5}
    assert life.refresh()
    assert life.up(inputs) == "same"
    others.update_module_twin(device_id, "scorer", Twin(properties=TwinProperties(desired={"t": 2})), "*")
    assert life.refresh()
    assert life.up(inputs) == "update"
    assert desired(others, device_id, "scorer") == {"t": 1}

    plain = {**wanted(), "verify": off}
    assert life.up(plain) == "update"
    assert set(modules(others, device_id)) == {"scorer"}
    others.update_module_twin(device_id, "scorer", Twin(properties=TwinProperties(desired={"t": 3})), "*")
    assert life.refresh()
    assert life.up(plain) == "same"


def test_an_offline_manifest_of_the_users_own(
    life: Life, wanted: Callable[..., dict[str, Any]], device_id: str, others: IoTHubRegistryManager, image: str
) -> None:
    own = manifest.render({"module": "collector", "image": image}, {})["modulesContent"]
    off = {"enabled": False, "timeoutSeconds": 60}
    assert life.up({**wanted(manifest=own, addModule=False), "verify": off}) == "create"
    assert set(modules(others, device_id)) == {"collector"}
    assert life.outs["history"][0]["image"].startswith("manifest ")
    assert life.refresh()
    assert life.up({**wanted(manifest=own, addModule=False), "verify": off}) == "same"
    own["$edgeHub"]["properties.desired"]["routes"] = {}
    assert life.up({**wanted(manifest=own), "verify": off}) == "update"
    assert set(modules(others, device_id)) == {"collector", "scorer"}
    assert [entry["image"].partition(" ")[0] for entry in life.outs["history"]] == [image, "manifest"]


def desired(others: IoTHubRegistryManager, device_id: str, module: str) -> dict[str, Any]:
    found = others.get_module_twin(device_id, module).properties.desired
    return {key: value for key, value in found.items() if not key.startswith("$")}
