from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.edge.fingerprint import hash_named
from components.model import RegisteredModelProvider
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.errors import NotFoundError, ServiceError
from tests.components.life import CheckError, Life
from tests.services.cloud import Cloud, environment
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True, scope="module")
def _quick(azure: Cloud) -> Iterator[None]:
    with environment({**azure.azure.env, "AZUREML_DEFAULT_RETRIES": "0"}):
        yield


@pytest.fixture
def life() -> Life:
    return Life(RegisteredModelProvider())


def wanted(workspace_id: str, file: Path, content: bytes, name: str, **more: Any) -> dict[str, Any]:
    file.write_bytes(content)
    inputs = {"workspaceId": workspace_id, "name": name, "contentHash": hash_named(file), "path": str(file)}
    return {**inputs, "tags": {"area": "iot"}, "description": "one", **more}


def in_workspace(workspace_id: str, name: str) -> list[int]:
    """The versions that Azure ML lists."""
    script = (
        "import json, sys\nfrom azureml.core import Workspace\nfrom azureml.core.model import Model\n"
        "from components.services import azure\nfrom azureml.core.authentication import TokenAuthentication\n"
        "import os\ncloud = os.environ.get('AZUREML_CURRENT_CLOUD')\n"
        "config = json.loads(sys.argv[1])\n"
        "ws = Workspace(**config, auth=TokenAuthentication(azure.token, cloud=cloud))\n"
        "print('VERSIONS', json.dumps(sorted(model.version for model in Model.list(ws, name=sys.argv[2]))))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, json.dumps(workspace_config(workspace_id)), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    found: list[int] = json.loads(done.stdout.partition("VERSIONS ")[2])
    return found


def in_azure(workspace_id: str, model_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.call(workspace_config(workspace_id), "get_model", {"model_id": model_id})
    return found


def test_the_life_of_a_model(life: Life, workspace_id: str, tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    assert life.up(wanted(workspace_id, file, b"1", "story")) == "create"
    assert (life.outs["modelId"], life.outs["version"]) == ("story:1", 1)
    assert life.id == f"{workspace_id}/models/story"
    assert life.up(wanted(workspace_id, file, b"1", "story")) == "same"
    moved = tmp_path / "elsewhere" / "model.pkl"
    moved.parent.mkdir()
    assert life.preview(wanted(workspace_id, moved, b"1", "story")) == "same"

    retagged = wanted(workspace_id, file, b"1", "story", tags={"area": "x"}, description="two")
    assert life.up(retagged) == "update"
    found = in_azure(workspace_id, "story:1")
    assert (found["tags"], found["description"]) == ({"area": "x"}, "two")

    emptied = {key: value for key, value in retagged.items() if key not in ("tags", "description")}
    assert life.up(emptied) == "update", "left out means empty"
    found = in_azure(workspace_id, "story:1")
    assert (found["tags"], found["description"]) == ({}, "")
    assert life.refresh()
    assert life.up(emptied) == "same"

    assert life.up(wanted(workspace_id, file, b"2", "story")) == "update"
    assert (life.outs["modelId"], life.outs["version"]) == ("story:2", 2)
    assert life.up(wanted(workspace_id, file, b"1", "story")) == "update"
    assert life.outs["modelId"] == "story:1", "the content that is there already is not registered again"

    assert life.preview(wanted(workspace_id, file, b"1", "other")) == "replace"
    kept = (life.id, life.outs)
    life.destroy()
    assert in_workspace(workspace_id, "story") == [], "every version that it registered"
    life.id, life.outs = kept
    life.destroy()
    life.id, life.outs = kept
    assert life.refresh() is False


def test_a_promoted_model_needs_its_file_only_until_it_is_registered(
    life: Life, workspace_id: str, tmp_path: Path
) -> None:
    """main goes on to another model while prod stays with its own, and goes back to one before that."""
    file = tmp_path / "model.pkl"
    one, two = (wanted(workspace_id, file, content, "promoted") for content in (b"1", b"2"))
    with pytest.raises(CheckError, match=r"model\.pkl does not hold it"):
        life.preview(one)
    file.write_bytes(b"1")
    life.up(one)
    file.write_bytes(b"2")
    life.up(two)
    file.write_bytes(b"3")
    assert life.preview(two) == "same"
    lineage = {"promotedFrom": "organization/aml-edge/staging promoted:7"}
    assert life.up({**one, "tags": lineage}) == "update"
    assert life.outs["modelId"] == "promoted:1"
    assert in_azure(workspace_id, "promoted:1")["tags"] == lineage
    client.call(workspace_config(workspace_id), "delete_models", {"model_ids": ["promoted:2"]})
    with pytest.raises(ServiceError, match="has not registered the model"):
        life.provider.update("id", life.outs, two)
    life.destroy()


def test_old_versions_go_but_those_that_an_image_uses(
    life: Life, azure: Cloud, workspace_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.pkl"
    life.up(wanted(workspace_id, file, b"1", "many", keepVersions=2))
    image = use_in_an_image(azure, workspace_id, "many:1")
    life.up(wanted(workspace_id, file, b"2", "many", keepVersions=2))
    life.up(wanted(workspace_id, file, b"3", "many", keepVersions=2))
    assert f"kept the old many:1: 412 these images use it: {image}" in capsys.readouterr().out
    assert in_workspace(workspace_id, "many") == [1, 2, 3]
    client.call(workspace_config(workspace_id), "delete_image", {"image_id": image})
    life.up(wanted(workspace_id, file, b"4", "many", keepVersions=2))
    assert "deleted the old many:1" in capsys.readouterr().out
    assert in_workspace(workspace_id, "many") == [3, 4]
    assert [entry["id"] for entry in life.outs["versions"]] == ["many:3", "many:4"]
    assert life.preview(wanted(workspace_id, file, b"4", "many", keepVersions=1)) == "same", (
        "counts at the next version"
    )
    life.destroy()
    assert in_workspace(workspace_id, "many") == []


def test_what_others_registered_is_adopted_and_left(life: Life, workspace_id: str, tmp_path: Path) -> None:
    inputs = wanted(workspace_id, tmp_path / "model.pkl", b"1", "theirs")
    others = Life(RegisteredModelProvider())
    others.up({**inputs, "owner": "aml-edge/project/others", "retain": True})
    assert life.up({**inputs, "owner": "aml-edge/project/ours"}) == "create"
    assert life.outs["versions"] == [{"id": "theirs:1", "made": False}]
    newer = wanted(workspace_id, tmp_path / "model.pkl", b"2", "theirs", owner="aml-edge/project/ours", keepVersions=1)
    life.up(newer)
    assert in_workspace(workspace_id, "theirs") == [1, 2]
    life.destroy()
    assert in_workspace(workspace_id, "theirs") == [1], "deleted is what we registered"
    others.destroy()
    assert in_workspace(workspace_id, "theirs") == [1], "and nothing where it is to be retained"


def test_what_a_killed_run_registered_is_deleted_with_the_rest(life: Life, workspace_id: str, tmp_path: Path) -> None:
    """The state has never heard of its version: the property does."""
    owner = "aml-edge/project/dev"
    Life(RegisteredModelProvider()).up(wanted(workspace_id, tmp_path / "model.pkl", b"1", "killed2", owner=owner))
    life.up(wanted(workspace_id, tmp_path / "model.pkl", b"2", "killed2", owner=owner))
    assert life.outs["versions"] == [{"id": "killed2:1", "made": True}, {"id": "killed2:2", "made": True}]
    life.destroy()
    assert in_workspace(workspace_id, "killed2") == []


def test_a_state_from_before_still_opens(life: Life, workspace_id: str, tmp_path: Path) -> None:
    """It knows neither the versions nor the framework, nor how many to keep."""
    inputs = wanted(workspace_id, tmp_path / "model.pkl", b"1", "old")
    life.up(inputs)
    del life.outs["versions"]
    today = {**inputs, "framework": "", "frameworkVersion": "", "keepVersions": 3, "retain": False, "owner": "a/b"}
    assert life.preview(today) == "same"
    assert life.refresh()
    assert life.up(wanted(workspace_id, tmp_path / "model.pkl", b"2", "old")) == "update"
    assert [entry["id"] for entry in life.outs["versions"]] == ["old:1", "old:2"]
    life.destroy()
    assert in_workspace(workspace_id, "old") == []


def test_the_framework_is_registered_and_another_is_another_version(
    life: Life, workspace_id: str, tmp_path: Path
) -> None:
    """Azure ML has no way to change it."""
    sklearn = {"framework": "ScikitLearn", "frameworkVersion": "1.5.0"}
    file = tmp_path / "model.pkl"
    life.up(wanted(workspace_id, file, b"1", "framed", **sklearn))
    found = in_azure(workspace_id, "framed:1")
    assert {key: found[key] for key in sklearn} == sklearn
    assert found["contentHash"] == hash_named(file), "a property of the model"
    assert life.up(wanted(workspace_id, file, b"1", "framed", **sklearn)) == "same"
    assert life.up(wanted(workspace_id, file, b"1", "framed", **{**sklearn, "frameworkVersion": "1.6.0"})) == "update"
    assert life.outs["modelId"] == "framed:2"
    assert in_azure(workspace_id, "framed:2")["frameworkVersion"] == "1.6.0"
    life.destroy()


def test_what_a_killed_run_registered_is_taken_over(life: Life, workspace_id: str, tmp_path: Path) -> None:
    inputs = wanted(workspace_id, tmp_path / "model.pkl", b"1", "killed")
    Life(RegisteredModelProvider()).up(inputs)
    assert life.up(inputs) == "create"
    assert life.outs["modelId"] == "killed:1"
    life.destroy()


def test_edits_of_others_are_seen_and_set_right(life: Life, workspace_id: str, tmp_path: Path) -> None:
    inputs = wanted(workspace_id, tmp_path / "model.pkl", b"1", "edited")
    life.up(inputs)
    edit = {"model_id": "edited:1", "tags": {"area": "theirs"}, "description": "theirs"}
    client.call(workspace_config(workspace_id), "update_model", edit)
    assert life.refresh()
    assert (life.outs["tags"], life.outs["description"]) == ({"area": "theirs"}, "theirs")
    assert life.up(inputs) == "update"
    assert in_azure(workspace_id, "edited:1")["tags"] == {"area": "iot"}
    life.destroy()


def test_an_update_of_what_others_deleted_says_to_refresh(life: Life, workspace_id: str, tmp_path: Path) -> None:
    inputs = wanted(workspace_id, tmp_path / "model.pkl", b"1", "vanished")
    life.up(inputs)
    client.call(workspace_config(workspace_id), "delete_models", {"model_ids": ["vanished:1"]})
    with pytest.raises(NotFoundError, match="pulumi refresh"):
        life.up({**inputs, "tags": {"a": "b"}})
    assert life.refresh() is False
    assert life.up(inputs) == "create"
    assert life.outs["modelId"] == "vanished:2", "Azure ML gives no version twice"
    life.destroy()


def test_a_model_that_an_image_of_others_uses_is_not_deleted(
    life: Life, azure: Cloud, workspace_id: str, tmp_path: Path
) -> None:
    life.up(wanted(workspace_id, tmp_path / "model.pkl", b"1", "used"))
    kept = (life.id, life.outs)
    image = use_in_an_image(azure, workspace_id, "used:1")
    with pytest.raises(ServiceError, match="could not delete the models used:1") as caught:
        life.destroy()
    assert f"these images use it: {image}" in str(caught.value)
    assert "Delete those first" in caught.value.advice
    client.call(workspace_config(workspace_id), "delete_image", {"image_id": image})
    life.id, life.outs = kept
    life.destroy()


@pytest.mark.parametrize("name", ["config.json", "json.py", "components"])
def test_a_file_may_have_any_name(life: Life, azure: Cloud, workspace_id: str, tmp_path: Path, name: str) -> None:
    """Neither the worker's own files nor Python's modules are in the way."""
    source = tmp_path / name
    if name == "components":
        source.mkdir()
        (source / "__init__.py").write_text("raise SystemExit('this is a model')")
    else:
        source.write_bytes(b"raise SystemExit('this is a model')")
    inputs = {"workspaceId": workspace_id, "name": name, "contentHash": hash_named(source), "path": str(source)}
    assert life.up(inputs) == "create"
    stored = b"".join(one.read_bytes() for one in (azure.azure.folder / "blobs").rglob("*") if one.is_file())
    assert stored.count(b"raise SystemExit('this is a model')") >= 1
    life.destroy()


def test_with_the_workspace_the_model_is_gone(life: Life, azure: Cloud, registry_id: str, tmp_path: Path) -> None:
    workspace = azure.workspace("workspacetogo", registry_id)
    life.up(wanted(workspace, tmp_path / "model.pkl", b"1", "inside"))
    kept = (life.id, life.outs)
    azure.delete(workspace)
    assert life.refresh() is False
    life.id, life.outs = kept
    life.destroy()


def test_a_model_file_that_is_gone_since_the_preview_is_named(life: Life, workspace_id: str, tmp_path: Path) -> None:
    inputs = wanted(workspace_id, tmp_path / "model.pkl", b"1", "nofile")
    news = life.check(inputs)
    (tmp_path / "model.pkl").unlink()
    with pytest.raises(ServiceError, match=r"model\.pkl"):
        life.provider.create(news)


def use_in_an_image(azure: Cloud, workspace_id: str, model_id: str) -> str:
    """An image record with the model in it, whose build fails at once: its conda file names nothing."""
    script = (
        "import json, sys\nfrom azureml.core import Workspace\nfrom azureml.core.model import Model\n"
        "from azureml.core.image import ContainerImage\nws = Workspace.from_config('config.json')\n"
        "open('score.py', 'w').write('def init(): pass')\nopen('env.yml', 'w').write('dependencies: nothing')\n"
        "config = ContainerImage.image_configuration('score.py', 'python', conda_file='env.yml')\n"
        f"models = [Model(ws, id={model_id!r})]\n"
        "image = ContainerImage.create(name='holds-it', models=models, image_config=config, workspace=ws)\n"
        "try:\n    image.wait_for_creation()\nexcept Exception:\n    pass\nprint('IMAGE ' + image.id)\n"
    )
    folder = azure.azure.folder.parent / "holder"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(workspace_config(workspace_id)))
    done = run_python(script, folder, azure.azure.env)
    return next(line.split()[1] for line in done.splitlines() if line.startswith("IMAGE "))


def run_python(script: str, folder: Path, env: dict[str, str]) -> str:

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        env={**env, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
