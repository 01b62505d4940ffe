"""Images built by the local Azure ML from what azureml-core uploads; one story in the order of the file, since builds take time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from components.edge import fingerprint
from components.image import ModelImageProvider
from components.services import registry
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.errors import NotFoundError, ServiceError
from tests.components.life import Life
from tests.services.cloud import Cloud
from tests.support import ROOT, image_names

pytestmark = pytest.mark.docker

CONDA = "name: tiny\ndependencies:\n  - python=3.*\n  - pip:\n    - packaging\n"
SCRIPT = "def init():\n    pass\n\n\ndef run(input_data):\n    return input_data\n"


class Sources:
    """What goes into the image; `inputs` hashes it as it is now."""

    def __init__(self, folder: Path, workspace_id: str, registry_id: str, model_id: str) -> None:
        self.folder, self.model_id = folder, model_id
        self.workspace_id, self.registry_id = workspace_id, registry_id
        (folder / "score.py").write_text(SCRIPT)
        (folder / "env.yml").write_text(CONDA)

    def inputs(self, name: str = "tiny", **more: Any) -> dict[str, Any]:
        paths: dict[str, Any] = {
            "script": str(self.folder / "score.py"),
            "condaFile": str(self.folder / "env.yml"),
            "runtime": str(ROOT / "scoring" / "edge_runtime"),
            "dependencies": [],
            "models": [str(self.folder / "model.pkl")],
        }
        sources = {
            "script": fingerprint.file_part(Path(paths["script"])),
            "condaFile": fingerprint.file_part(Path(paths["condaFile"])),
        }
        return {
            "workspaceId": self.workspace_id,
            "registryId": self.registry_id,
            "name": name,
            "builder": "azureml",
            "mode": "containerImage",
            "modelIds": [self.model_id],
            "sources": sources,
            "fingerprint": fingerprint.image_fingerprint(sources, name),
            "paths": paths,
            "tags": {"area": "iot"},
            "keepImages": 3,
            "retain": False,
            "description": "",
            **more,
        }


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, workspace_id: str, registry_id: str) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "model.pkl").write_bytes(b"weights")
    arguments = {"model_path": "model.pkl", "model_name": "tiny", "content_hash": "h", "tags": {}, "description": ""}
    files = {"model.pkl": folder / "model.pkl"}
    model = client.call(workspace_config(workspace_id), "register_model", arguments, files=files)
    return Sources(folder, workspace_id, registry_id, model["id"])


@pytest.fixture(scope="module")
def life(sources: Sources) -> Iterator[Life]:
    """The image of the story."""
    made = Life(ModelImageProvider())
    yield made
    if made.id:
        made.destroy()


def digest_of(sources: Sources, ref: str) -> str | None:
    repository, _, digest = ref.partition("/")[2].partition("@")
    return registry.digest(registry.admin_credentials(sources.registry_id), repository, digest)


def in_azure(sources: Sources, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.call(workspace_config(sources.workspace_id), "image_state", {"image_id": image_id})
    return found


def builds(traffic: Any) -> list[str]:
    return [
        line for line in traffic[0].changes if line.startswith("POST") and line.partition(" -> ")[0].endswith("/images")
    ]


def test_a_failed_build_says_why_and_leaves_nothing(
    sources: Sources, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    (sources.folder / "env.yml").write_text(CONDA.replace("packaging", "no-such-package-of-aml-edge==1"))
    with pytest.raises(ServiceError, match="ended the build as Failed") as caught:
        life.up(sources.inputs())
    text = str(caught.value)
    assert re.search(r"^    .*No matching distribution found for no-such-package-of-aml-edge==1", text, re.MULTILINE)
    assert re.search(r"The whole log: https://\S+/build\.log ", text)
    assert "sig=" not in text + capsys.readouterr().out
    assert life.id is None
    credentials = registry.admin_credentials(sources.registry_id)
    assert registry.digest(credentials, "tiny", "1") is None
    with pytest.raises(NotFoundError):
        in_azure(sources, "tiny:1")


def test_corrected_it_is_built_and_shown_readably(
    azure: Cloud, sources: Sources, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    (sources.folder / "env.yml").write_text(CONDA)
    with azure.azure.traffic() as seen:
        assert life.up(sources.inputs()) == "create"
    assert len(builds(seen)) == 1
    assert re.fullmatch(r"127\.[0-9.]+:\d+/tiny@sha256:[0-9a-f]{64}", life.outs["ref"])
    assert digest_of(sources, life.outs["ref"])
    assert life.id == f"{sources.registry_id}/images/tiny"
    lines = capsys.readouterr().out.splitlines()
    assert any("image tiny: Step " in line for line in lines)
    assert not any("Downloading" in line or " ---> " in line for line in lines)
    assert len(lines) < 60
    assert life.up(sources.inputs()) == "same"
    assert life.refresh()
    assert life.up(sources.inputs()) == "same"


def test_an_equal_fingerprint_is_found_and_not_built_again(azure: Cloud, sources: Sources, life: Life) -> None:
    """As after a run that was killed between the push and the state."""
    again = Life(ModelImageProvider())
    with azure.azure.traffic() as seen:
        assert again.up(sources.inputs()) == "create"
    assert builds(seen) == []
    assert again.outs["ref"] == life.outs["ref"]
    again.destroy()
    assert digest_of(sources, life.outs["ref"]), "whoever built it deletes it"


def test_other_tags_are_no_other_image(azure: Cloud, sources: Sources, life: Life) -> None:
    before = life.outs["ref"]
    with azure.azure.traffic() as seen:
        assert life.up(sources.inputs(tags={"area": "factory"})) == "update"
    assert builds(seen) == []
    assert life.outs["ref"] == before
    assert in_azure(sources, life.outs["imageId"])["tags"]["area"] == "factory"
    assert len(life.outs["pushed"]) == 1


def test_an_edited_script_is_another_image_of_the_same_resource(sources: Sources, life: Life) -> None:
    before = life.outs["ref"]
    (sources.folder / "score.py").write_text(SCRIPT + "# edited\n")
    assert life.up(sources.inputs()) == "update"
    assert life.outs["ref"] != before
    assert [entry["ref"] for entry in life.outs["pushed"]] == [before, life.outs["ref"]]
    assert digest_of(sources, before), "what runs somewhere stays"


def test_a_manifest_that_was_deleted_is_drift_and_built_again(azure: Cloud, sources: Sources, life: Life) -> None:
    ref = life.outs["ref"]
    registry.delete_manifest(registry.admin_credentials(sources.registry_id), "tiny", ref.partition("@")[2])
    assert life.refresh(), "what else was pushed is still to be looked after"
    assert life.outs["ref"] == ""
    with azure.azure.traffic() as seen:
        assert life.up(sources.inputs()) == "update"
    assert len(builds(seen)) == 1
    assert digest_of(sources, life.outs["ref"])
    assert life.refresh()
    assert life.up(sources.inputs()) == "same"


def test_what_azure_ml_has_forgotten_is_still_an_image(sources: Sources, life: Life) -> None:
    client.call(workspace_config(sources.workspace_id), "delete_image", {"image_id": life.outs["imageId"]})
    assert life.refresh(), "devices pull it all the same"
    assert life.up(sources.inputs()) == "same"


def test_destroy_removes_what_was_pushed(sources: Sources, life: Life) -> None:
    kept = (life.id, life.outs)
    pushed = life.outs["pushed"]
    life.destroy()
    for entry in pushed:
        assert digest_of(sources, entry["ref"]) is None
        with pytest.raises(NotFoundError):
            in_azure(sources, entry["imageId"])
    life.id, life.outs = kept
    life.destroy()


def test_the_engine_that_built_keeps_nothing_of_the_registrys(sources: Sources) -> None:
    engine = docker.DockerClient(base_url=os.environ["DOCKER_HOST"])
    server = registry.admin_credentials(sources.registry_id).login_server
    assert [name for name in image_names(engine, "RepoTags") if name.startswith(f"{server}/tiny")] == []
    engine.close()


def test_with_the_workspace_and_the_registry_the_image_is_gone(azure: Cloud, sources: Sources) -> None:
    """As after a resource group was deleted: nothing is left to be built or to be deleted."""
    life = Life(ModelImageProvider())
    ref = f"127.0.0.1:1/tiny@sha256:{'0' * 64}"
    lost = {"registryId": azure.id("Microsoft.ContainerRegistry/registries", "nowhere")}
    lost["workspaceId"] = azure.id("Microsoft.MachineLearningServices/workspaces", "nowhere")
    entry = {"imageId": "tiny:1", "ref": ref, "builder": "azureml", "mode": "containerImage"}
    life.id, life.outs = "x", {**sources.inputs(**lost), "ref": ref, "imageId": "tiny:1", "pushed": [entry]}
    kept = (life.id, life.outs)
    assert life.refresh() is False
    life.id, life.outs = kept
    life.destroy()
