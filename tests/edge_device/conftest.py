from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localazure import docker_engine, instance
from tests.edge_device.place import Place

BASE_IMAGE = os.environ.get("LOCALAZURE_BASE_IMAGE", "aml-edge/base:local")  # `make test` sets it


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Two versions of the test module: name to local image."""
    engine = docker_engine.connect(timeout=900)
    found = {}
    for version in ("one", "two"):
        tag = f"aml-edge-test/edge-module:{version}"
        engine.images.build(
            path=str(Path(__file__).parent / "module"),
            buildargs={"BASE": BASE_IMAGE, "VERSION": version},
            tag=tag,
            network_mode="host",
            rm=True,
        )
        found[version] = tag
    engine.close()
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(instance.load_or_create(tmp_path_factory.mktemp("edge") / "azure"))
    yield made
    made.close()
