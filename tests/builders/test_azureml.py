"""The builder `azureml` in both modes: what fails, what a killed run left, what others did to the registry."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.edge.fingerprint import hash_named
from components.model import RegisteredModelProvider
from components.services import registry
from components.services.builders import BuildRequest, BuiltImage, ModelFile, azureml_package, tagged
from components.services.errors import ServiceError
from tests.builders.place import PROJECT, Place, module
from tests.builders.test_life import Stack
from tests.services.cloud import Cloud
from tests.waiting import until

pytestmark = pytest.mark.docker

MODES = ("containerImage", "package")
CONDA = "dependencies:\n- python=3.11\n- pip:\n  - packaging\n"
STARTS = {"containerImage": "/images", "package": "/packages"}


class Killed(BaseException):
    """The program ends here."""


@pytest.fixture(scope="module")
def model(workspace_id: str) -> ModelFile:
    path = PROJECT / "scoring/model.pkl"
    inputs = {"workspaceId": workspace_id, "name": "numbers", "path": str(path), "contentHash": hash_named(path)}
    return ModelFile(str((RegisteredModelProvider().create(inputs).outs or {})["modelId"]), path)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def name() -> str:
    return f"ml{uuid.uuid4().hex[:8]}"


def request_of(place: Place, model: ModelFile, name: str, fingerprint: str, **more: Any) -> BuildRequest:
    return place.request(fingerprint, name=name, models=[model], dockerfile=Path(), base_image="", **more)


def build(mode: str, request: BuildRequest) -> BuiltImage:
    built: BuiltImage = module("azureml", mode).build(request)
    return built


@contextmanager
def begun(cloud: Cloud, mode: str, times: int) -> Iterator[None]:
    """So many builds were begun at the local Azure inside the block."""
    with cloud.azure.traffic() as seen:
        yield
    posts = [line.partition(" -> ")[0] for line in seen[0].changes if line.startswith("POST")]
    assert len([line for line in posts if line.endswith(STARTS[mode])]) == times, posts


def test_a_failed_build_says_why_leaves_nothing_and_can_be_repeated(
    place: Place,
    model: ModelFile,
    mode: str,
    name: str,
    fingerprint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    place.write("myenv.yml", CONDA.replace("packaging", "aml-edge-no-such-package==1.2.3"))
    with pytest.raises(ServiceError, match="No matching distribution found for aml-edge-no-such-package") as caught:
        build(mode, request_of(place, model, name, fingerprint))
    assert "The whole log: https://" in caught.value.advice
    assert "run `pulumi up` again" in caught.value.advice
    assert "sig=" not in str(caught.value) + place.said
    tags = (fingerprint, f"{fingerprint}-package", "1")
    assert [place.digest(tag, name) for tag in tags] == [None] * 3
    place.write("myenv.yml", CONDA)
    with begun(place.cloud, mode, 1):
        made = build(mode, request_of(place, model, name, fingerprint))
    with begun(place.cloud, mode, 0):
        assert build(mode, request_of(place, model, name, fingerprint)).ref == made.ref
    assert place.digest(f"{fingerprint}-package", name) is None, "the note goes with the build that it is about"
    assert list(temporary.iterdir()) == [], "azureml-core leaves drivers and archives among the temporary files"


def test_a_build_that_a_killed_run_left_is_taken_over(
    place: Place, model: ModelFile, mode: str, name: str, fingerprint: str
) -> None:
    place.write("myenv.yml", f"{CONDA}  - colorama\n# {fingerprint}\n")
    lines: list[str] = []

    def die(line: str) -> None:
        lines.append(line)
        if line.lstrip().startswith("Step"):
            raise Killed

    with begun(place.cloud, mode, 1):
        with pytest.raises(Killed):
            build(mode, request_of(place, model, name, fingerprint, progress=die))
        made = build(mode, request_of(place, model, name, fingerprint))
    assert place.digest(made.image_id.rpartition(":")[2], name) == made.ref.partition("@")[2]


def test_a_package_that_ended_meanwhile_is_not_made_again(
    place: Place, model: ModelFile, name: str, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for its image and the look for its operation."""
    place.write("myenv.yml", CONDA)
    request = request_of(place, model, name, fingerprint)
    note = f"{fingerprint}-package"
    with begun(place.cloud, "package", 1):
        operation = azureml_package._start(request)  # and the program is killed
        registry.write_note(place.credentials, name, note, operation)
        until(lambda: place.digest(fingerprint, name))
        monkeypatch.setattr(tagged, "trusted", lambda *_: None)  # the first look came too early
        made = build("package", request)
    assert made.ref.endswith(str(place.digest(fingerprint, name)))
    assert place.digest(note, name) is None


def test_what_others_do_to_the_registry_is_seen_and_set_right(place: Place, model: ModelFile, name: str) -> None:
    """With `package`; the story of `containerImage` is in tests/components/test_image_lifecycle.py."""
    place.write("myenv.yml", CONDA)
    stack = Stack(place, name, builder="azureml", mode="package", modelIds=[model.id])
    stack.inputs["paths"]["models"] = [str(model.path)]
    made = stack.up("f1")["ref"]
    assert stack.refresh()["ref"] == made
    assert not stack.changes
    registry.delete_manifest(place.credentials, name, made.partition("@")[2])
    assert stack.refresh()["ref"] == ""
    with begun(place.cloud, "package", 1):
        stack.up("f1")
    assert place.digest("f1", name) == stack.state["ref"].partition("@")[2], "another digest: layers hold times"
    stack.provider.delete("id", stack.state)
    assert stack.there() == []
