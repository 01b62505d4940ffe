"""A second stack on what the first one made: looked up, used, never changed, never deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from tests.support import Project, changes

pytestmark = [pytest.mark.engine, pytest.mark.docker]


def write(other: Project, **settings: object) -> None:
    path = other.folder / f"Pulumi.{other.stack}.yaml"
    content = yaml.safe_load(path.read_text()) if path.exists() else {}
    config = {"azure-native:location": "westeurope", **{f"aml-edge:{key}": value for key, value in settings.items()}}
    path.write_text(yaml.safe_dump({**content, "config": config}))


def names(project: Project) -> dict[str, str]:
    """Names of what the first stack made."""
    outputs = project.outputs()
    return {
        "workspace": json.loads(outputs["workspaceConfig"])["workspace_name"],
        "hub": outputs["hubId"].rpartition("/")[2],
        "registry": outputs["registryUsername"],
    }


@pytest.fixture(scope="module")
def other(project: Project) -> Iterator[Project]:
    project.up()
    made = replace(project, stack="other")
    made.pulumi("stack", "select", "--create", "other")
    yield made
    made.pulumi("stack", "select", project.stack)


IMAGE = {"name": "second", "builder": "azureml", "mode": "containerImage"}


@pytest.mark.parametrize("kind", ["workspace", "registry", "hub"])
def test_what_does_not_exist_fails_at_preview(other: Project, kind: str) -> None:
    write(other, model={"path": "scoring/model.pkl"}, image=IMAGE, **{kind: {"existing": "nowhere"}})
    done = other.pulumi("preview", "--stack", "other", check=False)
    assert done.returncode != 0
    assert "could not find the" in done.stdout
    assert "'nowhere'" in done.stdout
    assert "the subscription" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_model_that_does_not_exist_fails_at_preview(other: Project, project: Project) -> None:
    write(other, workspace={"existing": names(project)["workspace"]}, model={"existing": "nowhere:7"}, image=IMAGE)
    done = other.pulumi("preview", "--stack", "other", check=False)
    assert done.returncode != 0
    assert "nowhere" in done.stdout


def test_everything_that_exists_is_used_and_left_alone(other: Project, project: Project) -> None:
    there = names(project)
    config = project.folder / "config.json"
    config.write_text(project.outputs()["workspaceConfig"])
    write(
        other,
        workspace={"existing": "config.json"},
        registry={"existing": there["registry"]},
        hub={"existing": there["hub"]},
        model={"existing": "best_model"},
        image=IMAGE,
        devices=[{"id": "edge-2"}],
    )
    planned = changes(other.preview())
    assert set(planned.values()) == {"create"}
    assert not {"aml-edge", "model", "mldata", "mlvault"} & planned.keys(), "nothing that exists is made again"
    other.up()
    assert other.outputs()["modelId"] == project.outputs()["modelId"]
    assert other.outputs()["deployments"]["edge-2"]["health"] == "healthy"
    assert changes(other.preview()) == {}
    assert changes(project.preview()) == {}, "the first stack sees no change"
    other.destroy()
    assert changes(project.preview()) == {}
    project.refresh()
    assert changes(project.preview()) == {}, "destroy left all that it had only looked up"
