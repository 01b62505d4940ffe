"""A thousand devices under the real engine: registered from CSV, a base deployment, a rollout in three waves of which the second fails and
goes back, a layer beside it; and what a preview costs with ten devices and with a thousand."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from localazure.fleet.state import is_chosen
from tests.engine.secrets import canaries, leaks
from tests.support import Project, changes
from tests.waiting import patiently, until

pytestmark = [pytest.mark.engine, pytest.mark.docker]

COUNT = 1000
RINGS = {"canary": 50, "early": 300, "broad": COUNT}
"""Ring -> how many devices are in it and in those before."""
WAVES = ["tags.ring = 'canary'", "tags.ring = 'early'", "*"]
TARGET = "tags.plant = 'north'"
FAILING = 0.05


def ring(number: int) -> str:
    return next(name for name, end in RINGS.items() if number < end)


def ids(count: int) -> list[str]:
    return [f"press-{number:04}" for number in range(count)]


@pytest.fixture(scope="module")
def stack(project: Project) -> Iterator[Stack]:
    made = Stack(project)
    made.azure_fleet(str(COUNT), "--match", "press-.*")
    project.up()
    yield made
    made.write()  # the next file has the stack without a fleet
    project.up()
    made.azure_fleet("0")


class Stack:
    """The dev stack with a fleet beside its one device."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.file = project.folder / f"Pulumi.{project.stack}.yaml"
        self.before = self.file.read_text()
        self.csv = project.folder / "devices.csv"

    def write(self, devices: int | None = None, *deployments: dict[str, Any]) -> None:
        content = yaml.safe_load(self.before)
        if devices is not None:
            rows = [f"{name},north,{ring(number)}" for number, name in enumerate(ids(devices))]
            self.csv.write_text("\n".join(["id,tags.plant,tags.ring", *rows]) + "\n")
            content["config"]["aml-edge:fleetDevices"] = [{"csv": "devices.csv"}]
        if deployments:
            content["config"]["aml-edge:fleet"] = list(deployments)
        self.file.write_text(yaml.safe_dump(content))

    def azure_fleet(self, *arguments: str) -> str:
        return self.project.azure.command("fleet", *arguments).stdout

    def reports(self) -> dict[str, Any]:
        """What the outputs say of the fleet's deployment."""
        return dict(self.project.outputs()["fleet"]["anomaly"])


def anomaly(level: int, wave: int = 3, minutes: float = 10) -> dict[str, Any]:
    rollout = {"waves": WAVES, "wave": wave, "minSuccess": 0.98, "withinMinutes": minutes}
    deployment = {"module": "scorer", "env": {"LEVEL": level}}
    return {"name": "anomaly", "targetCondition": TARGET, "priority": 10, "deployment": deployment, "rollout": rollout}


LAYER: dict[str, Any] = {
    "name": "vibration",
    "layered": True,
    "targetCondition": f"{TARGET} AND tags.ring = 'canary'",
    "priority": 20,
    "image": f"registry.example/vibration@sha256:{'7' * 64}",
    "deployment": {"module": "vibration"},
    "rollout": {"minSuccess": 1, "withinMinutes": 10},
}


def test_a_thousand_devices_are_registered_from_a_csv_file(stack: Stack, project: Project) -> None:
    stack.write(COUNT, anomaly(1))
    preview = project.preview()
    assert changes(preview) == {"fleet-devices": "create", "anomaly-fleet": "create"}, "two resources for all of them"
    done = project.up()
    assert f"devices devices: register: {COUNT} of {COUNT}" in done.stdout
    assert "fleet anomaly: done: 1000 targeted, 1000 applied" in done.stdout
    assert stack.reports()["devices"]["targeted"] == COUNT
    assert stack.reports()["reaches"] == TARGET
    until(lambda: f"{COUNT} connected" in stack.azure_fleet(), pause=1)  # a rollout is done at less


def test_the_state_holds_no_key_and_stays_small(stack: Stack, project: Project) -> None:
    export = project.export()
    fleet = next(one for one in json.loads(export)["deployment"]["resources"] if one["urn"].endswith("fleet-devices"))
    text = json.dumps(fleet)
    assert "key" not in text.lower().replace("__provider", "")
    assert len(text) < 200 * COUNT, "bytes"
    assert leaks(export, canaries(project.outputs(secrets=True), project.azure)) == []


def test_nothing_is_to_be_done_twice(stack: Stack, project: Project) -> None:
    assert changes(project.preview()) == {}
    project.refresh()
    assert changes(project.preview()) == {}, "the hub holds what the state says"


def test_one_device_of_a_thousand_is_one_line_of_the_preview(stack: Stack, project: Project) -> None:
    rows = stack.csv.read_text()
    stack.csv.write_text(rows.replace("press-0700,north,broad", "press-0700,north,early"))
    try:
        step = next(step for step in project.preview()["steps"] if step["op"] == "update")
        assert set(step["detailedDiff"]) == {'devices["press-0700"].tags.ring'}
    finally:
        stack.csv.write_text(rows)


def test_the_first_wave_leaves_the_others_where_they_are(stack: Stack, project: Project) -> None:
    base = stack.reports()["configurationId"]
    stack.write(COUNT, anomaly(2, wave=1))
    [step] = [step for step in project.preview()["steps"] if step["op"] == "update"]
    assert set(step["detailedDiff"]) == {"deployment.env.LEVEL", "rollout.wave"}
    project.up()
    assert stack.reports()["devices"]["targeted"] == RINGS["canary"]
    assert stack.reports()["configurationId"] != base
    assert base in json.dumps(project.resources()), "the content before has the rest"


def test_a_wave_that_fails_goes_back(stack: Stack, project: Project) -> None:
    wave = ids(RINGS["early"])
    failing = [name for name in wave[RINGS["canary"] :] if is_chosen(name, FAILING)]
    assert len(failing) > 0.02 * len(wave), "more than minSuccess allows"
    before = deployment(project)
    stack.azure_fleet("--fail", f"{FAILING:%}")

    def fail(seconds: float) -> str:
        stack.write(COUNT, anomaly(2, wave=2, minutes=seconds / 60))
        done = project.up(check=False)
        assert done.returncode != 0
        assert "was removed; anomaly-" in done.stdout
        assert f"is applied to its {COUNT} devices again" in done.stdout
        assert deployment(project) == before, "the state says what was true before"
        return done.stdout

    said = patiently(
        fail,
        f"{len(failing)} devices: code 500: Error while creating module scorer",
        deadlines=(30, 120, 300),
    )
    assert failing[0] in said
    project.refresh()
    assert changes(project.preview()) == {"anomaly-fleet": "update"}


def test_mended_the_rollout_is_finished(stack: Stack, project: Project) -> None:
    stack.azure_fleet("--fail", "0%")
    stack.write(COUNT, anomaly(2, wave=2))
    project.up()
    assert stack.reports()["devices"]["targeted"] == RINGS["early"]
    stack.write(COUNT, anomaly(2, wave=3))
    done = project.up()
    assert stack.reports()["devices"]["targeted"] == COUNT
    assert "fleet anomaly: removed anomaly-" in done.stdout, "the content before"
    assert changes(project.preview()) == {}


def test_a_layer_adds_its_module_beside_ours(stack: Stack, project: Project) -> None:
    stack.write(COUNT, anomaly(2), LAYER)
    assert changes(project.preview()) == {"vibration-fleet": "create"}
    project.up()
    assert modules(project, "press-0000") == {"scorer": "running", "vibration": "running"}
    until(lambda: modules(project, "press-0999") == {"scorer": "running"})
    assert project.outputs()["fleet"]["vibration"]["devices"]["successful"] == RINGS["canary"]


def test_previews_take_as_long_for_ten_devices_as_for_a_thousand(
    stack: Stack, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """In turns, so that a busy machine is busy for all, and the quickest of each counts: a new stack with ten devices, the same with a
    thousand, and new content for the thousand that are there."""
    project.pulumi("stack", "select", "--create", "new")
    new = Stack(Project(project.folder, project.azure, "new"))
    new.before = stack.before
    kinds = {"new, 10": (new, 10), "new, 1000": (new, COUNT), "there, 1000": (stack, COUNT)}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    ratios: dict[str, float] = {}
    try:
        for number in range(10):
            if number >= 3 and max(ratios.values()) < 2:
                break
            for kind, (one, count) in kinds.items():
                one.write(count, anomaly(3, wave=1), LAYER)
                started = time.perf_counter()
                preview = one.project.preview()
                seconds[kind].append(time.perf_counter() - started)
                assert "anomaly-fleet" in changes(preview)
            best = {kind: min(times) for kind, times in seconds.items()}
            ratios = {kind: least / best["new, 10"] for kind, least in best.items()}
    finally:
        project.pulumi("stack", "rm", "new", "--yes", "--force")
        project.pulumi("stack", "select", project.stack)
    with capsys.disabled():
        shown = ", ".join(f"{kind}: {best[kind]:.2f} s ({ratio:.2f})" for kind, ratio in ratios.items())
        sys.stdout.write(f"\npreviews: {shown}\n")
    assert max(ratios.values()) < 2, seconds


def test_destroying_the_fleet_deletes_its_devices(stack: Stack, project: Project) -> None:
    stack.write()
    done = project.up()
    assert f"devices devices: delete: {COUNT} of {COUNT}" in done.stdout
    assert project.outputs()["fleet"] == {}
    assert "0 of at most" in stack.azure_fleet()


def deployment(project: Project) -> Any:
    """The fleet deployment in the state."""
    return next(one for urn, one in project.resources().items() if urn.endswith("::anomaly-fleet"))


def modules(project: Project, device_id: str) -> dict[str, str]:
    """What the device's agent reports: module -> runtimeStatus."""
    from azure.iot.hub import IoTHubRegistryManager

    name = project.outputs()["hubId"].rpartition("/")[2]
    connection = project.azure.command("connection-string", name).stdout.strip()
    manager = IoTHubRegistryManager.from_connection_string(connection)
    manager.protocol.config.connection.verify = str(project.azure.instance.ca)
    reported = manager.get_module_twin(device_id, "$edgeAgent").properties.reported
    return {name: module["runtimeStatus"] for name, module in reported["modules"].items()}
