"""The pack under the real engine, by previews and by updates that it stops: nothing is built, no Docker needed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline import diagnostics
from tests.support import Project, local_azure
from tools import policy_pack

pytestmark = pytest.mark.engine

BAD = """module: scorer
    env: {API_TOKEN: hunter2}
    createOptions: {HostConfig: {Privileged: true}}
    edgeAgent: {image: "docker.io/x/agent:1.5"}"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with local_azure(tmp_path_factory.mktemp("policy")) as azure:
        yield Project.create(tmp_path_factory.mktemp("project") / "aml-edge", azure)


@pytest.fixture
def bad(project: Project) -> Iterator[Project]:
    """With settings that three rules refuse."""
    file = project.folder / "Pulumi.dev.yaml"
    text = file.read_text()
    assert "module: scorer" in text
    file.write_text(text.replace("module: scorer", BAD))
    yield project
    file.write_text(text)


def checked(project: Project, *command: str, levels: str = "dev") -> subprocess.CompletedProcess[str]:
    return project.pulumi(*command, "--stack", project.stack, *policy_pack.flags(levels), check=False)


def test_the_dev_stack_keeps_the_rules(project: Project) -> None:
    done = checked(project, "preview")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "aml-edge@v0.0.1" in done.stdout, "the pack ran"
    assert diagnostics.violations(done.stdout) == []


def test_prod_would_refuse_it(project: Project) -> None:
    done = checked(project, "preview", levels="prod")
    assert done.returncode != 0
    found = {(one.policy, one.resource, one.stops) for one in diagnostics.violations(done.stdout)}
    assert ("no-build", "image", True) in found
    assert ("stateful-protected", "hub", True) in found


@pytest.fixture
def prod(project: Project) -> Iterator[Project]:
    """Pulumi.prod.yaml as it is committed, with what a promotion writes."""
    file = project.folder / "Pulumi.prod.yaml"
    text = file.read_text()
    file.write_text(
        text.replace("    builder: none\n", f"    builder: none\n    ref: r.io/anomaly@sha256:{'a' * 64}\n")
    )
    made = replace(project, stack="prod")
    made.pulumi("stack", "select", "--create", "prod")
    yield made
    made.pulumi("stack", "select", "dev")
    file.write_text(text)


def test_prod_as_committed_keeps_every_rule(prod: Project) -> None:
    done = checked(prod, "preview", levels="prod")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "aml-edge@v0.0.1" in done.stdout, "the pack ran"
    assert diagnostics.violations(done.stdout) == []


def test_prod_without_its_protection_is_refused(prod: Project) -> None:
    prod.pulumi("config", "set", "aml-edge:protect", "false", "--stack", "prod")
    done = checked(prod, "preview", levels="prod")
    assert done.returncode != 0
    found = {one.resource for one in diagnostics.violations(done.stdout) if one.policy == "stateful-protected"}
    assert {"aml-edge", "registry", "ml", "mldata", "mlvault", "hub", "prod-1-identity"} <= found
    assert all(one.stops for one in diagnostics.violations(done.stdout))


def test_a_violation_stops_the_update_before_anything_is_made(bad: Project) -> None:
    """`up` previews first, and a preview with violations ends it; what is told does not repeat the secret."""
    with bad.azure.traffic() as seen:
        done = checked(bad, "up", "--yes")
    assert done.returncode != 0
    assert [line for line in seen[0].changes if "/msi/token" not in line] == []
    found = {one.policy: one for one in diagnostics.violations(done.stdout)}
    assert set(found) == {"container-confined", "image-by-digest", "no-secret-in-plain"}
    assert "the module 'scorer' asks for privileged mode. Fix: Remove it" in found["container-confined"].message
    assert "hunter2" not in "".join(one.message for one in found.values())
