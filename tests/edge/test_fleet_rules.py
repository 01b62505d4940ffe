"""Ids, labels and waves of fleet deployments, and the rules of their settings."""

from __future__ import annotations

from typing import Any

import pytest

from components.edge import fleet


def rollout(wave: int, **other: Any) -> dict[str, Any]:
    waves = ["tags.r = 'a'", "tags.r = 'b'", "*"]
    return {"waves": waves, "wave": wave, "minSuccess": 0.98, "withinMinutes": 30, **other}


def settings(**other: Any) -> dict[str, Any]:
    return {"name": "anomaly", "targetCondition": "tags.a = 1", "priority": 10, **other}


def test_an_id_is_made_of_content_and_generation() -> None:
    assert fleet.configuration_id("anomaly", "0123456789abcdef", 2) == "anomaly-0123456789ab-2"


def test_the_devices_of_each_wave() -> None:
    assert fleet.reached("tags.a = 1", rollout(1)) == "(tags.a = 1) AND (tags.r = 'a')"
    assert fleet.reached("tags.a = 1", rollout(2)) == "(tags.a = 1) AND ((tags.r = 'a') OR (tags.r = 'b'))"
    assert fleet.reached("tags.a = 1", rollout(3)) == "tags.a = 1"
    assert fleet.reached("tags.a = 1", None) == "tags.a = 1"
    assert fleet.reached("", rollout(1)) == "", "nobody is nobody in any wave"
    assert [fleet.part(rollout(wave)) for wave in (1, 3)] == ["wave-1-of-3", fleet.EVERYBODY]


def test_good_settings() -> None:
    metrics = {"down": "SELECT deviceId FROM devices WHERE tags.x = 1"}
    assert fleet.problems(settings(labels={"team": "ml"}, metrics=metrics, rollout=rollout(2))) == []


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"name": "Anomaly"}, "name"),
        ({"name": "a" * 61}, "name"),
        ({"targetCondition": "tags.a IN [1]"}, "targetCondition"),
        ({"priority": -1}, "priority"),
        ({"priority": True}, "priority"),
        ({"labels": {"managedFor": "x"}}, "labels.managedFor"),
        ({"labels": {"team": "a b"}}, "labels.team"),
        ({"metrics": {"m": "SELECT"}}, "metrics.m"),
        ({"metrics": {f"m{n}": "SELECT deviceId FROM devices" for n in range(6)}}, "metrics"),
        ({"rollout": rollout(0)}, "rollout.wave"),
        ({"rollout": rollout(4)}, "rollout.wave"),
        ({"rollout": rollout(1, waves=["tags.r = 'a'"])}, "rollout.waves"),
        ({"rollout": rollout(1, waves=["*", "*"])}, "rollout.waves[0]"),
        ({"rollout": rollout(1, waves=["", "*"])}, "rollout.waves[0]"),
        ({"rollout": rollout(1, waves=['tags.r = "a"', "*"])}, "rollout.waves[0]"),
        ({"rollout": rollout(1, minSuccess=1.1)}, "rollout.minSuccess"),
        ({"rollout": rollout(1, minSuccess=0)}, "rollout.minSuccess"),
        ({"rollout": rollout(1, withinMinutes=0)}, "rollout.withinMinutes"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], path: str) -> None:
    assert [found for found, _ in fleet.problems(settings(**wrong))] == [path]
