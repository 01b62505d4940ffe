"""dev -> staging -> prod on one machine: one digest in three registries, three devices that score, and the ways back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from components.services import registry
from components.services.aml import client
from tests.engine.story import READINGS, score
from tests.services.cloud import environment
from tests.support import LocalAzure, Project, changes, run
from tools import promotion

pytestmark = [pytest.mark.engine, pytest.mark.docker]
DEVICES = {"dev": "edge-1", "staging": "staging-1", "prod": "prod-1"}


@dataclass(frozen=True)
class Stages:
    """The three stacks of one project in one local Azure, their stack files under git."""

    dev: Project
    staging: Project
    prod: Project

    def promote(self, source: str, target: str) -> None:
        promotion.promote(self.dev.azure.env, source, target, yes=True, project=self.dev.folder)
        self.git("commit", "-qam", f"Promote {source} to {target}")

    def git(self, *arguments: str) -> str:
        name = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
        command = ["git", *name, *arguments]
        return subprocess.run(command, cwd=self.dev.folder, check=True, capture_output=True, text=True).stdout


def digest(stage: Project) -> str:
    return str(stage.outputs()["imageRef"]).partition("@")[2]


def held(stage: Project, wanted: str) -> bool:
    """Whether the stage's own registry has the image."""
    return registry.digest(_login(stage), "anomaly", wanted) is not None


def forget(stage: Project, unwanted: str) -> None:
    registry.delete_manifest(_login(stage), "anomaly", unwanted)


def _login(stage: Project) -> registry.Credentials:
    shown = stage.outputs(secrets=True)
    return registry.Credentials(shown["loginServer"], shown["registryUsername"], shown["registryPassword"])


def scores(stage: Project) -> bool:
    return len(score(stage, READINGS, DEVICES[stage.stack])) == len(READINGS)


@pytest.fixture(scope="module")
def stages(azure: LocalAzure, project: Project) -> Iterator[Stages]:
    project.up()
    made = Stages(project, replace(project, stack="staging"), replace(project, stack="prod"))
    for name in DEVICES:
        file = project.folder / f"Pulumi.{name}.yaml"
        file.write_text(file.read_text().replace("timeoutSeconds: 300", "timeoutSeconds: 300\n      stableSeconds: 2"))
        project.pulumi("stack", "select", "--create", name)
    made.git("init", "-q")
    made.git("add", "Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.staging.yaml", "Pulumi.prod.yaml")
    made.git("commit", "-qm", "Begin")
    with environment(azure.env):  # what this file itself asks the registries
        yield made
    project.pulumi("state", "unprotect", "--all", "--yes", "--stack", "prod", check=False)
    for stage in (made.prod, made.staging):
        stage.destroy()
    project.pulumi("stack", "select", "dev")


def test_one_digest_goes_from_dev_to_staging_to_prod(stages: Stages) -> None:
    three = (stages.dev, stages.staging, stages.prod)
    with stages.dev.azure.traffic() as seen:
        stages.promote("organization/aml-edge/dev", "staging")
        stages.promote("staging", "prod")
    assert not [line for line in seen[0].changes if "/images" in line or "schedulerun" in line.lower()], (
        "nothing is built"
    )
    assert len({digest(stage) for stage in three}) == 1
    assert all(held(stage, digest(stage)) for stage in three)
    tag = stages.prod.outputs()["imageFingerprint"]
    assert registry.digest(_login(stages.prod), "anomaly", tag) == digest(stages.prod), "tagged by its fingerprint"
    for key in ("loginServer", "hubId", "workspaceConfig"):
        assert len({stage.outputs()[key] for stage in three}) == 3, f"each has its own {key}"
    for stage in three:
        assert stage.outputs()["deployments"][DEVICES[stage.stack]]["health"] == "healthy"
        assert scores(stage)
        assert changes(stage.preview()) == {}


def test_the_model_is_registered_with_its_lineage(stages: Stages) -> None:
    for stage, source in ((stages.staging, "dev"), (stages.prod, "staging")):
        workspace = json.loads(stage.outputs()["workspaceConfig"])
        model = client.call(workspace, "get_model", {"model_id": stage.outputs()["modelId"]})
        assert model["tags"]["promotedFrom"] == f"organization/aml-edge/{source} best_model:1"


def test_another_program_finds_a_stack_by_its_name(stages: Stages) -> None:
    """`get_organization()/project/stack`, which a StackReference takes."""
    name = stages.prod.outputs()["stack"]
    assert name == "organization/aml-edge/prod"
    folder = stages.dev.folder.parent / "reader"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: reader\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (folder / ".venv").symlink_to(stages.dev.folder / ".venv")
    (folder / "__main__.py").write_text(
        f"import pulumi\npulumi.export('runs', pulumi.StackReference({name!r}).require_output('imageRef'))\n"
    )
    env = stages.dev.azure.env
    run(["pulumi", "stack", "init", "main", "--non-interactive"], folder, env)
    run(["pulumi", "up", "--yes", "--skip-preview", "--stack", "main", "--non-interactive"], folder, env)
    done = run(["pulumi", "stack", "output", "runs", "--stack", "main", "--non-interactive"], folder, env)
    assert done.stdout.strip() == stages.prod.outputs()["imageRef"]


def test_prod_goes_back_although_its_sources_have_deleted_the_image(stages: Stages) -> None:
    old = digest(stages.prod)
    script = stages.dev.folder / "scoring" / "score.py"
    text = script.read_text()
    script.write_text(text + "\n# a second release\n")
    stages.dev.up()
    script.write_text(text)  # neither the script nor the model of a release is needed where it goes to
    stages.promote("dev", "staging")
    stages.promote("staging", "prod")
    new = digest(stages.prod)
    assert new == digest(stages.dev) != old
    forget(stages.dev, old)
    forget(stages.staging, old)
    with stages.dev.azure.traffic() as seen:
        promotion.rollback(stages.dev.azure.env, "prod", yes=True, project=stages.dev.folder)
    assert digest(stages.prod) == old
    assert scores(stages.prod)
    assert not [line for line in seen[0].changes if "importimage" in line.lower()]
    stages.git("commit", "-qam", "Roll prod back")
    assert stages.git("diff", "--stat", "HEAD~2", "--", "Pulumi.prod.yaml") == "", "the file is the one of before"

    stages.git("revert", "--no-edit", "HEAD")
    stages.prod.up()
    assert digest(stages.prod) == new, "git revert and pulumi up are a way back too"
    assert scores(stages.prod)


def test_what_prod_cannot_make_again_is_protected(stages: Stages) -> None:
    refused = stages.prod.pulumi("destroy", "--yes", "--stack", "prod", check=False)
    assert refused.returncode != 0
    assert "protected" in refused.stdout + refused.stderr
    file = stages.prod.folder / "components" / "workspace.py"
    text = file.read_text()
    file.write_text(text.replace('f"{name}vault"', 'f"{name}vault2"'))
    try:
        refused = stages.prod.pulumi("preview", "--stack", "prod", check=False)
    finally:
        file.write_text(text)
    assert refused.returncode != 0
    assert "unable to replace resource" in refused.stdout + refused.stderr
    assert scores(stages.prod)
