"""ContainerImage end to end: azureml-core uploads, the service builds and pushes, somebody else pulls and scores."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import httpx
import pytest
from docker.models.containers import Container

from localazure import docker_engine
from localazure.builds.engine import LABEL, Engine
from tests.ml.stack import REGISTRY, Stack
from tools import base_image

pytestmark = pytest.mark.docker

SCORE = """
import json, os
def init():
    global model
    model = open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.txt")).read()
def run(raw):
    return {"model": model, "sum": sum(json.loads(raw)["data"]), "pip": __import__("tabulate").__name__}
"""
# The comment makes an environment that no earlier run has left on the engine: the recipe itself is under test.
CONDA = f"name: e\ndependencies:\n- python=3.11\n- tabulate=0.9\n- pip:\n  - toolz==1.0.0\n  - '# {uuid.uuid4()}'\n"
CREATE = """
config = ContainerImage.image_configuration(execution_script="score.py", runtime="python", conda_file="myenv.yml", docker_file="steps",
                                            tags={"a": "b"}, description="img", dependencies=["helper"])
models = [Model.register(ws, model_path="model.txt", model_name="best_model")]
image = ContainerImage.create(name="myimage", models=models, image_config=config, workspace=ws)
"""


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return docker_engine.connect(timeout=600)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALAZURE_BASE_IMAGE", base_image.ensure(engine))
        patch.setenv("PIP_TRUSTED_HOST", "secret.invalid")
        running = Stack(tmp_path_factory.mktemp("azure"), registry=True)
        yield running
        running.close()
        for name in environments:
            engine.images.remove(name)


environments: set[str] = set()
"""Images to remove: those that no other run can use."""


def program(folder: Path, *, score: str = SCORE, conda: str = CONDA) -> None:
    folder.mkdir()
    (folder / "score.py").write_text(score)
    (folder / "myenv.yml").write_text(conda)
    (folder / "model.txt").write_text("first model")
    (folder / "steps").write_text("RUN echo from a step > /step.txt\n")
    (folder / "helper").mkdir()
    (folder / "helper" / "part.py").write_text("VALUE = 1\n")


def environments_of(dockerfile: str) -> list[str]:
    return re.findall(r"^FROM (aml-edge/environment:\w+)$", dockerfile, re.MULTILINE)


def test_create_pull_score_list_delete(stack: Stack, folder: Path, engine: docker.DockerClient) -> None:
    stack.add_workspace("images")
    program(folder)
    got = stack.sdk(
        folder,
        "images",
        CREATE
        + """
out = {"at_once": image.creation_state}
try: models[0].delete()
except WebserviceException as e: out["in_use"] = str(e)
image.wait_for_creation(show_output=True)
same = Image(ws, name="myimage")
ids = lambda images: [i.id for i in images]
out |= {"state": image.creation_state, "location": image.image_location, "log": image.image_build_log_uri,
        "dockerfile": same.generated_dockerfile_uri, "kind": type(same).__name__,
        "tags": dict(same.tags), "models": [m.id for m in same.models],
        "assets": sorted(a.unpack for a in same.assets), "driver": same.driver_program, "runtime": same.target_runtime.runtime_type,
        "by_id": Image(ws, id="myimage:1").version, "listed": ids(Image.list(ws)), "by_tag": ids(Image.list(ws, tags=[["a", "b"]])),
        "by_other": ids(Image.list(ws, tags=["c"])), "by_model": ids(Image.list(ws, model_id="best_model:1")),
        "by_model_name": ids(Image.list(ws, model_name="other")), "by_name": ids(Image.list(ws, image_name="myimage")),
        "ws": list(ws.images)}
same.add_tags({"digest": "x"}); same.add_properties({"q": "1"})
out["retagged"] = [Image(ws, name="myimage").tags, Image(ws, name="myimage").properties["q"]]
answer(out)
""",
    )
    login_server = stack.inside(stack.registries.login_server, REGISTRY)
    location = f"{login_server}/myimage:1"
    assert got["at_once"] == "Running"
    assert "Response Code: 412" in got["in_use"]
    assert got["state"] == "Succeeded"
    assert got["location"] == location
    assert (got["kind"], got["driver"], got["runtime"]) == ("ContainerImage", "driver", "Python")
    assert (got["tags"], got["models"], got["assets"]) == ({"a": "b"}, ["best_model:1"], [False, True, True])
    assert got["by_id"] == "1"
    for listing in ("listed", "by_tag", "by_model", "by_name"):
        assert got[listing] == ["myimage:1"]
    assert got["by_other"] == got["by_model_name"] == []
    assert got["ws"] == ["myimage"]
    assert got["retagged"] == [{"a": "b", "digest": "x"}, "1"]

    with stack.http() as http:
        log = http.get(got["log"])
        assert "Installing the pip section" in log.text
        assert f"Image {location} built and pushed" in log.text
        assert http.get(got["log"], headers={"Range": "bytes=5-9"}).content == log.content[5:10]
        assert http.get(got["log"].replace("ImageLogs", "imageLogs")).status_code == 403
        dockerfile = http.get(got["dockerfile"]).text
    assert "COPY app/ /var/azureml-app/" in dockerfile
    (environment,) = environments_of(dockerfile)
    environments.add(environment)
    image = engine.images.get(environment)
    assert "secret.invalid" not in str([image.attrs, image.history()])  # the index of pip may hold a password

    with pytest.raises(
        docker.errors.ImageNotFound
    ):  # the builder keeps nothing that a device could take instead of pulling
        engine.images.get(location)
    with pytest.raises(docker.errors.APIError):
        engine.images.pull(f"{login_server}/myimage", tag="1", auth_config={"username": REGISTRY, "password": "wrong"})
    password = stack.inside(stack.registries.passwords, REGISTRY)[1]
    engine.images.pull(f"{login_server}/myimage", tag="1", auth_config={"username": REGISTRY, "password": password})
    try:
        scored, paths = score(engine, location)
    finally:
        engine.images.remove(location)
    assert scored == {"model": "first model", "sum": 6, "pip": "tabulate"}
    assert paths == [
        "azureml-models/best_model/1/model.txt",
        "helper/part.py",
        "main.py",
        "score.py",
    ]

    stack.sdk(folder, "images", "Image(ws, name='myimage').delete(); Model(ws, 'best_model').delete(); answer(1)")
    assert stack.sdk(folder, "images", "answer([len(Image.list(ws)), len(Model.list(ws))])") == [0, 0]


def score(engine: docker.DockerClient, location: str) -> tuple[Any, list[str]]:
    """Hardened as an edge module is: no root, no writable file system, no capabilities."""
    container = engine.containers.run(
        location,
        detach=True,
        user="10001",
        read_only=True,
        tmpfs={"/tmp": "noexec,nosuid"},
        cap_drop=["ALL"],
        environment={"HOME": "/tmp"},
        name=f"mlroom-{os.getpid()}",
    )
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
        answer = httpx.post(f"http://{address}:5001/score", json={"data": [1, 2, 3]}, timeout=120)
        assert output(container, ["id", "-u"]) == ["10001"]
        assert output(container, ["cat", "/step.txt"]) == ["from", "a", "step"]
        return answer.json(), sorted(output(container, ["find", "/var/azureml-app", "-type", "f", "-printf", "%P\\n"]))
    finally:
        container.remove(force=True)


def output(container: Container, command: list[str]) -> list[str]:
    content = container.exec_run(command).output
    assert isinstance(content, bytes)
    return content.decode().split()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conda": "dependencies:\n- python=3.11\n- no-such-conda-package-xyz=1.2\n"}, "no-such-conda-package-xyz"),
        ({"conda": "dependencies:\n- python=3.6.2\n"}, "the conda file asks for python==3.6.2.*"),
        ({"conda": "dependencies: numpy\n"}, "'dependencies' must be a list"),
        ({"score": "def run(raw): return raw\n"}, "score.py does not define init()"),
        ({"score": "def run(raw) return raw\n"}, "score.py is not valid Python"),
    ],
)
def test_builds_that_fail_say_why(stack: Stack, folder: Path, change: dict[str, str], message: str) -> None:
    stack.add_workspace("failures")
    program(folder, **change)
    got = stack.sdk(folder, "failures", CREATE + FAILED)
    assert got["state"] == "Failed"
    assert got["location"] is None
    assert message in got["error"]
    with stack.http() as http:
        assert message in http.get(got["log"]).text
    with stack.authorised() as http:
        images = http.get(f"/modelmanagement/v1.0{stack.workspace_id('failures')}/images").json()["value"]
    assert {image["creationState"] for image in images} == {"Failed"}


FAILED = """
import time
while image._get_operation_state()[0] not in ("Failed", "Succeeded"): time.sleep(0.2)  # wait_for_creation looks every 5 s
try: image.wait_for_creation()
except WebserviceException as e:
    answer({"error": str(e), "state": image.creation_state, "location": image.image_location, "log": image.image_build_log_uri})
"""


def test_scripts_under_their_absolute_path_are_not_mended(stack: Stack, folder: Path) -> None:
    """azureml-core 1.61 packs `home/user/score.py`; Azure's driver would not find it, so neither does ours."""
    stack.add_workspace("absolute")
    program(folder)
    regression = """
import azureml.core.image.container as container
original = container.upload_dependency
def absolute(workspace, dependency, create_tar=False, **rest):
    import os
    return original(workspace, os.path.abspath(dependency) if create_tar else dependency, create_tar, **rest)
container.upload_dependency = absolute
"""
    got = stack.sdk(folder, "absolute", regression + CREATE + FAILED)
    assert "opens 'score.py' beside itself" in got["error"]
    assert "program/score.py" in got["error"]


def test_a_workspace_without_registry_cannot_hold_images(stack: Stack, folder: Path) -> None:
    stack.add_workspace("bare", registry=False)
    program(folder)
    got = stack.sdk(folder, "bare", CREATE + FAILED)
    assert "no container registry" in got["error"]


def test_a_registry_without_admin_user_refuses_the_push(stack: Stack, folder: Path) -> None:
    stack.add_workspace("noadmin")
    program(folder)
    stack.inside(stack.registries.set_admin, REGISTRY, enabled=False)
    try:
        got = stack.sdk(folder, "noadmin", CREATE + FAILED)
    finally:
        stack.inside(stack.registries.set_admin, REGISTRY, enabled=True)
    assert f"myimage:1 as {REGISTRY} failed" in got["error"]


def test_a_build_goes_on_after_a_restart(stack: Stack, folder: Path, engine: docker.DockerClient) -> None:
    stack.add_workspace("restart")
    program(folder, conda=f"{CONDA}  - '# long enough to be interrupted: an environment of its own'\n")
    got = stack.sdk(folder, "restart", CREATE + "answer([image.id, image._operation_endpoint])")
    stack.restart()
    with stack.authorised() as http:
        deadline = time.monotonic() + 600
        while (operation := http.get(got[1]).json())["state"] not in ("Succeeded", "Failed"):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        log = http.get(operation["operationLog"]).text
        (image,) = http.get(f"/modelmanagement/v1.0{stack.workspace_id('restart')}/images").json()["value"]
    with stack.http() as http:
        environments.update(environments_of(http.get(image["generatedDockerFileUri"]).text))
    assert operation["state"] == "Succeeded", log
    assert "building again" in log
    location = f"{stack.inside(stack.registries.login_server, REGISTRY)}/myimage"
    password = stack.inside(stack.registries.passwords, REGISTRY)[0]
    version = got[0].rsplit(":", 1)[1]
    login = {"username": REGISTRY, "password": password}
    (digest,) = engine.images.pull(location, tag=version, auth_config=login).attrs["RepoDigests"]
    engine.images.remove(f"{location}:{version}")
    pulled = engine.images.pull(digest, auth_config=login)  # now held by digest only, as a device holds it
    stack.restart()  # what the interrupted build left on the engine is gone with the next stop at the latest
    try:
        owner = Engine(stack.instance.subscription_id).owner
        left = engine.api.images(filters={"dangling": True, "label": f"{LABEL}={owner}"})
        assert [image["Id"] for image in left] == [pulled.id]
    finally:
        engine.images.remove(digest)
