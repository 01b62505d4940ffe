"""A rollout that fails on a real device: the old module is back and scores, the stack says what happened."""

from __future__ import annotations

import pytest
import yaml

from tests.engine.story import READINGS, score
from tests.support import Project, changes
from tests.waiting import PATIENCE, patiently
from tools import promotion, release
from tools.console import ToolError

pytestmark = [pytest.mark.engine, pytest.mark.docker]


def test_a_module_that_crashes_is_rolled_back(project: Project) -> None:
    project.up()
    script, stack = project.folder / "scoring" / "score.py", project.folder / "Pulumi.dev.yaml"
    good, settings, before = script.read_text(), stack.read_text(), project.outputs()

    def fail(seconds: float) -> str:
        """A slow start is no success: only what stays up for long is."""
        content = yaml.safe_load(settings)
        content["config"]["aml-edge:deployment"]["verify"] = {"timeoutSeconds": int(seconds), "stableSeconds": PATIENCE}
        stack.write_text(yaml.safe_dump(content))
        failed = project.up(check=False)
        assert failed.returncode != 0
        assert "deploy to the device edge-1" in failed.stdout, failed.stdout[-4000:]
        return failed.stdout

    script.write_text(
        good.replace("def init()", "def init():\n    raise RuntimeError('no such weights')\n\n\ndef old()", 1)
    )
    try:
        back = f"The device is back at the deployment of {before['imageRef']}"
        patiently(fail, f"{back}.*no such weights", deadlines=(25, 100, 300))
        assert len(score(project, READINGS)) == len(READINGS), "the old module scores"
        assert project.outputs() == before, "the outputs are those of the last update that succeeded"
        with pytest.raises(ToolError, match="dev is not fit to be promoted: its last update failed"):
            promotion.promote(project.azure.env, "dev", "staging", project=project.folder)
    finally:
        script.write_text(good)
        stack.write_text(settings)
    project.up()
    after = project.outputs()
    assert after["imageRef"] == before["imageRef"], "the good image was found again, not built"
    assert changes(project.preview()) == {}
    assert release.unfit(release.source(project.azure.env, "dev", project.folder)) == []
