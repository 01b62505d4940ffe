"""The settings `fleet` and `fleetDevices` of a stack file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.settings import SettingsError, load

ANOMALY = {"name": "anomaly", "targetCondition": "tags.site = 'lab'"}


def settings(tmp_path: Path, **values: Any) -> Any:
    (tmp_path / "scoring").mkdir(exist_ok=True)
    (tmp_path / "scoring" / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    (tmp_path / "scoring" / "myenv.yml").write_text("dependencies:\n  - python=3.11\n  - pip:\n    - scikit-learn\n")
    (tmp_path / "model.pkl").write_bytes(b"model")
    return load({"model": {"path": "model.pkl"}, "devices": [], **values}, root=tmp_path)


def keys(tmp_path: Path, **values: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, **values)
    return [problem.key.removeprefix("aml-edge:") for problem in caught.value.problems]


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    [one] = settings(tmp_path, fleet=[{**ANOMALY, "rollout": {}}]).fleet
    assert (one.priority, one.layered, one.image, one.deployment) == (10, False, None, None)
    assert one.rollout.waves == ["*"], "everybody, and they are waited for"
    assert settings(tmp_path, fleet=[ANOMALY]).fleet[0].rollout is None
    assert settings(tmp_path).fleet == [] == settings(tmp_path).fleet_devices


def test_every_problem_with_its_place(tmp_path: Path) -> None:
    wrong = {
        "name": "A",
        "targetCondition": "tags.a IN ['x']",
        "priority": -1,
        "image": "anomaly:latest",
        "metrics": {"m": "SELECT"},
        "rollout": {"waves": ["tags.a = 'x'"], "wave": 2},
        "deployment": {"module": "-"},
        "colour": "red",
    }
    found = keys(tmp_path, fleet=[wrong])
    assert found == ["fleet[0].deployment.module", "fleet[0].colour"], "shapes first"
    found = keys(tmp_path, fleet=[{key: value for key, value in wrong.items() if key not in ("deployment", "colour")}])
    assert found == [
        "fleet[0].name",
        "fleet[0].targetCondition",
        "fleet[0].priority",
        "fleet[0].metrics.m",
        "fleet[0].rollout.waves",
        "fleet[0].rollout.wave",
        "fleet[0].image",
    ]


def test_a_device_has_either_a_deployment_of_its_own_or_the_fleets(tmp_path: Path) -> None:
    own = [{"id": "edge-1", "tags": {"site": "lab"}}]
    assert keys(tmp_path, fleet=[ANOMALY], devices=own) == ["fleet[0].targetCondition"]
    assert keys(tmp_path, fleet=[{**ANOMALY, "targetCondition": "*"}], devices=own) == ["fleet[0].targetCondition"]
    settings(tmp_path, fleet=[{**ANOMALY, "targetCondition": "properties.reported.a = 1"}], devices=own)
    settings(
        tmp_path, fleet=[{**ANOMALY, "targetCondition": "tags.site = 'lab' AND NOT deviceId = 'edge-1'"}], devices=own
    )


def test_more_than_twenty_devices_are_a_fleet(tmp_path: Path) -> None:
    devices = [{"id": f"edge-{number}"} for number in range(21)]
    assert keys(tmp_path, devices=devices) == ["devices"]
    settings(tmp_path, devices=devices[:20])
    settings(tmp_path, fleetDevices=devices)


def test_names_and_priorities_together(tmp_path: Path) -> None:
    layer = {**ANOMALY, "name": "extra", "layered": True}
    assert keys(tmp_path, fleet=[ANOMALY, ANOMALY]) == ["fleet[1].name"]
    assert keys(tmp_path, fleet=[ANOMALY, layer]) == ["fleet[1].priority"]
    settings(tmp_path, fleet=[ANOMALY, {**layer, "priority": 11}])
    settings(tmp_path, fleet=[layer])  # its base may be somebody else's


def test_a_layer_says_nothing_of_the_runtime(tmp_path: Path) -> None:
    base = {"module": "extra", "edgeAgent": {"env": {"A": "b"}}, "edgeHub": {}, "timeToLiveSecs": 60}
    found = keys(tmp_path, fleet=[{**ANOMALY, "layered": True, "deployment": base}])
    assert found == [f"fleet[0].deployment.{name}" for name in ("edgeAgent", "edgeHub", "timeToLiveSecs")]


def test_fleet_devices(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text("id,tags.site,status\na,lab,\nb,hall,disabled\n")
    found = settings(tmp_path, fleetDevices=[{"csv": "devices.csv"}]).fleet_devices
    assert [(one.id, one.tags, one.status) for one in found] == [
        ("a", {"site": "lab"}, "enabled"),
        ("b", {"site": "hall"}, "disabled"),
    ]
    assert keys(tmp_path, fleetDevices=[{"id": "a", "keyGeneration": 2}]) == ["fleetDevices[0].keyGeneration"]
    assert keys(tmp_path, fleetDevices=[{"id": "a"}], devices=[{"id": "a"}]) == ["fleetDevices[0].id"]
