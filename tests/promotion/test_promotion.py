"""Promotion's decisions, and its edit of the stack file by the real CLI."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tools import bringup, new_environment, policy_pack, promotion, pulumi, release
from tools.console import ToolError
from tools.release import Model, Release, Source

REF = "r.io/anomaly@sha256:" + "a" * 64
OLD = "r.io/anomaly@sha256:" + "b" * 64
HEALTHY = {
    "stack": "organization/aml-edge/dev",
    "imageRef": REF,
    "imageFingerprint": "f1",
    "modelId": "best_model:3",
    "deployments": {"e": {"health": "healthy", "history": [{"image": REF}, {"image": OLD}]}},
}
BUILT = {"type": release.BUILT, "inputs": {"mode": "package"}}
REGISTERED = {
    "type": release.MODEL,
    "urn": "urn:pulumi:dev::aml-edge::pulumi-python:dynamic/edge:RegisteredModel::model",
    "outputs": {"name": "best_model", "contentHash": "c" * 64, "modelId": "best_model:3"},
}
LINEAGE = "organization/aml-edge/dev best_model:3"
SUCCEEDED = {"kind": "update", "result": "succeeded"}


def source(
    outputs: dict[str, Any] | None = None, updates: Any = (SUCCEEDED,), resources: Any = (REGISTERED, BUILT)
) -> Source:
    config = {"aml-edge:image": {"objectValue": {"mode": "package"}}}
    return Source("dev", {**HEALTHY, **(outputs or {})}, resources, updates, config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"imageRef": "r.io/anomaly:1"}, "no image by digest"),
        ({"imageRef": None}, "no image by digest"),
        ({"deployments": {}}, "no deployment"),
        (
            {"deployments": {"e": {"health": "healthy"}, "f": {"health": "rolled back"}}},
            "deployment of f is rolled back",
        ),
        ({"deployments": {"e": {"health": "healthy", "history": [{"image": OLD}]}}}, f"e runs {OLD}, not {REF}"),
        ({"deployments": {"e": {"health": "not verified"}}}, "not verified"),
        ({"deployments": {"e": {}}}, "of unknown health"),
        ({"deployments": {"e": None}}, "of unknown health"),
    ],
)
def test_unhealthy(change: dict[str, Any], problem: str | None) -> None:
    found = release.unfit(source(change))
    assert bool(found) is bool(problem)
    assert problem is None or problem in found[0]


@pytest.mark.parametrize(
    ("rollout", "problem"),
    [
        ({"waves": ["tags.a='b'", "*"], "wave": 2}, None),
        ({"waves": ["tags.a='b'", "*"], "wave": 1}, "the fleet line has reached wave 1 of 2"),
        (None, "it has no rollout"),
    ],
)
def test_a_fleet_is_fit_when_its_rollout_has_reached_everybody(rollout: Any, problem: str | None) -> None:
    fleet = {"type": release.FLEET, "inputs": {"name": "line", "rollout": rollout}}
    found = release.unfit(source({"deployments": {}}, resources=(REGISTERED, BUILT, fleet)))
    assert bool(found) is bool(problem)
    assert problem is None or problem in found[0]


@pytest.mark.parametrize(
    ("updates", "fit"),
    [
        ([SUCCEEDED, {"kind": "update", "result": "failed"}], True),
        ([{"kind": "update", "result": "failed"}, SUCCEEDED], False),
        ([{"kind": "refresh", "result": "succeeded"}, {"kind": "update", "result": "failed"}], False),
        ([{"kind": "update", "result": "in-progress"}], False),
        ([{"kind": "update"}], False),
        ([], True),
    ],
)
def test_a_failed_update_leaves_old_outputs_that_look_healthy(updates: Any, fit: bool) -> None:
    assert bool(release.unfit(source(updates=updates))) is not fit


def test_an_update_under_way_is_seen_though_no_history_lists_it() -> None:
    begun = replace(source(), pending=[{"type": "updating", "resource": {}}])
    assert release.unfit(begun) == ["an update of it is under way or was cut off"]


def test_a_release_names_its_lineage() -> None:
    assert release.release(source()) == Release(REF, "f1", "package", (Model("", "c" * 64, LINEAGE),))
    with pytest.raises(ToolError, match="registered no model"):
        release.release(source(resources=()))


def test_the_way_an_image_starts_goes_with_it() -> None:
    """Images of the mode `package` are started by createOptions, in a stack that did not build them too."""
    assert release.release(source(resources=[REGISTERED])).mode == "package", "of a stack that promoted: its file's"
    docker = {"type": release.BUILT, "inputs": {"mode": ""}}
    assert release.release(source(resources=[REGISTERED, docker])).mode == "containerImage"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a staging stack of its own and a git history."""
    for name in ("Pulumi.yaml", "Pulumi.staging.yaml"):
        text = (ROOT / name).read_text()
        (tmp_path / name).write_text(new_environment._PROMOTED.sub("", text))  # whatever was promoted in this clone
    _git(tmp_path, "init", "-q")
    _commit(tmp_path)
    return tmp_path


def _git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


def _commit(folder: Path) -> None:
    _git(folder, "add", "-A")
    _git(folder, "commit", "-qm", "x")


def _values(folder: Path) -> dict[str, str]:
    (folder / ".git" / "state").mkdir(exist_ok=True)
    values = {
        "PULUMI_HOME": str(folder / ".git" / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / '.git' / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "local",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    promotion._call(values, folder, "stack", "select", "--create", "staging", "--non-interactive")
    return values


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_the_stack_files_edit_keeps_comments_and_order(name: str, project: Path) -> None:
    """And every other line: a pull request shows the promotion alone."""
    file = project / "Pulumi.staging.yaml"
    text = new_environment._PROMOTED.sub("", (ROOT / f"Pulumi.{name}.yaml").read_text())
    file.write_text(text.replace("name: anomaly", "name: anomaly # the product's name"))
    before = file.read_text().splitlines()
    wanted = release.release(source())
    promotion.write(_values(project), "staging", wanted, project)
    after = file.read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert [line.strip() for line in after if line not in before] == [
        f"contentHash: {'c' * 64}",
        f"promotedFrom: {LINEAGE}",
        "fingerprint: f1",
        "mode: package",
        f"ref: {REF}",
    ]
    assert release.read(file.read_text()) == wanted


def test_an_unhealthy_source_needs_a_reason_which_the_stack_file_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Release] = []
    monkeypatch.setattr(release, "source", lambda *_: source(updates=[{"kind": "update", "result": "failed"}]))
    monkeypatch.setattr(promotion, "_write_and_apply", lambda _values, _stack, wanted, *_: applied.append(wanted))
    for reason in ("", "  "):
        with pytest.raises(ToolError, match="its last update failed"):
            promotion.promote({}, "dev", "staging", force=reason)
    promotion.promote({}, "dev", "staging", force="the line stands still")
    assert [model.lineage for model in applied[0].models] == [f"{LINEAGE} (forced: the line stands still)"]


SECOND = {
    "type": release.MODEL,
    "urn": f"{REGISTERED['urn']}-filter",
    "outputs": {"name": "filter", "contentHash": "e" * 64, "modelId": "filter:7"},
}


def test_every_model_of_the_image_is_pinned(project: Path) -> None:
    wanted = release.release(source(resources=(SECOND, REGISTERED)))
    file = project / "Pulumi.staging.yaml"
    with pytest.raises(ToolError, match=r"aml-edge:models of Pulumi\.staging\.yaml lacks filter"):
        wanted.settings(file)
    listed = "  aml-edge:models:\n    - path: scoring/other.pkl\n    - path: scoring/filter.pkl\n"
    file.write_text(file.read_text().replace("  aml-edge:image:\n", f"{listed}  aml-edge:image:\n"))
    promotion.write(_values(project), "staging", wanted, project)
    assert release.read(file.read_text()) == wanted
    assert wanted.models[1] == Model("filter", "e" * 64, "organization/aml-edge/dev filter:7")


def test_rollback_finds_what_was_committed_before(project: Path) -> None:
    values, old, new = (
        _values(project),
        Release(OLD, "f0", "package", (Model("", "d" * 64, "dev m:1"),)),
        Release(REF, "f1", "package", (Model("", "c" * 64, "dev m:2"),)),
    )
    with pytest.raises(ToolError, match="no other image"):
        release.before("staging", project)
    for one in (old, new):
        promotion.write(values, "staging", one, project)
        _commit(project)
    assert release.before("staging", project) == old
    promotion.write(values, "staging", old, project)
    assert release.before("staging", project) == new, "the way back from a way back"


def test_rollback_passes_over_a_file_that_could_not_be_read(project: Path) -> None:
    promotion.write(_values(project), "staging", Release(OLD, "f0", "package", ()), project)
    _commit(project)
    file = project / "Pulumi.staging.yaml"
    text = file.read_text()
    file.write_text("config: [")
    _commit(project)
    file.write_text(text.replace(OLD, REF))
    assert release.before("staging", project).ref == OLD


@pytest.mark.parametrize("name", ["", "nosuch", "../staging", "staging "])
def test_a_stack_that_nobody_described_is_not_made(name: str, project: Path) -> None:
    with pytest.raises(ToolError, match=r"one of:? staging"):
        promotion.promote({}, "dev", name, project=project)
    assert sorted(path.name for path in project.glob("Pulumi.*.yaml")) == ["Pulumi.staging.yaml"]


def test_making_a_stack_leaves_the_selected_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make promote TO=prod` must not turn the next plain `pulumi destroy` into one of prod."""
    monkeypatch.chdir(project)
    values = _values(project)
    monkeypatch.setattr(bringup, "call", functools.partial(bringup.call, folder=project))
    monkeypatch.setattr(pulumi, "read", functools.partial(pulumi.read, project=project))
    for _ in range(2):
        bringup.make_stack(values, "prod")
    stacks = {one["name"]: one["current"] for one in pulumi.read(values, "stack", "ls", "--json")}
    assert stacks == {"prod": False, "staging": True}


def test_a_promotion_that_is_refused_leaves_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, text = _values(project), (project / "Pulumi.staging.yaml").read_text()
    monkeypatch.setattr(policy_pack, "flags", lambda *_: [])
    with pytest.raises(ToolError, match="preview"):  # there is no program in this folder
        promotion._write_and_apply(values, "staging", release.release(source()), True, project)
    assert (project / "Pulumi.staging.yaml").read_text() == text


@pytest.mark.parametrize("source", ["dev", "organization/aml-edge/dev"])
def test_a_stack_is_not_promoted_to_itself(source: str) -> None:
    with pytest.raises(ToolError, match="the same stack"):
        promotion.promote({}, source, "dev")
