"""FleetDeployment against a hub with a few simulated agents: order of its steps, what is left at every point where it may stop."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import Configuration

from components.deployment import EdgeDeploymentProvider
from components.device_fleet import DeviceFleetProvider
from components.fleet import FleetDeploymentProvider
from components.services import configurations as services
from components.services import fleet_watch
from components.services.errors import RolloutError, ServiceError
from tests.components.life import CheckError, Life
from tests.services.cloud import HUB, Cloud
from tests.waiting import patiently, until

IMAGES = [f"registry.example/scorer@sha256:{digit * 64}" for digit in "0123"]
COUNT = 12
WAVES = ["deviceId = 'agent-00'", "deviceId < 'agent-04'", "*"]
PASSWORD = "fleet-password-canary"


@pytest.fixture(scope="module")
def fleet_hub(azure: Cloud) -> Iterator[str]:
    # 20 operations on configurations in a minute for each unit: these tests make more
    hub_id = azure.make(HUB, "fleethub", {"sku": {"name": "S1", "capacity": 50}})
    azure.azure.command("fleet", str(COUNT), "--match", "agent-.*")
    devices = Life(DeviceFleetProvider())
    wanted = {f"agent-{number:02}": {"tags": {"plant": "north"}} for number in range(COUNT)}
    devices.up({"hubId": hub_id, "name": "devices", "owner": "p/dev", "devices": wanted})
    until(lambda: f"{COUNT} connected" in azure.azure.command("fleet").stdout, pause=0.2)
    yield hub_id
    azure.azure.command("fleet", "0", "--fail", "0%")
    azure.delete(hub_id)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_watch, "POLL_SECONDS", 0.5)
    monkeypatch.setattr(fleet_watch, "COUNT_SECONDS", 2.0)


@pytest.fixture(scope="module")
def connection(fleet_hub: str, azure: Cloud) -> str:
    """Of somebody else at the same hub."""
    return azure.azure.command("connection-string", fleet_hub.rpartition("/")[2]).stdout.strip()


@pytest.fixture
def hub(connection: str) -> Iterator[IoTHubConfigurationManager]:
    """Empty at first and at last."""
    manager = IoTHubConfigurationManager.from_connection_string(connection)
    yield manager
    for one in manager.get_configurations(100):
        manager.delete_configuration(one.id)


@pytest.fixture
def failing(azure: Cloud) -> Iterator[Callable[[str], None]]:
    """Call it with the share of the agents that cannot pull."""

    def fail(share: str) -> None:
        azure.azure.command("fleet", "--fail", share)

    yield fail
    azure.azure.command("fleet", "--fail", "0%")


@pytest.fixture
def twins(connection: str) -> IoTHubRegistryManager:
    return IoTHubRegistryManager.from_connection_string(connection)


@pytest.fixture
def life(hub: Any) -> Life:
    return Life(FleetDeploymentProvider())


def inputs(hub_id: str, image: str = IMAGES[0], wave: int = 3, minutes: float = 10, **other: Any) -> dict[str, Any]:
    return {
        "hubId": hub_id,
        "name": "anomaly",
        "owner": "p/dev",
        "layered": False,
        "deployment": {"module": "scorer", "image": image},
        "registries": [{"address": "registry.example", "username": "pull", "password": PASSWORD}],
        "targetCondition": "tags.plant = 'north'",
        "priority": 10,
        "labels": {"team": "ml"},
        "metrics": {},
        "rollout": {"waves": WAVES, "wave": wave, "minSuccess": 1, "withinMinutes": minutes},
        **other,
    }


def there(hub: IoTHubConfigurationManager) -> dict[str, Configuration]:
    found: list[Configuration] = sorted(hub.get_configurations(100), key=lambda one: one.created_time_utc)
    return {one.id: one for one in found}


def running(twins: IoTHubRegistryManager, device_id: str) -> str:
    desired = twins.get_module_twin(device_id, "$edgeAgent").properties.desired
    return str(desired["modules"]["scorer"]["settings"]["image"])


def test_the_life_of_a_deployment(
    life: Life, fleet_hub: str, hub: IoTHubConfigurationManager, capsys: pytest.CaptureFixture[str]
) -> None:
    assert life.up(inputs(fleet_hub)) == "create"
    [first] = there(hub).values()
    assert first.id.startswith("anomaly-") and first.id.endswith("-1")
    assert (first.target_condition, first.priority) == ("tags.plant = 'north'", 10)
    labels = {"team": "ml", "managedBy": "aml-edge", "managedFor": "p:dev:anomaly", "rollout": "everybody"}
    assert first.labels == labels
    assert life.outs["devices"] == {"targeted": COUNT, "successful": COUNT, "failed": 0}
    assert f"done: {COUNT} targeted, {COUNT} applied" in capsys.readouterr().out
    assert life.up(inputs(fleet_hub)) == "same"
    assert life.refresh() and life.up(inputs(fleet_hub)) == "same"

    metrics = {"scorers": "SELECT deviceId FROM devices WHERE tags.plant = 'north'"}
    assert life.up(inputs(fleet_hub, priority=11, labels={}, metrics=metrics)) == "update"
    [second] = there(hub).values()
    assert (second.id, second.priority, second.created_time_utc) == (first.id, 11, first.created_time_utc)
    assert second.metrics.queries == metrics and second.metrics.results == {"scorers": COUNT}

    hub.delete_configuration(first.id)
    assert life.refresh() is False
    assert life.up(inputs(fleet_hub)) == "create"
    life.destroy()
    assert there(hub) == {}


def test_another_content_is_made_before_the_old_one_goes(
    life: Life,
    fleet_hub: str,
    hub: IoTHubConfigurationManager,
    twins: IoTHubRegistryManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life.up(inputs(fleet_hub))
    seen: list[int] = []
    delete = services.Configurations.delete

    def watched(self: Any, configuration_id: str) -> None:
        seen.append(len(there(hub)))
        assert {running(twins, f"agent-{number:02}") for number in range(COUNT)} == {IMAGES[1]}
        delete(self, configuration_id)

    monkeypatch.setattr(services.Configurations, "delete", watched)
    assert life.up(inputs(fleet_hub, IMAGES[1])) == "update"
    assert seen == [2]
    assert list(there(hub)) == [life.outs["configurationId"]]


def test_waves_one_by_one(
    life: Life, fleet_hub: str, hub: IoTHubConfigurationManager, twins: IoTHubRegistryManager
) -> None:
    life.up(inputs(fleet_hub))
    for wave, reached in ((1, 1), (2, 4), (3, COUNT)):
        assert life.up(inputs(fleet_hub, IMAGES[1], wave)) == "update"
        images = [running(twins, f"agent-{number:02}") for number in range(COUNT)]
        assert images == [IMAGES[1]] * reached + [IMAGES[0]] * (COUNT - reached)
        assert len(there(hub)) == (1 if wave == 3 else 2)
        assert life.refresh() and life.up(inputs(fleet_hub, IMAGES[1], wave)) == "same"


def test_a_failed_wave_goes_back_and_can_be_repeated(
    life: Life,
    fleet_hub: str,
    hub: IoTHubConfigurationManager,
    twins: IoTHubRegistryManager,
    failing: Callable[[str], None],
) -> None:
    life.up(inputs(fleet_hub))
    before: dict[str, Any] = {}

    def fail(seconds: float) -> str:
        failing("0%")
        assert life.refresh()
        life.up(inputs(fleet_hub, IMAGES[1], wave=1))
        before.update(life.outs)
        failing("100%")
        with pytest.raises(RolloutError) as caught:
            life.up(inputs(fleet_hub, IMAGES[1], wave=2, minutes=seconds / 60))
        assert life.outs == before
        text = str(caught.value)
        assert f"of 4 devices report success after {seconds / 60:g} minutes, 100 % are asked for" in text
        assert f"is applied to its {COUNT} devices again" in text
        return text

    text = patiently(fail, "3 devices: code 500", deadlines=(15, 60, 240))
    assert "25.0 % of 4 devices" in text
    assert "3 devices: code 500: Error while creating module scorer: simulated: cannot pull" in text
    assert "(agent-01, agent-02, agent-03)" in text
    [left] = there(hub).values()
    assert left.target_condition == "tags.plant = 'north'" and left.id != before["configurationId"]
    assert running(twins, "agent-00") == IMAGES[0], "the first wave went back, too"

    failing("0%")
    assert life.refresh(), "which tells the state that the new content is gone"
    assert life.up(inputs(fleet_hub, IMAGES[0])) == "update", "the fix may be the old content: nothing is made twice"
    assert list(there(hub)) == [left.id]
    assert life.up(inputs(fleet_hub, IMAGES[1], wave=2)) == "update"
    assert life.up(inputs(fleet_hub, IMAGES[1], wave=3)) == "update"
    assert list(there(hub)) == [life.outs["configurationId"]]


def test_a_first_deployment_that_fails_leaves_nothing(
    life: Life, fleet_hub: str, hub: IoTHubConfigurationManager, failing: Callable[[str], None]
) -> None:
    failing("100%")
    with pytest.raises(RolloutError, match="There was no content before"):
        life.up(inputs(fleet_hub, IMAGES[3], minutes=0.05))
    assert there(hub) == {} and life.id is None


def test_a_run_that_is_killed_at_any_request_is_continued(
    fleet_hub: str, hub: IoTHubConfigurationManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after each call that changes something; the state stays the one before."""

    for at, after in ((1, False), (1, True), (2, True)):
        life = Life(FleetDeploymentProvider())
        life.up(inputs(fleet_hub))
        before = dict(life.outs)
        with monkeypatch.context() as patched:
            kill(patched, at, after)
            with pytest.raises(KilledError):
                life.up(inputs(fleet_hub, IMAGES[2]))
        assert life.outs == before
        assert there(hub), "the devices are never without a deployment"
        assert life.up(inputs(fleet_hub, IMAGES[2])) == "update"
        assert list(there(hub)) == [life.outs["configurationId"]]
        life.destroy()


class KilledError(BaseException):
    """The process ends here."""


def kill(patched: pytest.MonkeyPatch, at: int, after: bool) -> None:
    """At the so-many-th request that changes something, before it or after it."""
    count = itertools.count(1)
    for name in ("create", "update", "delete"):
        method = getattr(services.Configurations, name)

        def call(self: Any, *args: Any, _method: Any = method) -> Any:
            here = next(count) == at
            if here and not after:
                raise KilledError
            result = _method(self, *args)
            if here:
                raise KilledError
            return result

        patched.setattr(services.Configurations, name, call)


def test_another_password_is_another_generation(
    life: Life, fleet_hub: str, hub: IoTHubConfigurationManager, capsys: pytest.CaptureFixture[str]
) -> None:
    life.up(inputs(fleet_hub))
    first = life.outs["configurationId"]
    rotated = [{"address": "registry.example", "username": "pull", "password": "rotated-canary"}]
    assert life.up(inputs(fleet_hub, registries=rotated)) == "update"
    second = life.outs["configurationId"]
    assert second == first.removesuffix("-1") + "-2", "the id says nothing of the password"
    assert list(there(hub)) == [second]
    logins = there(hub)[second].content.modules_content["$edgeAgent"]["properties.desired"]["runtime"]["settings"]
    assert "rotated-canary" in json.dumps(logins)
    outputs = {key: value for key, value in life.outs.items() if key != "registries"}
    assert "canary" not in json.dumps(outputs) + capsys.readouterr().out


def test_somebody_elses_configuration_of_the_same_id_is_refused(
    life: Life, fleet_hub: str, hub: IoTHubConfigurationManager
) -> None:
    life.up(inputs(fleet_hub))
    with pytest.raises(ServiceError, match="this resource did not make") as caught:
        Life(FleetDeploymentProvider()).up(inputs(fleet_hub, owner="p/other"))
    assert "another name" in caught.value.advice
    assert list(there(hub)) == [life.outs["configurationId"]]


def test_what_somebody_changes_is_drift(life: Life, fleet_hub: str, hub: IoTHubConfigurationManager) -> None:
    life.up(inputs(fleet_hub))
    one = hub.get_configuration(life.outs["configurationId"])
    one.priority, one.target_condition = 1, ""
    hub.update_configuration(one, f'"{one.etag}"')
    assert life.refresh()
    assert life.up(inputs(fleet_hub)) == "update"
    assert hub.get_configuration(one.id).priority == 10


def test_nobody_waits_without_a_rollout(life: Life, fleet_hub: str, hub: IoTHubConfigurationManager) -> None:
    life.up(inputs(fleet_hub, rollout=None))
    assert life.outs["devices"] == {}
    assert life.up(inputs(fleet_hub, IMAGES[1], rollout=None)) == "update"
    assert list(there(hub)) == [life.outs["configurationId"]]


def test_an_empty_condition_targets_nobody(life: Life, fleet_hub: str, hub: Any) -> None:
    life.up(inputs(fleet_hub, targetCondition=""))
    assert life.outs["devices"]["targeted"] == 0


def test_a_layer_needs_no_more_than_its_module(
    life: Life, fleet_hub: str, hub: Any, twins: IoTHubRegistryManager
) -> None:
    life.up(inputs(fleet_hub))
    layer = Life(FleetDeploymentProvider())
    module = {"module": "vibration", "image": IMAGES[2], "routes": {"out": "FROM /messages/* INTO $upstream"}}
    layer.up(inputs(fleet_hub, name="vibration", layered=True, priority=20, deployment=module))
    [content] = [one.content.modules_content for name, one in there(hub).items() if name.startswith("vibration")]
    logins = "properties.desired.runtime.settings.registryCredentials.registry-example"
    assert set(content["$edgeAgent"]) == {"properties.desired.modules.vibration", logins}
    assert set(content["$edgeHub"]) == {"properties.desired.routes.out"}
    desired = twins.get_module_twin("agent-00", "$edgeAgent").properties.desired
    assert set(desired["modules"]) == {"scorer", "vibration"}
    layer.destroy()


def test_bad_inputs_are_refused_at_preview(life: Life, fleet_hub: str) -> None:
    wrong = inputs(fleet_hub, targetCondition="tags.a IN ['x']", labels={"managedBy": "me"}, metrics={"m": "SELECT"})
    with pytest.raises(CheckError) as caught:
        life.preview({**wrong, "deployment": {"module": "scorer", "image": "scorer:latest"}})
    assert set(caught.value.problems) == {"targetCondition", "labels", "metrics", "deployment"}


def test_devices_with_a_deployment_of_their_own(
    life: Life, fleet_hub: str, hub: Any, twins: IoTHubRegistryManager
) -> None:
    single: dict[str, Any] = {
        "hubId": fleet_hub,
        "deviceId": "agent-05",
        "deployment": {"module": "scorer", "image": IMAGES[3]},
        "registries": [],
        "verify": {"enabled": False},
    }
    own = Life(EdgeDeploymentProvider())
    own.up(single)
    assert twins.get_twin("agent-05").tags["ownDeployment"] == "device"
    with pytest.raises(ServiceError, match=r"a deployment of their own \(aml-edge:devices\): agent-05"):
        life.up(inputs(fleet_hub))
    assert there(hub) == {}, "nothing was made"
    own.destroy()
    assert "ownDeployment" not in twins.get_twin("agent-05").tags
    life.up(inputs(fleet_hub))
    with pytest.raises(ServiceError, match=f"the automatic deployment {life.outs['configurationId']} rules it"):
        own.up(single)
    assert "ownDeployment" not in twins.get_twin("agent-05").tags
