"""The scoring image and containers of it, on a Docker network of the tests' own."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from localazure.instance import load_or_create
from tests.scoring.edge_double import GATEWAY, EdgeDevice, EdgeHub

HERE = Path(__file__).parent
SCORING = HERE.parent.parent / "scoring"
BASE_IMAGE = os.environ.get("LOCALAZURE_BASE_IMAGE", "aml-edge/base:local")  # `make test` sets it
ENVIRONMENT_IMAGE = "aml-edge-test/scoring-environment"
IMAGE = "aml-edge-test/scoring"

Start = Callable[..., Container]
"""(app root, edge device or None, **environment) -> a running container, removed after the test."""


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=600)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_image(engine, tmp_path_factory.mktemp("image"))


def build_image(engine: docker.DockerClient, context: Path) -> str:
    """The real model and script below /var/azureml-app with the runtime; the tests' scripts below /apps. `context` is an empty folder."""
    try:
        engine.images.get(BASE_IMAGE)
    except docker.errors.ImageNotFound:
        pytest.fail(f"the image {BASE_IMAGE} is not there: 'make up' makes it")
    engine.images.build(
        path=str(HERE / "image"),
        dockerfile="Dockerfile.environment",
        buildargs={"BASE": BASE_IMAGE},
        tag=ENVIRONMENT_IMAGE,
        network_mode="host",
        rm=True,
    )
    shutil.copytree(HERE / "image", context, dirs_exist_ok=True)
    root = context / "azureml-app"
    shutil.copytree(SCORING / "edge_runtime", root / "edge_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SCORING / "score.py", root)
    model = root / "azureml-models/best_model/1"
    model.mkdir(parents=True)
    shutil.copy(SCORING / "model.pkl", model)
    shutil.copytree(root, context / "apps/driver", ignore=shutil.ignore_patterns("edge_runtime"))
    (context / "apps/driver/main.py").write_text(driver(context / "apps/driver"))
    engine.images.build(path=str(context), dockerfile="Dockerfile.scoring", tag=IMAGE, rm=True)
    return IMAGE


def driver(folder: Path) -> str:
    """The driver that azureml-core generates for a script."""
    import azureml.core  # noqa: F401 - first, or the next import goes in a circle
    from azureml._model_management._util import generate_main

    generated = folder / "generated.py"
    generate_main("score.py", "", str(generated), False)
    text = generated.read_text()
    generated.unlink()
    return text


@pytest.fixture(scope="module")
def network(engine: docker.DockerClient) -> Iterator[Any]:
    made = engine.networks.create(f"aml-edge-test-scoring-{uuid.uuid4().hex[:8]}")
    made.reload()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def device(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeDevice]:
    """One edge device for the tests of a file; its edge hub answers on the network's address of this machine."""
    folder = tmp_path_factory.mktemp("edge")
    address = network.attrs["IPAM"]["Config"][0]["Gateway"]
    made = EdgeDevice(load_or_create(folder / "azure"), folder, address)
    yield made
    made.close()


@pytest.fixture
def hub(device: EdgeDevice) -> Iterator[EdgeHub]:
    """An account that must balance at the end of the test: no message lost."""
    device.hub.forget()
    yield device.hub
    device.hub.refuse_connects, device.hub.puback_delay, device.workload.failing = 0, 0.0, 0
    unanswered = [key for key in device.hub.unanswered() if not key.startswith("unread")]
    device.hub._pending.clear()
    assert unanswered == []


@pytest.fixture
def start(engine: docker.DockerClient, image: str, network: Any) -> Iterator[Start]:
    """Containers for one test."""
    with starter(engine, image, network) as run:
        yield run


@pytest.fixture(scope="module")
def plain(engine: docker.DockerClient, image: str, network: Any, device: EdgeDevice) -> Iterator[Container]:
    """One container with the tests' script for several tests; each leaves it running."""
    with starter(engine, image, network) as run:
        # Patient: on a busy machine a worker takes its time to come again, and a drain to end.
        patience = {"AML_RUN_SECONDS": "60", "AML_SCORE_SECONDS": "300", "AML_DRAIN_SECONDS": "100"}
        yield run("/apps/plain", device, **patience)


@contextlib.contextmanager
def starter(engine: docker.DockerClient, image: str, network: Any) -> Iterator[Start]:
    """Containers as hardened as the deployment's: not root, read-only, no capabilities."""
    started: list[Container] = []

    def run(root: str, device: EdgeDevice | None = None, **environment: str) -> Container:
        volumes = [f"{device.socket}:/var/run/iotedge/workload.sock"] if device else []
        container = engine.containers.run(
            image,
            name=f"aml-edge-test-scoring-{uuid.uuid4().hex[:8]}",
            detach=True,
            network=network.name,
            user="10001:10001",
            read_only=True,
            tmpfs={"/tmp": "rw,noexec,nosuid,size=64m"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            extra_hosts={GATEWAY: device.address} if device else {},
            volumes=volumes,
            environment={"HOME": "/tmp", "AML_APP_ROOT": root, **(device.environment if device else {}), **environment},
        )
        started.append(container)
        return container

    try:
        yield run
    finally:
        for container in started:
            container.remove(force=True)
