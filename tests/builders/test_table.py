"""The table: every builder and mode x every kind of script x (HTTP, edge route), on real containers.

One environment, that of the script of 2018 (`kinds/old.yml`), serves all kinds: Docker and the local Azure ML build it once and keep it.
Quick builds begin from nothing each time, so `acr` makes one image with all scripts, of which AZUREML_ENTRY_SCRIPT chooses one.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.models.containers import Container

from components.edge.create_options import APP_ROOT, HARDENED, PACKAGE_SOURCE
from components.edge.fingerprint import hash_named
from components.model import RegisteredModelProvider
from components.services import builders
from components.services.builders import BuildRequest, ModelFile
from tests.builders.place import PROJECT, RUNTIME, TEMPLATE
from tests.builders.test_builders import BASE
from tests.scoring.conftest import device, hub, network
from tests.scoring.edge_double import GATEWAY, EdgeDevice, EdgeHub, wait_for
from tests.scoring.traffic import answered, connected, log
from tests.services.cloud import Cloud

__all__ = ["device", "hub", "network"]

pytestmark = pytest.mark.docker

HERE = Path(__file__).parent / "kinds"
BUILDERS = ("docker", "acr", "azureml/containerImage", "azureml/package")
KINDS = ("old", "plain", "raw", "schema")
READINGS: list[dict[str, Any]] = json.loads((PROJECT / "scoring" / "readings.json").read_text())
ANOMALIES = [False, True, True]


def script_of(kind: str) -> Path:
    """`plain` is the project's own."""
    return PROJECT / "scoring" / "score.py" if kind == "plain" else HERE / f"{kind}.py"


Image = Callable[[str, str], str]
"""(builder, kind) -> the image's name on the engine, pulled by its digest."""


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=600)
    yield client
    client.close()


def register(workspace_id: str, name: str, path: Path) -> ModelFile:
    inputs = {"workspaceId": workspace_id, "name": name, "path": str(path), "contentHash": hash_named(path)}
    registered = RegisteredModelProvider().create(inputs)
    return ModelFile(str((registered.outs or {})["modelId"]), path)


@pytest.fixture(scope="module")
def models(workspace_id: str) -> list[ModelFile]:
    """The first is registered under its file's name, as scripts of 2018 expect; the second is a folder."""
    folder = HERE / "thresholds"
    return [
        register(workspace_id, "model.pkl", PROJECT / "scoring/model.pkl"),
        register(workspace_id, "thresholds", folder),
    ]


@pytest.fixture(scope="module")
def image(
    engine: docker.DockerClient, azure: Cloud, registry_id: str, workspace_id: str, models: list[ModelFile]
) -> Iterator[Image]:
    from components.services import registry

    credentials = registry.admin_credentials(registry_id)
    login = {"username": credentials.username, "password": credentials.password}
    made: dict[tuple[str, str], str] = {}

    def build(builder: str, kind: str) -> str:
        key = (builder, "all" if builder == "acr" and kind in KINDS else kind)
        if key not in made:
            needed = models if kind == "several" else models[:1]
            ref = _build(builder, kind, registry_id, workspace_id, needed)
            repository, _, digest = ref.partition("@")
            engine.images.pull(repository, digest, auth_config=login)
            size = engine.images.get(ref).attrs["Size"] / 1e6
            logging.getLogger(__name__).info("%s %s: %.0f MB on disk", builder, kind, size)
            made[key] = ref
        return made[key]

    yield build
    for ref in made.values():
        engine.images.remove(ref, force=True)


def _build(builder: str, kind: str, registry_id: str, workspace_id: str, models: list[ModelFile]) -> str:
    name, _, mode = builder.partition("/")
    said: list[str] = []
    others = [script_of(other) for other in KINDS if other != kind] if builder == "acr" and kind in KINDS else []
    request = BuildRequest(
        workspace_id=workspace_id,
        registry_id=registry_id,
        name=f"table-{builder.replace('/', '-').lower()}",
        fingerprint=uuid.uuid4().hex,
        models=models,
        script=script_of(kind),
        conda_file=HERE / "old.yml",
        runtime=RUNTIME,
        dependencies=others,
        base_image=BASE,
        dockerfile=TEMPLATE,
        platform="linux/amd64",
        tags={},
        description="",
        progress=said.append,
    )
    return str(builders.of(name, mode).build(request).ref)


@contextmanager
def module_of(
    engine: docker.DockerClient, ref: str, builder: str, kind: str, network: Any, device: EdgeDevice
) -> Iterator[Container]:
    """Run as the deployment runs it."""
    options = HARDENED["HostConfig"]
    source = f"/{PACKAGE_SOURCE}" if builder == "azureml/package" else ""
    chosen = {"AZUREML_ENTRY_SCRIPT": script_of(kind).name} if builder == "acr" else {}
    container = engine.containers.run(
        ref,
        entrypoint=["python", f"{APP_ROOT}{source}/edge_runtime"],
        name=f"aml-edge-test-table-{uuid.uuid4().hex[:8]}",
        detach=True,
        network=network.name,
        user=HARDENED["User"],
        read_only=options["ReadonlyRootfs"],
        tmpfs=options["Tmpfs"],
        cap_drop=options["CapDrop"],
        security_opt=options["SecurityOpt"],
        extra_hosts={GATEWAY: device.address},
        volumes=[f"{device.socket}:/var/run/iotedge/workload.sock"],
        environment={"HOME": "/tmp", **device.environment, **chosen},
    )
    try:
        yield container
    finally:
        container.remove(force=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("builder", BUILDERS)
def test_it_scores(
    engine: docker.DockerClient,
    image: Image,
    network: Any,
    device: EdgeDevice,
    hub: EdgeHub,
    builder: str,
    kind: str,
) -> None:
    with module_of(engine, image(builder, kind), builder, kind, network, device) as container:
        connected(hub, container)
        bodies = [encode(kind, reading) for reading in READINGS]
        for number, body in enumerate(bodies):
            hub.send(f"reading {number}", body)
        answered(hub, container)
        assert [output.output for output in hub.received] == ["amlOutput"] * 3, log(container)
        assert [decode(kind, output.body) for output in hub.received] == [expected(kind, number) for number in range(3)]
        base = address(container, network)
        for number, body in enumerate(bodies):
            answer = requests.post(f"{base}/score", data=body, headers=headers(kind), timeout=120)
            assert answer.status_code == 200, answer.text
            assert decode(kind, answer.content) == expected(kind, number)
        assert requests.get(f"{base}/", timeout=120).text == "Healthy"
        assert requests.get(f"{base}/swagger.json", timeout=120).json()["swagger"] == "2.0"
        container.stop(timeout=60)
        assert container.wait()["StatusCode"] == 0, log(container)


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_image_by_itself_serves_http(engine: docker.DockerClient, image: Image, network: Any, builder: str) -> None:
    """Started as it is, without IoT Edge and without the supervisor."""
    container = engine.containers.run(image(builder, "old"), detach=True, network=network.name)
    try:
        base = address(container, network)
        assert wait_for(lambda: healthy(base)), log(container)
        answer = requests.post(f"{base}/score", json=READINGS[1], timeout=120)
        assert decode("old", answer.content) == expected("old", 1)
    finally:
        container.remove(force=True)


@pytest.mark.parametrize("builder", BUILDERS)
def test_several_models_lie_below_one_folder(
    engine: docker.DockerClient, image: Image, models: list[ModelFile], network: Any, builder: str
) -> None:
    container = engine.containers.run(image(builder, "several"), detach=True, network=network.name)
    try:
        base = address(container, network)
        assert wait_for(lambda: healthy(base)), log(container)
        answer = requests.post(f"{base}/score", json={}, timeout=120)
        assert answer.status_code == 200, log(container)
        one, two = (f"{model.name}/{model.version}/{model.path.name}" for model in models)
        assert answer.json() == {
            "root": ["azureml-models"],
            "files": [one, f"{two}/high.json", f"{two}/low.json"],
            "paths": [one, two],
        }
    finally:
        container.remove(force=True)


def encode(kind: str, reading: dict[str, Any]) -> bytes:
    if kind == "schema":
        return json.dumps({"data": [features(reading)]}).encode()
    return b"\xff" + json.dumps(reading).encode() if kind == "raw" else json.dumps(reading).encode()


def headers(kind: str) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream" if kind == "raw" else "application/json"}


def decode(kind: str, body: bytes) -> Any:
    if kind == "raw":
        return body
    answer = json.loads(body)
    return [json.loads(text) for text in answer] if kind == "old" else answer


def expected(kind: str, number: int) -> Any:
    reading, anomaly = READINGS[number], ANOMALIES[number]
    if kind == "raw":
        return encode("raw", reading)[::-1]
    if kind == "schema":
        return [int(anomaly)]
    scored = {**reading, "anomaly": anomaly}
    return [scored] if kind == "old" else scored


def features(reading: dict[str, Any]) -> list[float]:
    machine, ambient = reading["machine"], reading["ambient"]
    return [machine["temperature"], machine["pressure"], ambient["temperature"], ambient["humidity"]]


def address(container: Container, network: Any) -> str:
    container.reload()
    return f"http://{container.attrs['NetworkSettings']['Networks'][network.name]['IPAddress']}:5001"


def healthy(base: str) -> bool:
    try:
        return requests.get(f"{base}/", timeout=20).text == "Healthy"
    except requests.RequestException:
        return False
