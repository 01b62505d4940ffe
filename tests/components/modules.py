"""The tiniest module that stays up: `sleep` and the two files that it needs, taken from the base image."""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from typing import Any

import docker
import docker.errors

from components.services.registry import Credentials
from tests.waiting import PATIENCE

CREATE_OPTIONS = {"Entrypoint": ["/bin/sleep"], "Cmd": ["3600"]}
_DOCKERFILE = """
ARG BASE
FROM ${BASE} AS base
RUN mkdir -p /out/bin && cp -L /bin/sleep /out/bin/ && ldd /bin/sleep | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} /out
FROM scratch
ARG MARK
LABEL mark=${MARK}
COPY --from=base /out /
STOPSIGNAL SIGKILL
"""


def push_module(credentials: Credentials, repository: str) -> str:
    """Its reference by digest, another one each time; the engine keeps nothing that other tests, which use it too, could remove."""
    engine = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], timeout=PATIENCE)
    target = f"{credentials.login_server}/{repository}"
    try:
        engine.images.build(
            fileobj=io.BytesIO(_DOCKERFILE.encode()),
            buildargs={"BASE": os.environ["LOCALAZURE_BASE_IMAGE"], "MARK": uuid.uuid4().hex},
            tag=f"{target}:t",
            rm=True,
        )
        auth = {"username": credentials.username, "password": credentials.password}
        digest = ""
        for line in engine.api.push(target, "t", auth_config=auth, stream=True, decode=True):
            assert "error" not in line, line
            digest = line.get("aux", {}).get("Digest", digest)
        engine.api.remove_image(f"{target}:t")
    finally:
        engine.close()
    return f"{target}@{digest}"


def forget_images(login_server: str) -> None:
    """What the devices pulled from a registry that is going away. Other tests remove images of theirs at the same time."""
    engine = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], timeout=PATIENCE)
    try:
        for image in engine.api.images():
            names: Any = [*(image["RepoDigests"] or []), *(image["RepoTags"] or [])]
            for name in names:
                if name.startswith(f"{login_server}/"):
                    with contextlib.suppress(docker.errors.APIError):
                        engine.api.remove_image(name, force=True)
    finally:
        engine.close()
