"""azureml-core in its own process against the real local Azure ML."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.services import azure as arm
from components.services.aml import client
from components.services.errors import NotFoundError, ServiceError
from tests.services.cloud import WORKSPACE, Cloud, environment
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def workspace(workspace_id: str) -> dict[str, str]:
    return client.workspace_config(workspace_id)


@pytest.fixture(scope="module")
def quick(azure: Cloud) -> Iterator[None]:
    """The SDK's own retries of what will not work are not what is tested."""
    with environment({**azure.azure.env, "AZUREML_DEFAULT_RETRIES": "0"}):
        yield


def register(workspace: dict[str, str], source: Path, content: str, **more: Any) -> dict[str, Any]:
    arguments = {
        "model_path": source.name,
        "model_name": "best",
        "content_hash": content,
        "tags": {},
        "description": "",
    }
    answer: dict[str, Any] = client.call(
        workspace, "register_model", {**arguments, **more}, files={source.name: source}
    )
    return answer


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file = tmp_path / "model.pkl"
    file.write_bytes(b"weights")
    return file


class TestModels:
    """One story: registering, finding, a new version, tags, deleting."""

    def test_the_life_of_a_model(self, workspace: dict[str, str], model_file: Path) -> None:
        first = register(workspace, model_file, "hash-1", tags={"area": "iot"}, description="one")
        assert (first["id"], first["version"]) == ("best:1", 1)
        assert (first["tags"], first["description"], first["contentHash"]) == ({"area": "iot"}, "one", "hash-1")

        again = register(workspace, model_file, "hash-1", tags={"area": "factory"}, description="uno")
        assert (again["id"], again["tags"], again["description"]) == ("best:1", {"area": "factory"}, "uno")

        second = register(workspace, model_file, "hash-2")
        assert second["id"] == "best:2"
        other = register(workspace, model_file, "hash-1", model_name="other")
        assert other["id"] == "other:1", "the same content under another name is another model"

        emptied = client.call(workspace, "update_model", {"model_id": "best:1", "tags": {}, "description": ""})
        assert (emptied["tags"], emptied["description"]) == ({}, "")
        assert client.call(workspace, "get_model", {"model_id": "best:1"}) == emptied

        assert client.call(workspace, "delete_models", {"model_ids": ["best:1"]}) == {}
        assert client.call(workspace, "delete_models", {"model_ids": ["best:1"]}) == {}, "absent is fine"
        for operation, more in (
            ("get_model", {}),
            ("update_model", {"tags": {"a": "b"}, "description": ""}),
        ):
            with pytest.raises(NotFoundError, match=r"best:1 in the workspace servicesml"):
                client.call(workspace, operation, {"model_id": "best:1", **more})

    def test_a_folder_is_registered_as_what_was_hashed(self, workspace: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "model"
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
        (folder / "weights.bin").write_bytes(b"weights")
        assert register(workspace, folder, "folder-1", model_name="folder")["id"] == "folder:1"


@pytest.mark.parametrize("operation", ["get_model", "delete_models", "delete_image", "image_state"])
def test_a_workspace_that_is_gone_is_not_found(azure: Cloud, quick: None, operation: str) -> None:
    gone = client.workspace_config(azure.id(WORKSPACE, "nowhere"))
    arguments: dict[str, dict[str, object]] = {
        "delete_models": {"model_ids": ["x:1"]},
        "get_model": {"model_id": "x:1"},
    }
    with pytest.raises(NotFoundError, match="the workspace nowhere does not exist"):
        client.call(gone, operation, arguments.get(operation, {"image_id": "x:1"}))


def test_an_image_that_is_gone_is_not_found(workspace: dict[str, str]) -> None:
    with pytest.raises(NotFoundError, match="delete the image anomaly:7"):
        client.call(workspace, "delete_image", {"image_id": "anomaly:7"})


class TestUnreachable:
    def test_azure_ml(self, azure: Cloud, quick: None, workspace: dict[str, str]) -> None:
        nowhere = f"https://{azure.azure.instance.address}:9/metadata"
        held = arm.token(arm.cloud().audience)  # so that it is the worker that cannot reach it
        assert held
        os.environ["ARM_CLOUD_METADATA_URL"], before = nowhere, os.environ["ARM_CLOUD_METADATA_URL"]
        try:
            with pytest.raises(ServiceError, match="could not read the model best:1") as caught:
                client.call(workspace, "get_model", {"model_id": "best:1"})
        finally:
            os.environ["ARM_CLOUD_METADATA_URL"] = before
        assert not isinstance(caught.value, NotFoundError)

    def test_a_token_that_cannot_be_had_is_the_error(self, azure: Cloud, workspace: dict[str, str]) -> None:
        with (
            environment({**azure.azure.env, "MSI_ENDPOINT": f"http://{azure.azure.instance.address}:9/msi/token"}),
            pytest.raises(ServiceError, match="could not get a token") as caught,
        ):
            client.call(workspace, "get_model", {"model_id": "best:1"})
        assert "az login" in caught.value.advice
        assert not isinstance(caught.value, NotFoundError)


def test_one_token_serves_all_calls(azure: Cloud, quick: None, workspace: dict[str, str]) -> None:
    with azure.azure.traffic() as seen:
        for _ in range(2):
            with pytest.raises(NotFoundError):
                client.call(workspace, "get_model", {"model_id": "absent:1"})
    asked = [line for line in [*seen[0].reading_posts, *seen[0].changes, *seen[0].reads] if "/msi/token" in line]
    assert len(asked) == 1


class TestTheProcess:
    def test_leaves_working_directory_home_and_temporary_folder_alone(
        self, azure: Cloud, workspace: dict[str, str], model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, work, scratch = tmp_path / "home", tmp_path / "work", tmp_path / "scratch"
        for folder in (home, work, scratch):
            folder.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.chdir(work)
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        register(workspace, model_file, "hash-clean")
        assert Path.cwd() == work
        assert [*home.rglob("*"), *work.rglob("*"), *scratch.rglob("*")] == []
        assert model_file.read_bytes() == b"weights"

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_killed_on_its_way_it_is_an_error_that_says_so(
        self, azure: Cloud, workspace: dict[str, str], model_file: Path, number: int
    ) -> None:
        """Its first request is held back, so that it is still on its way when the signal comes, however late."""
        azure.azure.command("fault", "add", "--on", "ml", "--delay", "600")
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                before = children()
                waiting = pool.submit(register, workspace, model_file, f"hash-{number}", model_name="killed")
                (worker,) = until(lambda: children() - before)
                os.kill(worker, number)
                with pytest.raises(ServiceError, match=f"ended with code -{int(number)}") as caught:
                    waiting.result(PATIENCE)
        finally:
            azure.azure.command("fault", "clear")
        assert "register_model" in str(caught.value)
        assert "servicesml" in str(caught.value)
        assert "again" in caught.value.advice

    def test_what_takes_too_long_is_stopped(self, workspace: dict[str, str]) -> None:
        before = children()
        with pytest.raises(ServiceError, match="stopped after 0 s"):
            client.call(workspace, "get_model", {"model_id": "x:1"}, deadline_seconds=0.2)
        assert children() == before

    def test_one_that_cannot_start_shows_its_last_words(
        self, workspace: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(ServiceError, match="code 1: it said nothing"):
            client.call(workspace, "get_model", {"model_id": "x" * 200_000})

    def test_an_operation_that_is_none(self, workspace: dict[str, str]) -> None:
        with pytest.raises(ServiceError, match="nonsense"):
            client.call(workspace, "nonsense", {})

    def test_a_file_that_is_gone_is_named(self, workspace: dict[str, str], tmp_path: Path) -> None:
        with pytest.raises(ServiceError, match="no-such-file"):
            register(workspace, tmp_path / "no-such-file", "h")


def children() -> set[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return {int(line.split()[0]) for line in listed.stdout.splitlines() if "aml.worker" in line}
