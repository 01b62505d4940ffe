"""Rollouts on a simulated device with real containers of the scoring image, while readings come in without a pause.

One device and one deployment for the whole file; its tests run in order, each leaves the device healthy. Each counts: as many readings were
scored as were sent, whatever was rolled out meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.iot.device import IoTHubModuleClient
from azure.iot.hub import IoTHubRegistryManager

from components import deployment
from components.deployment import EdgeDeploymentProvider
from components.device import DeviceIdentityProvider
from components.edge import manifest
from components.services import azure as arm
from components.services import probe, registry
from components.services.errors import RolloutError
from components.services.hub import Hub
from tests.components.life import Life
from tests.components.line import READING, Images, Line, Traffic
from tests.components.modules import forget_images
from tests.services.cloud import Cloud
from tests.waiting import PATIENCE, patiently, until

pytestmark = pytest.mark.docker

DEVICE = "line-1"
PROBE = {"reading": READING, "expect": {"anomaly": True}, "timeoutSeconds": PATIENCE}
CRASHING = "def init():\n    raise RuntimeError('no such weights')\n\n\ndef run(input_data):\n    return {}\n"
WRONG = "import json\n\n\ndef init():\n    pass\n\n\ndef run(input_data):\n    return {**json.loads(input_data), 'anomaly': True, 'v': 2}\n"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules end as fast as the machine lets them."""
    monkeypatch.setattr(deployment, "_BASE_SECONDS", PATIENCE)


@pytest.fixture(scope="module")
def images(registry_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    login_server = registry.admin_credentials(registry_id).login_server
    yield Images(registry_id, tmp_path_factory.mktemp("images") / "base")
    forget_images(login_server)


@pytest.fixture(scope="module")
def identity(hub_id: str) -> Iterator[Life]:
    made = Life(DeviceIdentityProvider())
    made.up(device())
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def line(azure: Cloud, hub_connection: str, identity: Life) -> Iterator[Line]:
    made = Line(azure, hub_connection, DEVICE)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def life(line: Line) -> Life:
    return Life(EdgeDeploymentProvider())


@pytest.fixture(scope="module")
def wanted(hub_id: str, registry_id: str) -> Callable[..., dict[str, Any]]:
    def make(image: str, seconds: float = PATIENCE, password: str = "", **more: Any) -> dict[str, Any]:
        login = registry.admin_credentials(registry_id)
        verify = {"enabled": True, "timeoutSeconds": seconds, "stableSeconds": 3, **more.pop("verify", {})}
        return {
            "hubId": hub_id,
            "deviceId": DEVICE,
            "deployment": {"module": "scorer", "image": image},
            "registries": [
                {"address": login.login_server, "username": login.username, "password": password or login.password}
            ],
            "verify": verify,
            "onFailure": "rollback",
            **more,
        }

    return make


@pytest.fixture
def good(life: Life, images: Images, wanted: Callable[..., dict[str, Any]]) -> str:
    """The image that runs when a test begins."""
    if life.id is None:
        life.up(wanted(images.push("one"), verify={"probe": PROBE}))
    return str(life.outs["deployment"]["image"])


def device(**more: Any) -> dict[str, Any]:
    return {"hubId": HUB[0], "deviceId": DEVICE, "status": "enabled", "tags": {}, "owner": "aml-edge/dev", **more}


HUB: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _hub(hub_id: str) -> None:
    HUB.append(hub_id)


def fails(life: Life, inputs: dict[str, Any]) -> str:
    """The error of an update that fails; the state is left as it was."""
    before = life.outs
    with pytest.raises(RolloutError) as caught:
        life.up(inputs)
    assert life.outs is before
    return str(caught.value)


def test_a_good_rollout(
    life: Life,
    line: Line,
    good: str,
    images: Images,
    wanted: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    with Traffic(line) as traffic:
        second = images.push("two")
        assert life.up(wanted(second, verify={"probe": PROBE})) == "update"
    assert traffic.all_scored()
    said = capsys.readouterr().out
    for part in ("applied version", "scorer", "healthy", "the probe was answered as expected"):
        assert part in said
    assert [entry["image"] for entry in life.outs["history"]] == [second, good]
    assert life.outs["health"] == "healthy"
    assert line.modules() == {"scorer": second}


def test_a_digest_that_does_not_exist(life: Life, line: Line, good: str, wanted: Callable[..., dict[str, Any]]) -> None:
    container = line.container().id
    missing = good.partition("@")[0] + "@sha256:" + "0" * 64
    with Traffic(line) as traffic:
        back = f"The device is back at the deployment of {good}"
        patiently(lambda seconds: fails(life, wanted(missing, seconds)), f"(manifest unknown|not found).*{back}")
    assert traffic.all_scored()
    assert line.container().id == container, "the old module was never stopped"
    assert line.modules() == {"scorer": good}


def test_a_wrong_registry_password(
    life: Life, line: Line, good: str, images: Images, wanted: Callable[..., dict[str, Any]]
) -> None:
    container, new = line.container().id, images.push("locked")
    with Traffic(line) as traffic:
        said = patiently(
            lambda seconds: fails(life, wanted(new, seconds, password="wrong-password-canary")),
            f"(401|unauthorized|denied).*back at the deployment of {good}",
        )
    assert "wrong-password-canary" not in said
    assert traffic.all_scored()
    assert line.container().id == container
    assert life.up(wanted(good)) == "same", "the state holds the password that worked"


def test_a_module_that_crashes_in_a_loop(
    life: Life, line: Line, good: str, images: Images, wanted: Callable[..., dict[str, Any]]
) -> None:
    """It takes the old one's place, so that readings wait in the edge hub until the rollback."""
    new = images.push("crashing", CRASHING)
    slow = {"stableSeconds": PATIENCE}  # a busy machine needs its time to get as far as the crash
    with Traffic(line) as traffic:
        said = patiently(
            lambda seconds: fails(life, wanted(new, seconds, verify=slow)),
            f"back at the deployment of {good}.*no such weights",  # the module's last log lines
            deadlines=(12, 60, 200),
        )
    assert "scorer" in said
    assert traffic.all_scored()
    assert line.container().attrs["Config"]["Image"] == good


def test_a_probe_that_fails(
    life: Life, line: Line, good: str, images: Images, wanted: Callable[..., dict[str, Any]]
) -> None:
    new = images.push("wrong", WRONG)
    other = {**PROBE, "expect": {"anomaly": False, "v": 2}}
    with Traffic(line) as traffic:
        said = fails(life, wanted(new, verify={"probe": other}))
    assert "answered the probe otherwise than expected: anomaly: expected false, came true" in said
    assert f"back at the deployment of {good}" in said
    assert traffic.all_scored()
    broken = {**PROBE, "reading": {"machine": {}}}
    with pytest.raises(RolloutError) as caught:
        probe.run(Hub(HUB[0]), DEVICE, "scorer", broken, print)
    said = str(caught.value)
    assert "scorer answered 500: ValueError: the reading has no field machine.temperature" in said


def test_keep_leaves_what_failed_for_a_look(
    life: Life, line: Line, good: str, images: Images, wanted: Callable[..., dict[str, Any]]
) -> None:
    new = good.partition("@")[0] + "@sha256:" + "1" * 64
    with Traffic(line) as traffic:
        fails(life, wanted(new, 4, onFailure="keep"))
        assert line.modules() == {"scorer": new}
        assert life.refresh()
        assert life.up(wanted(good)) == "update", "the state's deployment is not what the hub has"
    assert traffic.all_scored(), "the old container went on meanwhile"


def test_a_rotated_registry_password(
    life: Life, line: Line, good: str, registry_id: str, images: Images, wanted: Callable[..., dict[str, Any]]
) -> None:
    new, old = images.push("after-rotation"), registry.admin_credentials(registry_id).password
    with Traffic(line) as traffic:
        arm.post(registry_id, "regenerateCredential", {"name": "password"})
        assert registry.admin_credentials(registry_id).password != old
        assert life.preview(wanted(good)) == "update", "devices must pull with the new one"
        assert life.up(wanted(good)) == "update"
        assert life.up(wanted(new)) == "update", "and can"
    assert traffic.all_scored()


def test_the_devices_key_is_rotated_under_way(line: Line, good: str, identity: Life, life: Life) -> None:
    container = line.container().id
    with Traffic(line) as traffic:
        before = line.registry.get_device(DEVICE).authentication.symmetric_key.primary_key
        assert identity.up(device(keyGeneration=2)) == "update"
        assert line.registry.get_device(DEVICE).authentication.symmetric_key.secondary_key == before
        time.sleep(1)
        assert line.registry.get_module(DEVICE, "$edgeAgent").connection_state == "Connected"
    assert traffic.all_scored()
    assert line.container().id == container
    assert life.refresh(), "the deployment is not touched"
    assert life.outs["health"] == "healthy"


def test_set_modules_by_somebody_else_is_drift(
    life: Life, line: Line, good: str, others_deployments: Any, wanted: Callable[..., dict[str, Any]]
) -> None:
    from azure.iot.hub.models import ConfigurationContent

    foreign = manifest.render({"module": "theirs", "image": good}, {})["modulesContent"]
    others_deployments.apply_configuration_on_edge_device(DEVICE, ConfigurationContent(modules_content=foreign))
    assert life.preview(wanted(good)) == "same", "a preview without refresh does not ask the hub"
    assert life.refresh()
    assert life.preview(wanted(good)) == "update"
    assert life.up(wanted(good)) == "update"
    assert line.modules() == {"scorer": good}
    with Traffic(line) as traffic:
        pass
    assert traffic.all_scored()


def test_an_offline_device_takes_it_up_when_it_is_back(
    life: Life, line: Line, good: str, identity: Life, images: Images, wanted: Callable[..., dict[str, Any]]
) -> None:
    new = images.push("for-later")
    identity.up(device(keyGeneration=2, status="disabled"))
    until(lambda: line.registry.get_module(DEVICE, "$edgeAgent").connection_state == "Disconnected")
    said = fails(life, wanted(new, 3))
    assert "has not taken up version" in said
    assert f"The hub has the deployment of {good} again, which the device has not confirmed" in said
    assert line.modules() == {"scorer": good}
    assert life.up(wanted(new, verify={"enabled": False})) == "update"
    assert life.outs["health"] == "not verified"
    identity.up(device(keyGeneration=2))
    until(lambda: line.reported().get("modules", {}).get("scorer", {}).get("settings", {}).get("image") == new)
    assert life.up(wanted(new)) == "same"
    with Traffic(line) as traffic:
        pass
    assert traffic.all_scored()


@pytest.mark.filterwarnings("ignore")
def test_a_device_whose_runtime_answers_412(
    azure: Cloud,
    hub_id: str,
    others: IoTHubRegistryManager,
    hub_connection: str,
    good: str,
    wanted: Callable[..., dict[str, Any]],
) -> None:
    """An agent that is too old for the schema, played by the device SDK: it reports at once, and nobody waits for the deadline."""
    others.create_device_with_sas("old-runtime", None, None, "disabled", iot_edge=True)
    old = Line(azure, hub_connection, "old-runtime")
    until((old.folder / "gateway.json").exists)
    (old.folder / "device-id.key").write_bytes(b"x" * 32)  # the machine that comes with it stays out
    key = others.get_module("old-runtime", "$edgeAgent").authentication.symmetric_key.primary_key
    life = Life(EdgeDeploymentProvider())
    address, ca = azure.azure.instance.address, azure.azure.instance.ca.read_text()
    text = (
        f"HostName={old.host};DeviceId=old-runtime;ModuleId=$edgeAgent;SharedAccessKey={key};GatewayHostName={address}"
    )
    agent: Any = IoTHubModuleClient.create_from_connection_string(text, server_verification_cert=ca)

    def report(desired: dict[str, Any]) -> None:
        status = {"code": 412, "description": "Received schema with version 1.1, but only version 1.0 is supported."}
        agent.patch_twin_reported_properties(
            {"lastDesiredVersion": desired["$version"], "lastDesiredStatus": status, "modules": None}
        )

    identity = others.get_device("old-runtime")
    keys = identity.authentication.symmetric_key
    others.update_device_with_sas(
        "old-runtime", identity.etag, keys.primary_key, keys.secondary_key, "enabled", iot_edge=True
    )
    try:
        agent.on_twin_desired_properties_patch_received = report
        agent.connect()
        with pytest.raises(RolloutError) as caught:
            life.up({**wanted(good), "deviceId": "old-runtime"})
        assert "not healthy within" not in str(caught.value), "nobody waits for the deadline"
        assert "412" in str(caught.value)
        assert "only version 1.0 is supported" in str(caught.value)
        assert life.id is None
        desired = others.get_module_twin("old-runtime", "$edgeAgent").properties.desired
        assert desired["modules"] == {}, "a first deployment that fails leaves the base manifest"
    finally:
        agent.shutdown()
        others.delete_device("old-runtime")


def test_destroy_leaves_the_base_manifest(life: Life, line: Line, good: str) -> None:
    life.destroy()
    assert line.modules() == {}
    assert not line.reported().get("modules")
