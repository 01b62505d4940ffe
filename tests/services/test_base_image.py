"""Which image a name means: asked of a registry that answers anybody, of the Docker engine, of nobody."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from components.services import base_image
from tests.services.cloud import Cloud, environment
from tests.services.edge import Fault, Proxy, proxy
from tests.waiting import PATIENCE

DIGEST = f"sha256:{'a' * 64}"
NAME = "team/base:1"


@pytest.fixture
def registry(azure: Cloud) -> Iterator[Proxy]:
    with proxy(azure.azure.instance.address, azure.azure.instance.pki) as made:
        yield made


@pytest.fixture
def without_engine(azure: Cloud, tmp_path: Path) -> Iterator[None]:
    with environment({**azure.azure.env, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}):
        yield


def answers(registry: Proxy, *, token: bool) -> None:
    """Like Docker Hub and mcr.microsoft.com, or like a registry without tokens."""
    manifest = f"/v2/{NAME.partition(':')[0]}/manifests/1"
    if token:
        realm = f'Bearer realm="https://{registry.host}/token",service="s",scope="repository:team/base:pull"'
        registry.faults.append(Fault("HEAD", manifest, 401, headers={"WWW-Authenticate": realm}))
        registry.faults.append(Fault("GET", "/token?service=s&scope=", 200, body=json.dumps({"token": "t"}).encode()))
    registry.faults.append(Fault("HEAD", manifest, 200, times=9, headers={"Docker-Content-Digest": DIGEST}))


@pytest.mark.parametrize("token", [True, False])
def test_a_registry_is_asked_without_a_login(registry: Proxy, without_engine: None, token: bool) -> None:
    answers(registry, token=token)
    name = f"{registry.host}/{NAME}"
    assert base_image.identify(name) == f"{name}@{DIGEST}"
    assert base_image.to_build_from(f"{name}@{DIGEST}") == f"{name}@{DIGEST}"


def test_a_tag_that_moved_is_seen(registry: Proxy, without_engine: None) -> None:
    answers(registry, token=False)
    name = f"{registry.host}/{NAME}"
    assert base_image.identify(name, f"{name}@sha256:{'b' * 64}") == f"{name}@{DIGEST}"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("HEAD", "/v2/", 500, times=9),
        Fault("HEAD", "/v2/", 401, times=9, headers={"WWW-Authenticate": "Basic realm=x"}),
        Fault("HEAD", "/v2/", 401, times=9, headers={"WWW-Authenticate": 'Bearer realm="http://plain.invalid/token"'}),
        Fault("HEAD", "/v2/", 200, times=9, headers={"Docker-Content-Digest": "nonsense"}),
        Fault("HEAD", "/v2/", 404, times=9),
        Fault("HEAD", "/v2/", -1, times=9),
    ],
)
def test_where_nobody_knows_it_means_what_it_meant_before(registry: Proxy, without_engine: None, fault: Fault) -> None:
    registry.faults.append(fault)
    name = f"{registry.host}/{NAME}"
    assert base_image.identify(name) is None
    assert base_image.identify(name, name) is None, "which was not known then either"
    before = f"{name}@{DIGEST}"
    assert base_image.identify(name, before) == before


def test_exact_names_ask_nobody(registry: Proxy, without_engine: None) -> None:
    for name in ("scratch", f"{registry.host}/{NAME}@{DIGEST}"):
        assert base_image.identify(name) == name
    assert registry.seen == []


@pytest.mark.docker
def test_an_image_of_the_engines_own_is_known_by_its_id() -> None:
    engine = docker.from_env(timeout=PATIENCE)
    name = f"aml-edge-test/base:{uuid.uuid4().hex[:8]}"
    image, _ = engine.images.build(fileobj=io.BytesIO(f"FROM scratch\nLABEL x={name}\n".encode()), tag=name, rm=True)
    try:
        identity = base_image.identify(name)
        assert identity == f"{name} ({image.id})"
        assert base_image.is_exact(identity)
        assert base_image.to_build_from(identity) == name
    finally:
        engine.images.remove(name)
        engine.close()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("python", ("docker.io", "library/python", "latest")),
        ("python:3.11-slim", ("docker.io", "library/python", "3.11-slim")),
        ("docker.io/python:3", ("docker.io", "library/python", "3")),
        ("team/base:1", ("docker.io", "team/base", "1")),
        ("mcr.microsoft.com/azureml/x:2", ("mcr.microsoft.com", "azureml/x", "2")),
        ("localhost:5000/x", ("localhost:5000", "x", "latest")),
    ],
)
def test_short_names_are_docker_hubs(name: str, parts: tuple[str, str, str]) -> None:
    assert base_image._parts(name) == parts
