"""Model.package end to end: the unmodified azureml-core with an Environment and an InferenceConfig."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from localazure import docker_engine
from tests.ml.stack import REGISTRY, Stack
from tools import base_image

pytestmark = pytest.mark.docker

SCORE = """
import json, os
from part import word
def init():
    global model
    model = open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.txt")).read()
def run(raw):
    return {"model": model, "sum": sum(json.loads(raw)["data"]), "word": word, "said": os.environ["SAID"]}
"""
PACKAGE = """
from azureml.core import Environment
from azureml.core.model import InferenceConfig
from azureml.core.conda_dependencies import CondaDependencies
env = Environment("scoring")
env.python.conda_dependencies = CondaDependencies("env.yml")
env.environment_variables = {"SAID": 'a "b" $HOME \\\\ c'}
config = InferenceConfig(entry_script="score.py", source_directory="src", environment=env)
model = Model.register(ws, model_path="model.txt", model_name="best_model")
"""


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return docker_engine.connect(timeout=600)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALAZURE_BASE_IMAGE", base_image.ensure(engine))
        running = Stack(tmp_path_factory.mktemp("azure"), registry=True)
        yield running
        running.close()


def program(folder: Path) -> None:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "score.py").write_text(SCORE)
    (folder / "src" / "part.py").write_text("word = 'beside'\n")
    (folder / "model.txt").write_text("first model")
    (folder / "env.yml").write_text("dependencies:\n- python=3.11\n- pip:\n  - azureml-inference-server-http\n")


def test_package_pull_score(stack: Stack, folder: Path, engine: docker.DockerClient) -> None:
    stack.add_workspace("packages")
    program(folder)
    got = stack.sdk(
        folder,
        "packages",
        PACKAGE
        + """
package = Model.package(ws, [model], config, image_name="team/scorer", image_label="v1")
out = {"at_once": [package.state, package.location]}
package.wait_for_creation(show_output=True)
answer(out | {"state": package.state, "location": package.location, "log": package.get_logs(), "end": package.get_logs(offset=10**9)})
""",
    )
    login_server = stack.inside(stack.registries.login_server, REGISTRY)
    assert got["at_once"][0] in ("NotStarted", "Running") and got["at_once"][1] is None
    assert (got["state"], got["location"], got["end"]) == ("Succeeded", f"{login_server}/team/scorer:v1", "")
    assert f"Image {login_server}/team/scorer:v1 built and pushed" in got["log"]
    password = stack.inside(stack.registries.passwords, REGISTRY)[0]
    login = {"username": REGISTRY, "password": password}
    engine.images.pull(f"{login_server}/team/scorer", tag="v1", auth_config=login)
    try:
        assert score(engine, got["location"]) == {
            "model": "first model",
            "sum": 6,
            "word": "beside",
            "said": 'a "b" $HOME \\ c',
        }
    finally:
        engine.images.remove(got["location"])


def score(engine: docker.DockerClient, location: str) -> Any:
    container = engine.containers.run(location, detach=True, user="10001", environment={"HOME": "/tmp"})
    try:
        container.reload()
        address = container.attrs["NetworkSettings"]["IPAddress"]
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://{address}:5001/", timeout=20).status_code == 200:
                    break
            container.reload()
            assert container.status == "running", container.logs().decode()
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.2)
        return httpx.post(f"http://{address}:5001/score", json={"data": [1, 2, 3]}, timeout=120).json()
    finally:
        container.remove(force=True)


def test_what_cannot_be_packaged(stack: Stack, folder: Path) -> None:
    """A base image of the user's own is used as it is given, and named when it cannot be had."""
    stack.add_workspace("refused")
    program(folder)
    got = stack.sdk(
        folder,
        "refused",
        PACKAGE
        + """
env.docker.base_image = "127.0.0.1:9/own/base:1"
package = Model.package(ws, [model], config)
try: package.wait_for_creation()
except WebserviceException as e: out = {"failed": str(e)}
for name, attempt in {
    "context": lambda: Model.package(ws, [], config, generate_dockerfile=True),
    "label": lambda: Model.package(ws, [], config, image_label="not a tag"),
    "name": lambda: Model.package(ws, [], config, image_name="Upper"),
}.items():
    try: attempt()
    except WebserviceException as e: out[name] = str(e)
answer(out)
""",
    )
    assert "the base image 127.0.0.1:9/own/base:1 is neither on the Docker engine nor can it be pulled" in got["failed"]
    assert "Response Code: 501" in got["context"] and "DockerBuildContext" in got["context"]
    assert "Response Code: 400" in got["label"] and "Response Code: 400" in got["name"]
