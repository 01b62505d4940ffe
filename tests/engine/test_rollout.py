"""A rollout that fails on a real device: the old module is back and scores, the stack says what happened."""

from __future__ import annotations

import pytest

from tests.engine.story import READINGS, score
from tests.support import Project, changes
from tools import promotion, release
from tools.console import ToolError

pytestmark = [pytest.mark.engine, pytest.mark.docker]


@pytest.fixture(scope="module", autouse=True)
def _quick_deadline(project: Project) -> None:
    stack = project.folder / "Pulumi.dev.yaml"
    stack.write_text(stack.read_text().replace("timeoutSeconds: 300", "timeoutSeconds: 25"))
    project.up()


def test_a_module_that_crashes_is_rolled_back(project: Project) -> None:
    script = project.folder / "scoring" / "score.py"
    good, before = script.read_text(), project.outputs()
    script.write_text(
        good.replace("def init()", "def init():\n    raise RuntimeError('no such weights')\n\n\ndef old()", 1)
    )
    try:
        failed = project.up(check=False)
        assert failed.returncode != 0
        assert "deploy to the device edge-1" in failed.stdout, failed.stdout[-4000:]
        assert f"The device is back at the deployment of {before['imageRef']}" in failed.stdout
        assert "no such weights" in failed.stdout, failed.stdout[-9000:]
        assert len(score(project, READINGS)) == len(READINGS), "the old module scores"
        assert project.outputs() == before, "the outputs are those of the last update that succeeded"
        with pytest.raises(ToolError, match="dev is not fit to be promoted: its last update failed"):
            promotion.promote(project.azure.env, "dev", "staging", project=project.folder)
    finally:
        script.write_text(good)
    project.up()
    after = project.outputs()
    assert after["imageRef"] == before["imageRef"], "the good image was found again, not built"
    assert changes(project.preview()) == {}
    assert release.unfit(release.source(project.azure.env, "dev", project.folder)) == []
