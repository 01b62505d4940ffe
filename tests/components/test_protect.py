"""`aml-edge:protect` and `aml-edge:tags` on the whole program: what cannot be made again is protected, everything in Azure is tagged."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.stateful import LOSSES
from policy.rules.state import STATEFUL
from tests.components.test_program import AZURE, COMPONENT, Run, run

TAGS = {"environment": "prod"}
UNTAGGED = {"authorization:RoleAssignment"}
REPEATABLE = {"RoleAssignment", "RegistryCredentials", "RegisteredModel", "ModelImage", "EdgeDeployment"}


@pytest.fixture(scope="module")
def kept() -> Run:
    made = run(protect=True, tags=TAGS, roleAssignments=True, fleetDevices=[{"id": "line-1"}])
    assert made.error is None, made.error
    return made


def _made(one: Run) -> list[dict[str, Any]]:
    return [resource for resource in one.resources if not resource["type"].startswith(COMPONENT)]


def test_what_cannot_be_made_again_is_protected(kept: Run) -> None:
    protected = {one["type"] for one in _made(kept) if one["protect"]}
    assert protected == STATEFUL, "the policy asks for what the setting does"
    assert {one["type"].rpartition(":")[2] for one in _made(kept) if not one["protect"]} == REPEATABLE
    assert set(LOSSES) >= STATEFUL, "and the comment warns of it"


def test_without_the_setting_nothing_is() -> None:
    assert not any(one["protect"] for one in run().resources)


def test_every_azure_resource_is_tagged(kept: Run) -> None:
    azure = [one for one in kept.resources if one["type"].startswith(AZURE)]
    untagged = {one["type"].removeprefix(AZURE) for one in azure if one["inputs"].get("tags") != TAGS}
    assert untagged == UNTAGGED


def test_without_tags_nothing_is_sent() -> None:
    made = run(tags={})
    assert made.error is None, made.error
    assert not any("tags" in one["inputs"] for one in made.resources if one["type"].startswith(AZURE))
