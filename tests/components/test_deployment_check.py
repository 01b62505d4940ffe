"""What previews say of a deployment: no hub, no device, no Docker."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.output import Unknown

from components.deployment import EdgeDeploymentProvider
from tests.components.life import CheckError, Life

IMAGE = f"contoso.azurecr.io/anomaly@sha256:{'a' * 64}"
LOGIN = {"address": "contoso.azurecr.io", "username": "contoso", "password": "the-password"}
UNKNOWN = Unknown()


def wanted(image: Any = IMAGE, registries: Any = None, **deployment: Any) -> dict[str, Any]:
    return {
        "hubId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h",
        "deviceId": "edge-1",
        "deployment": {"module": "scorer", "image": image, **deployment},
        "registries": [LOGIN] if registries is None else registries,
        "verify": {"timeoutSeconds": 30},
        "onFailure": "rollback",
    }


@pytest.fixture
def life() -> Life:
    return Life(EdgeDeploymentProvider())


@pytest.mark.parametrize("image", [IMAGE, UNKNOWN])
@pytest.mark.parametrize("registries", [[LOGIN], UNKNOWN, [{**LOGIN, "password": UNKNOWN}], []])
def test_a_good_one_passes_whatever_is_not_known_yet(life: Life, image: Any, registries: Any) -> None:
    checked = life.check(wanted(image, registries, startupOrder=1))
    assert checked["deployment"]["startupOrder"] == 1
    assert isinstance(checked["deployment"]["startupOrder"], int)


@pytest.mark.parametrize("deployment", [UNKNOWN, {"module": "scorer", "image": UNKNOWN, "env": {"A": UNKNOWN}}])
def test_settings_that_are_not_known_yet_wait(life: Life, deployment: Any) -> None:
    life.check({**wanted(), "deployment": deployment})


@pytest.mark.parametrize("image", [IMAGE, UNKNOWN])
def test_invalid_settings_are_reported_though_the_image_is_unknown(life: Life, image: Any) -> None:
    with pytest.raises(CheckError, match="startupOrder"):
        life.check(wanted(image, startupOrder=-1))
    with pytest.raises(CheckError, match="module name"):
        life.check(wanted(image, module="$edgeAgent"))
    with pytest.raises(CheckError, match="routes"):
        life.check(wanted(image, routes={"in": "FROM nowhere"}))


def test_an_image_by_tag_is_refused(life: Life) -> None:
    with pytest.raises(CheckError, match="never with a tag"):
        life.check(wanted("contoso.azurecr.io/anomaly:1"))


def test_a_problem_never_shows_the_password(life: Life) -> None:
    with pytest.raises(CheckError) as caught:
        life.check(wanted(registries=[{**LOGIN, "username": ""}], startupOrder=-1))
    assert "the-password" not in str(caught.value)


def test_how_it_is_verified_is_no_change_and_what_runs_is() -> None:
    life = Life(EdgeDeploymentProvider())
    life.id, life.outs = "x", {**wanted(), "version": 3, "health": "healthy", "applied": []}
    assert life.preview({**wanted(), "verify": {"timeoutSeconds": 60}, "onFailure": "keep"}) == "same"
    assert life.preview(wanted(env={"A": 1})) == "update"
    assert life.preview(wanted(UNKNOWN)) == "update"
    assert life.preview(wanted(registries=[{**LOGIN, "password": "new"}])) == "update", "devices must pull with it"
    assert life.preview({**wanted(), "deviceId": "edge-2"}) == "replace"
