"""`builder: docker`: the local Docker engine builds and pushes, with its layer cache."""

from __future__ import annotations

import collections
import contextlib
import os
import re
from typing import Any
from urllib.parse import urlsplit

import docker
import docker.errors
import requests

from components.services.aml import build_log
from components.services.builders import BuildRequest, BuiltImage
from components.services.builders.context import DOCKERFILE, build_context, recipe
from components.services.builders.tagged import discard, find_or_make
from components.services.errors import ServiceError
from components.services.registry import Credentials

__all__ = ["build", "discard"]

TIMEOUT_SECONDS = 3600
LOG_TAIL_LINES = 20
# What pip in the build may need to know of this machine's package index. Build arguments stay readable in the image's history.
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")


def build(request: BuildRequest) -> BuiltImage:
    """Find the fingerprint in the registry, or build and push it."""
    return find_or_make(request, _build_and_push)


def _build_and_push(request: BuildRequest, credentials: Credentials) -> None:
    tag = f"{credentials.login_server}/{request.name}:{request.fingerprint}"
    made = recipe(request)
    try:
        client = docker.from_env(timeout=TIMEOUT_SECONDS)
        client.ping()
    except docker.errors.DockerException as error:
        raise ServiceError(
            "build the image",
            tag,
            f"no Docker engine answers: {str(error)[:200]}",
            "Start Docker or set DOCKER_HOST; image.builder acr builds in Azure without an engine.",
        ) from None
    try:
        with build_context(request, made, compressed=False) as context:
            lines = client.api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=DOCKERFILE,
                tag=tag,
                rm=True,
                forcerm=True,
                decode=True,
                network_mode="host",
                platform=request.platform,
                buildargs=_pip_settings(),
            )
            _follow(request, "build the image", tag, lines)
        _check_platform(request, client, tag)
        request.progress(f"pushing {tag}")
        login = {"username": credentials.username, "password": credentials.password}
        _follow(request, "push the image", tag, client.api.push(tag, stream=True, decode=True, auth_config=login))
    except docker.errors.APIError as error:
        raise ServiceError("build the image", tag, str(error.explanation or error)[:500]) from None
    except (docker.errors.DockerException, requests.RequestException) as error:  # docker-py lets the latter through
        advice = "Check that the Docker engine still runs, then run `pulumi up` again."
        raise ServiceError("build the image", tag, f"the Docker engine broke off: {str(error)[:200]}", advice) from None
    finally:
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
            client.images.remove(tag, noprune=True)  # the layers stay as cache
        client.close()


def _follow(request: BuildRequest, doing: str, tag: str, events: Any) -> None:
    """Show the engine's lines. Raises ServiceError with the last of them when it reports an error."""
    tail: collections.deque[str] = collections.deque(maxlen=LOG_TAIL_LINES)
    for event in events:
        lines = [line.rstrip() for line in str(event.get("stream", "")).splitlines() if line.strip()]
        tail.extend(lines)
        for line in build_log.worth_showing(lines):
            request.progress(line)
        if "error" in event:
            log = "\n".join(f"    {line}" for line in tail)
            answer = f"{event['error']}\n{log}"
            raise ServiceError(doing, tag, answer, f"{_advice(request, answer)}, then run `pulumi up` again.")


def _advice(request: BuildRequest, answer: str) -> str:
    if "exec format error" in answer.lower():
        return (
            f"This Docker engine cannot run programs for {request.platform}. Teach it (docker run --privileged --rm "
            f"tonistiigi/binfmt --install {request.architecture}), build on a machine of that platform, or use image.builder acr"
        )
    if "no matching manifest" in answer:
        return f"Name an image.baseImage that there is for {request.platform}"
    return "Correct the cause"


def _check_platform(request: BuildRequest, client: docker.DockerClient, tag: str) -> None:
    """Engines up to 20.10 take a base image that they have, of whatever platform it is, and say nothing."""
    made = client.images.get(tag).attrs
    platform = f"{made['Os']}/{made['Architecture']}"
    if platform != request.platform:
        raise ServiceError(
            "build the image",
            tag,
            f"the engine made it for {platform}; image.platform is {request.platform}",
            f"What this engine has as the base image {request.base_image}, or in its layer cache, is for {platform}. Fetch the right one "
            f"(docker pull --platform {request.platform} {request.base_image}), name one that there is for {request.platform}, or set "
            f"image.platform to {platform} if the devices are that; then run `pulumi up` again.",
        )


def _pip_settings() -> dict[str, str]:
    given = {name: os.environ[name] for name in PIP_VARIABLES if os.environ.get(name)}
    for name, value in given.items():
        if any(urlsplit(url).password or urlsplit(url).username for url in re.split(r"\s+", value)):
            raise ServiceError(
                "build the image",
                "with the local Docker engine",
                f"{name} holds a login, which would stay in the image's history",
                "Use a base image whose /etc/pip.conf knows the index, or an index without a login.",
            )
    return given
