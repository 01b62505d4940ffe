"""Every builder on a live stack, by the stack file alone: the device runs what the new one built, the way back builds nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.engine.story import READINGS, score
from tests.support import Project, changes

pytestmark = [pytest.mark.engine, pytest.mark.docker]


@pytest.fixture(scope="module")
def before(project: Project) -> Iterator[dict[str, str]]:
    """The stack's outputs, as the builder of its stack file made it; afterwards all is as it was."""
    project.up()
    files = [project.folder / name for name in ("Pulumi.dev.yaml", "scoring/score.py")]
    kept = {file: file.read_text() for file in files}
    yield project.outputs()
    for file, text in kept.items():
        file.write_text(text)
    project.up()


def build_with(project: Project, **image: object) -> None:
    file = project.folder / "Pulumi.dev.yaml"
    stack = yaml.safe_load(file.read_text())
    stack["config"]["aml-edge:image"].update(image)
    file.write_text(yaml.safe_dump(stack))


@pytest.mark.parametrize(
    ("builder", "mode"),
    [("docker", "containerImage"), ("acr", "containerImage"), ("azureml", "package"), ("azureml", "containerImage")],
)
def test_the_builder_is_one_setting(project: Project, before: dict[str, str], builder: str, mode: str) -> None:
    # The first image as the base: it holds the environment already, so that pip has nothing to do.
    build_with(project, builder=builder, mode=mode, baseImage=before["imageRef"], keepImages=9)
    script = project.folder / "scoring" / "score.py"
    text = script.read_text().partition("\n# built by")[0]
    script.write_text(
        text if builder == "azureml" else f"{text}\n# built by {builder}, which else would find the other's\n"
    )
    assert changes(project.preview()) == {"image": "update", "edge-1-deployment": "update"}
    with project.azure.traffic() as seen:
        project.up()
    after = project.outputs()
    assert after["deployments"]["edge-1"]["health"] == "healthy"
    assert len(score(project, READINGS)) == len(READINGS)
    with project.azure.traffic() as again:
        project.up()
    assert [line for line in again[0].changes if "/msi/token" not in line] == [], "no upload, no build, no push"
    runs = [line for line in seen[0].changes if line.partition(" -> ")[0].endswith("/scheduleRun")]
    assert len(runs) == (3 if builder == "acr" else 0)
    if (builder, mode) == ("azureml", "containerImage"):
        assert after["imageRef"] == before["imageRef"], "found again, not built"
