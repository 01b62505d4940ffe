"""One local Azure, one registry and one workspace for the room; each test has sources and an image name of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.builders.place import Place
from tests.services.cloud import Cloud, cloud


@pytest.fixture(scope="package")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("builders")) as made:
        yield made


@pytest.fixture(scope="package")
def registry_id(azure: Cloud) -> str:
    return azure.registry("buildersregistry")


@pytest.fixture(scope="package")
def workspace_id(azure: Cloud, registry_id: str) -> str:
    return azure.workspace("buildersml", registry_id)


@pytest.fixture
def place(azure: Cloud, registry_id: str, workspace_id: str, tmp_path: Path) -> Place:
    return Place(azure, tmp_path / "sources", registry_id, workspace_id)


@pytest.fixture
def fingerprint() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=300)
    yield client
    client.close()
