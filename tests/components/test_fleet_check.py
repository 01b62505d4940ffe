"""What a preview says of a fleet deployment, without any hub."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi.output import Unknown

from components.fleet import FleetDeployment, FleetDeploymentProvider
from tests.components.life import CheckError, Life

IMAGE = f"registry.example/scorer@sha256:{'0' * 64}"


def inputs(**other: Any) -> dict[str, Any]:
    return {
        "hubId": "/hub",
        "name": "anomaly",
        "owner": "p/dev",
        "layered": False,
        "deployment": {"module": "scorer", "image": IMAGE},
        "registries": [],
        "targetCondition": "tags.plant = 'north'",
        "priority": 10,
        **other,
    }


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"targetCondition": "tags.a IN ['x']"}, "targetCondition"),
        ({"labels": {"managedBy": "me"}}, "labels"),
        ({"metrics": {"m": "SELECT"}}, "metrics"),
        ({"rollout": {"waves": ["*"], "wave": 2, "minSuccess": 1, "withinMinutes": 1}}, "rollout"),
        ({"deployment": {"module": "scorer", "image": "scorer:latest"}}, "deployment"),
        (
            {"deployment": {"module": "scorer", "image": IMAGE, "routes": {"r": "FROM nowhere"}}, "layered": True},
            "deployment",
        ),
    ],
)
def test_what_is_wrong_is_refused(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(CheckError) as caught:
        Life(FleetDeploymentProvider()).preview(inputs(**wrong))
    assert set(caught.value.problems) == {where}


def test_an_image_that_is_not_built_yet_hides_nothing_else() -> None:
    unknown = {"module": "scorer", "image": Unknown()}
    assert Life(FleetDeploymentProvider()).preview(inputs(deployment=unknown)) == "create"
    with pytest.raises(CheckError, match="not allowed in a target condition"):
        Life(FleetDeploymentProvider()).preview(inputs(deployment=unknown, targetCondition="tags.a IN ['x']"))


@pytest.mark.parametrize(("target", "warned"), [("", True), ("  ", True), ("*", False)])
def test_an_empty_target_condition_is_warned_of(target: str, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, resource: said.append(text))
    monkeypatch.setattr(pulumi.dynamic.Resource, "__init__", lambda *arguments: None)
    FleetDeployment("fleet", inputs(targetCondition=target))  # type: ignore[arg-type]
    assert bool(said) is warned


@pytest.mark.parametrize(("wave", "told"), [(1, False), (2, True)])
def test_new_content_for_everybody_at_once_is_said(wave: int, told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    rollout = {"waves": ["deviceId = 'a'", "*"], "wave": wave, "minSuccess": 1, "withinMinutes": 1}
    life = Life(FleetDeploymentProvider())
    life.id, life.outs = "there", inputs(rollout=rollout)
    new = {"module": "scorer", "image": IMAGE, "env": {"LEVEL": 2}}
    assert life.preview(inputs(rollout=rollout, deployment=new)) == "update"
    assert ("goes to everybody at once" in capsys.readouterr().out) is told
    assert life.preview(inputs(rollout=rollout)) == "same"
    assert "everybody" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("had", "wave", "told"), [(3, 1, "that everybody has"), (2, 1, "goes from 2 to 1"), (1, 2, ""), (2, 3, "")]
)
def test_waves_that_go_back_are_said(had: int, wave: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    rollout = {"waves": ["deviceId = 'a'", "deviceId = 'b'", "*"], "wave": had, "minSuccess": 1, "withinMinutes": 1}
    life = Life(FleetDeploymentProvider())
    life.id, life.outs = "there", inputs(rollout=rollout)
    assert life.preview(inputs(rollout={**rollout, "wave": wave})) == "update"
    said = capsys.readouterr().out
    assert told in said
    assert bool(said) is bool(told)
