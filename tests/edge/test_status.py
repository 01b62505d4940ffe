"""The verdict in every situation that edgeAgent's documentation tells apart."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.edge import manifest
from components.edge.status import describe, judge

IMAGE = "reg.azurecr.io/anomaly@sha256:" + "0" * 64
OLD_IMAGE = "reg.azurecr.io/anomaly@sha256:" + "1" * 64
PASSWORD = "hunter2+/="
VERSION = 11


def desired(**changes: Any) -> dict[str, Any]:
    login: manifest.Credential = {"address": "reg.azurecr.io", "username": "reg", "password": PASSWORD}
    rendered = manifest.render({"module": "scorer", "image": IMAGE}, {"reg": login})
    properties: dict[str, Any] = rendered["modulesContent"]["$edgeAgent"]["properties.desired"]
    properties["modules"]["scorer"] |= changes
    return {**properties, "$version": VERSION}


def reported(
    code: int | None = 200, version: int | None = VERSION, description: str = "", **scorer: Any
) -> dict[str, Any]:
    """Reported properties as edgeAgent writes them after success, with changes to the scorer."""
    module = {
        "exitCode": 0,
        "statusDescription": "running",
        "restartCount": 0,
        "runtimeStatus": "running",
        "status": "running",
        "restartPolicy": "always",
        "type": "docker",
        "settings": {"image": IMAGE, "imageHash": "sha256:22", "createOptions": "{}"},
    }
    hub_image = f"mcr.microsoft.com/azureiotedge-hub:{manifest.RUNTIME_VERSION}"
    properties: dict[str, Any] = {
        "schemaVersion": "1.0",
        "systemModules": {
            "edgeAgent": {"runtimeStatus": "unknown", "settings": {"image": "whatever"}},
            "edgeHub": copy.deepcopy(module) | {"settings": {"image": hub_image}},
        },
        "modules": {"scorer": module | scorer},
        "$version": 196,
    }
    if version is not None:
        properties["lastDesiredVersion"] = version
    if code is not None:
        properties["lastDesiredStatus"] = {"code": code, "description": description}
    return properties


def test_everything_as_wanted_is_healthy() -> None:
    verdict = judge(VERSION, desired(), reported())
    assert verdict.state == "healthy"
    assert verdict.modules == {"edgeHub": "running", "scorer": "running"}
    assert describe(verdict) == "healthy: the device runs what was asked for (edgeHub running, scorer running)"


def test_numbers_may_be_floats() -> None:
    assert judge(float(VERSION), desired(), reported(200.0, float(VERSION))).state == "healthy"  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [200, 400, 412, 500])
def test_a_report_about_an_older_version_says_nothing_about_ours(code: int) -> None:
    verdict = judge(VERSION, desired(), reported(code, VERSION - 1, "an old story"))
    assert verdict.state == "waiting"
    assert "has not taken up version 11; it last reported version 10" in verdict.reason
    assert "old story" not in describe(verdict)


@pytest.mark.parametrize(
    ("code", "said"), [(417, "not received any deployment"), (406, "not running"), (None, "never reported")]
)
def test_a_device_that_has_not_connected(code: int | None, said: str) -> None:
    fresh = {"lastDesiredStatus": {"code": code}} if code else {}
    verdict = judge(VERSION, desired(), fresh)
    assert verdict.state == "waiting"
    assert said in verdict.reason


@pytest.mark.parametrize("code", [406, 417])
def test_an_agent_that_is_away_is_waited_for(code: int) -> None:
    assert judge(VERSION, desired(), reported(code)).state == "waiting"


def test_a_newer_deployment_ends_the_wait() -> None:
    verdict = judge(VERSION, desired(), reported(200, VERSION + 1))
    assert verdict.state == "failed"
    assert "another deployment (version 12) replaced version 11" in verdict.reason


@pytest.mark.parametrize(("code", "said"), [(400, "cannot read the manifest"), (412, "schema version")])
def test_a_manifest_that_the_device_refuses_fails_at_once(code: int, said: str) -> None:
    verdict = judge(VERSION, desired(), reported(code, description="Value cannot be null"))
    assert verdict.state == "failed"
    assert said in verdict.reason
    assert "Value cannot be null" in verdict.reason


def test_500_is_not_final_and_tells_why() -> None:
    verdict = judge(
        VERSION, desired(), reported(500, description="pull\n failed:  unauthorized", settings={"image": OLD_IMAGE})
    )
    assert verdict.state == "waiting"
    assert verdict.reason.endswith("(500): pull failed: unauthorized")
    assert verdict.modules["scorer"] == f"still has {OLD_IMAGE}"


def test_500_is_not_success_even_if_everything_runs() -> None:
    assert judge(VERSION, desired(), reported(500)).state == "waiting"


def test_no_status_or_a_new_code_is_waited_for() -> None:
    assert judge(VERSION, desired(), reported(None)).state == "waiting"
    assert "(299)" in judge(VERSION, desired(), reported(299)).reason


def test_a_module_that_is_not_there_yet() -> None:
    properties = reported()
    del properties["modules"]["scorer"]
    verdict = judge(VERSION, desired(), properties)
    assert (verdict.state, verdict.modules["scorer"]) == ("waiting", "not created yet")


def test_the_old_image_running_is_not_success() -> None:
    verdict = judge(VERSION, desired(), reported(settings={"image": OLD_IMAGE}))
    assert (verdict.state, verdict.reason) == ("waiting", "for scorer")


@pytest.mark.parametrize("status", ["unknown", "unhealthy", "backoff", "failed", "dead", "stopped"])
def test_an_old_container_never_fails_the_new_deployment(status: str) -> None:
    old = reported(settings={"image": OLD_IMAGE}, runtimeStatus=status)
    assert judge(VERSION, desired(restartPolicy="never"), old).state == "waiting"


@pytest.mark.parametrize(
    ("policy", "status", "state"),
    [
        ("always", "backoff", "waiting"),
        ("always", "failed", "waiting"),
        ("always", "stopped", "waiting"),
        ("always", "unknown", "waiting"),
        ("always", "unhealthy", "waiting"),
        ("on-failure", "backoff", "waiting"),
        ("on-failure", "failed", "waiting"),
        ("on-failure", "stopped", "failed"),
        ("on-unhealthy", "stopped", "failed"),
        ("never", "failed", "failed"),
        ("never", "dead", "failed"),
        ("never", "stopped", "failed"),
        ("never", "unknown", "waiting"),
        ("never", "running", "healthy"),
    ],
)
def test_restart_policies_decide_what_is_final(policy: str, status: str, state: str) -> None:
    verdict = judge(VERSION, desired(restartPolicy=policy), reported(runtimeStatus=status, exitCode=1))
    assert verdict.state == state
    if state == "failed":
        assert "scorer" in verdict.reason
        assert "exit code 1" in verdict.modules["scorer"]


def test_a_module_that_shall_be_stopped() -> None:
    assert judge(VERSION, desired(status="stopped"), reported(runtimeStatus="stopped")).state == "healthy"
    assert judge(VERSION, desired(status="stopped"), reported()).state == "waiting"
    assert (
        judge(VERSION, desired(status="stopped", restartPolicy="never"), reported(runtimeStatus="failed")).state
        == "waiting"
    )


def test_edge_hub_must_run_what_was_asked_for() -> None:
    properties = reported()
    properties["systemModules"]["edgeHub"]["runtimeStatus"] = "backoff"
    assert judge(VERSION, desired(), properties).reason == "for edgeHub"
    properties = reported()
    properties["systemModules"]["edgeHub"]["settings"]["image"] = "mcr.microsoft.com/azureiotedge-hub:1.0"
    assert judge(VERSION, desired(), properties).state == "waiting"
    del properties["systemModules"]
    assert judge(VERSION, desired(), properties).state == "waiting"


def test_an_image_without_a_tag_is_completed_as_the_agent_does() -> None:
    wanted = desired(settings={"image": "reg.example.com:5000/x"})
    assert judge(VERSION, wanted, reported(settings={"image": "reg.example.com:5000/x:latest"})).state == "healthy"


def test_only_the_modules_that_were_asked_for() -> None:
    properties = reported()
    properties["modules"] = {}
    assert judge(VERSION, desired(), properties, []).state == "healthy"
    assert judge(VERSION, desired(), properties, ["scorer"]).state == "waiting"
    assert judge(VERSION, desired(), properties, ["nobody"]).state == "failed"


def test_a_description_is_one_short_line_without_the_password() -> None:
    verdict = judge(VERSION, desired(), reported(500, description=f"login {PASSWORD} refused\n" + "x" * 1000))
    line = describe(verdict)
    assert PASSWORD not in line
    assert "\n" not in line
    assert len(line) < 500


def test_the_line_does_not_change_with_counters_and_times() -> None:
    lines = {
        describe(
            judge(
                VERSION,
                desired(),
                reported(runtimeStatus="backoff", exitCode=1, restartCount=n, lastExitTimeUtc=str(n)),
            )
        )
        for n in range(3)
    }
    assert lines == {"waiting: for scorer (edgeHub running, scorer backoff (exit code 1))"}
