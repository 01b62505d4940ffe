"""The life of the dev stack under the real engine: up, nothing to do, an edit, refresh, secrets, destroy."""

from __future__ import annotations

import json
import re
import sys

import docker
import pytest

from tests.engine.secrets import canaries, leaks
from tests.engine.story import READINGS, containers, score
from tests.support import Project, changes, run
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.engine, pytest.mark.docker]


@pytest.fixture(scope="module", autouse=True)
def _brought_up(project: Project) -> None:
    done = project.up()
    assert "image anomaly: Step " in done.stdout, "the image build's log lines are shown"
    assert "deployment edge-1: healthy" in done.stdout


def test_outputs(project: Project) -> None:
    shown = project.outputs()
    assert re.fullmatch(r"127\.0\.0\.\d+:\d+/anomaly@sha256:[0-9a-f]{64}", shown["imageRef"])
    assert shown["imageRef"].startswith(shown["loginServer"] + "/")
    assert shown["modelId"] == "best_model:1"
    assert shown["devices"] == {"edge-1": "enabled"}
    assert shown["deployments"]["edge-1"]["health"] == "healthy"
    assert set(json.loads(shown["workspaceConfig"])) == {"subscription_id", "resource_group", "workspace_name"}
    assert shown["registryPassword"] == "[secret]"
    assert shown["connectionStrings"] == shown["cloudInit"] == {"edge-1": "[secret]"}
    assert 'device_id = "edge-1"' in shown["configToml"]["edge-1"]


def test_readings_are_scored_on_the_device(project: Project) -> None:
    answers = score(project, READINGS)
    assert [{key: value for key, value in answer.items() if key != "anomaly"} for answer in answers] == READINGS
    assert {answer["anomaly"] for answer in answers} == {True, False}


def test_a_second_up_changes_nothing_and_asks_azure_for_nothing(project: Project) -> None:
    with project.azure.traffic() as seen:
        done = project.up()
    assert "unchanged" in done.stdout
    assert not re.search(r"[+~-] \d+ (to )?(created|updated|deleted|replaced)", done.stdout)
    assert [line for line in seen[0].changes if "/msi/token" not in line] == []
    assert [line for line in seen[0].reading_posts if "/msi/token" not in line] == [], "an up may not need to list keys"


def test_state_and_previews_hold_no_secret_in_plain(project: Project) -> None:
    secrets = canaries(project.outputs(secrets=True), project.azure)
    assert {"registry password", "device key", "hub key"} <= set(secrets)
    export = project.export()
    assert leaks(export, secrets) == []
    assert leaks(project.pulumi("preview", "--diff", "--stack", "dev").stdout, secrets) == []
    planted = export.replace('"deployment"', json.dumps(secrets["device key"]), 1)
    assert leaks(planted, secrets) == ["device key"], "the scanner sees a planted one"


def test_an_edited_script_changes_the_image_and_the_deployment_only(project: Project) -> None:
    script = project.folder / "scoring" / "score.py"
    script.write_text(script.read_text() + "\n# edited\n")
    before = project.outputs()
    preview = project.preview()
    assert changes(preview) == {"image": "update", "edge-1-deployment": "update"}
    details = {step["urn"].rpartition("::")[2]: step.get("detailedDiff") or {} for step in preview["steps"]}
    assert set(details["image"]) == {"fingerprint", "sources.script"}
    assert set(details["edge-1-deployment"]) == {"deployment.image"}
    running = containers(project)
    project.up()
    after = project.outputs()
    assert after["imageRef"] != before["imageRef"]
    assert after["modelId"] == before["modelId"]
    assert {one.id for one in containers(project)}.isdisjoint({one.id for one in running})
    assert score(project, READINGS)
    assert changes(project.preview()) == {}


def test_the_device_pulled_what_the_builder_pushed(project: Project) -> None:
    """The engine held no such image under its name when the device's pull asked the registry for the manifest."""
    log = [json.loads(line) for line in (project.azure.folder / "requests.jsonl").read_text().splitlines()]
    digest = project.outputs()["imageRef"].partition("@")[2]
    asked = [
        entry for entry in log if entry["path"].endswith(f"/v2/anomaly/manifests/{digest}") and entry["method"] == "GET"
    ]
    assert any(entry["status"] == 200 for entry in asked)
    tags = [tag for image in docker.from_env(timeout=PATIENCE).api.images() for tag in image["RepoTags"] or []]
    assert not [tag for tag in tags if tag.startswith(project.outputs()["loginServer"])]


def test_scores_come_from_the_container_that_a_stop_and_start_leaves(project: Project) -> None:
    module = containers(project)[0]
    module.stop()
    module.start()
    assert score(project, READINGS)


def test_refresh_sees_nothing_where_nothing_changed(project: Project) -> None:
    project.refresh()
    assert changes(project.preview()) == {}


def test_refresh_without_azure_fails_and_leaves_the_state(project: Project) -> None:
    before = project.resources()
    project.azure.stop()
    try:
        assert project.refresh(check=False).returncode != 0
        assert project.resources() == before
    finally:
        project.azure.start()
    assert changes(project.preview()) == {}


def test_the_sdks_own_snippets_work_as_typed(project: Project) -> None:
    (project.folder / "config.json").write_text(project.outputs()["workspaceConfig"])
    script = (
        "from azureml.core import Workspace\nfrom azureml.core.image import Image\nfrom azureml.core.model import Model\n"
        "ws = Workspace.from_config()\nprint([m.id for m in Model.list(ws)], [i.id for i in Image.list(ws)])\n"
    )
    done = run([sys.executable, "-W", "ignore", "-c", script], project.folder, project.azure.env)
    assert "best_model:1" in done.stdout
    assert "anomaly:" in done.stdout
    key = project.outputs(secrets=True)["connectionStrings"]["edge-1"]
    assert key.startswith("HostName=")


def test_destroy_leaves_nothing_but_tombstones_and_up_works_again(project: Project) -> None:
    project.destroy()
    until(lambda: containers(project) == [])
    client = docker.from_env(timeout=PATIENCE)
    folder = str(project.azure.folder)

    def networks() -> list[str]:
        labels = [one.attrs["Labels"] or {} for one in client.networks.list()]
        return [mine for label in labels if (mine := label.get("aml-edge.device-folder", "")).startswith(folder)]

    until(lambda: networks() == [])
    until(lambda: list((project.azure.folder / "registries").glob("*")) == [])
    until(lambda: list((project.azure.folder / "devices").glob("*/*")) == [])
    status = json.loads(project.azure.command("status", "--json").stdout)
    assert not status["registries"]
    assert not status["hubs"]
    assert not status["devices"]
    project.up()
    assert project.outputs()["deployments"]["edge-1"]["health"] == "healthy"
