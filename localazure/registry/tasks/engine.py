"""The Docker engine as a build agent: builds a context, pushes the image, forgets it. Runs in a thread."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests
from docker.types import CancellableStream

from localazure import docker_engine
from localazure.builds.log import BuildError, BuildLog
from localazure.registry.tasks.interrupt import Interrupt
from localazure.registry.tasks.request import BuildRequest

LABEL = "aml-edge.acr-run"
"""On every layer of a build, taken off what is pushed: layers that an interrupted build leaves are found by it."""
_PATIENCE_SECONDS = 30.0
_QUIET_LOOKS = 10  # after an interruption, before nothing more is expected
_BASE = re.compile(r"Step \d+/\d+ : FROM (\S+@sha256:[0-9a-f]{64})\b")
Login = tuple[str, str]


class Agent:
    """One for each attempt, with a connection of its own and no login but those it is given."""

    def __init__(self, log: BuildLog, interrupt: Interrupt, mark: str) -> None:
        self._log, self._interrupt, self._mark = log, interrupt, mark
        self._before: set[str] = set()
        self._bases: set[str] = set()
        try:
            self._client = docker_engine.connect()
        except docker.errors.DockerException as error:
            raise BuildError(f"the Docker engine that DOCKER_HOST names does not answer: {error}") from error

    def build(
        self, context: Path, request: BuildRequest, arguments: Mapping[str, str], logins: Mapping[str, Login]
    ) -> str:
        """The id of the image. Raises BuildError with the engine's words, BuildEnded."""
        parameters = {
            "dockerfile": request.dockerFilePath,
            "buildargs": json.dumps(dict(arguments)),
            "networkmode": "host",
            "nocache": request.noCache,
            "target": request.target or "",
            "platform": request.platform.docker,
            "rm": True,
            "forcerm": True,
        }
        held = {host: _login(host, login) for host, login in logins.items()}
        self._before = self._names()
        headers = {"Content-Type": "application/x-tar", "X-Registry-Config": _header(held)}
        image = ""
        with context.open("rb") as file:
            for event in self._post("/build", parameters, headers, file):
                image = event.get("aux", {}).get("ID") or image
                self._note(event)
        if not image:
            raise BuildError("the Docker engine ended the build without an image; see its own log")
        self._check_platform(image, request.platform.docker)
        return image

    def _check_platform(self, image: str, wanted: str) -> None:
        """Engines up to 20.10 build on a base image of another platform that they have, and do not always say so; ACR's refuse."""
        try:
            made = self._client.api.inspect_image(image)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise BuildError(f"the Docker engine cannot be reached: {error}") from error
        if (actual := f"{made['Os']}/{made['Architecture']}") != wanted:
            raise BuildError(
                f"image with reference {image} was found but does not match the specified platform: wanted {wanted}, actual: {actual}"
            )

    def push(self, image: str, location: str, tag: str, login: Login) -> str:
        """Push as `location:tag`; the manifest's digest. The engine's tag is gone afterwards."""
        host = location.partition("/")[0]
        self._log.line(f"Pushing image: {location}:{tag}")
        digest = ""
        try:
            self._client.api.tag(image, location, tag, force=True)
            headers = {"X-Registry-Auth": _header(_login(host, login))}
            for event in self._post(f"/images/{location}/push", {"tag": tag}, headers, None):
                digest = event.get("aux", {}).get("Digest") or digest
                if event.get("status") and "progressDetail" not in event:
                    self._log.line(event["status"])
        except docker.errors.APIError as error:
            raise BuildError(f"the push of {location}:{tag} failed: {error.explanation}") from error
        finally:
            with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
                self._client.api.remove_image(f"{location}:{tag}", noprune=True)
        if not digest:
            raise BuildError(f"the push of {location}:{tag} ended without a digest")
        return digest

    def discard(self) -> None:
        """Remove what this build made from the engine, and what it pulled by digest: the registry has it, or nobody. ACR's agents
        are new machines each time."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException):  # the engine is gone
            quiet, enough = 0, _QUIET_LOOKS if self._interrupt.ended else 1
            while True:
                quiet = 0 if prune(self._client, self._mark) else quiet + 1
                if quiet == enough or time.monotonic() > deadline:
                    break
                time.sleep(0.2)  # the engine is still ending the step that was interrupted, or may yet make its layer
            for base in self._bases - self._before:
                with contextlib.suppress(docker.errors.APIError):  # never pulled, or somebody runs it meanwhile
                    self._client.api.remove_image(base)
        self._client.close()

    def _names(self) -> set[str]:
        """Of all images that the engine has by digest."""
        return {name for image in self._client.api.images() for name in image.get("RepoDigests") or []}

    def _note(self, event: dict[str, Any]) -> None:
        text = event.get("stream", "")
        self._log.feed(text)
        if base := _BASE.match(text):
            self._bases.add(base[1])
        if event.get("status") and "progressDetail" not in event:
            self._log.line(f"{event['id']}: {event['status']}" if event.get("id") else event["status"])

    def _post(
        self, path: str, parameters: Mapping[str, Any], headers: Mapping[str, str], content: Any
    ) -> Iterator[dict[str, Any]]:
        """The engine's events, until one is an error."""
        api = self._client.api
        url = f"{api.base_url}/v{api.api_version}{path}"
        try:
            answer = api.post(url, params=parameters, headers=headers, data=content, stream=True)
        except requests.RequestException as error:
            self._interrupt.check()
            raise BuildError(f"the Docker engine cannot be reached: {error}") from error
        if answer.status_code >= requests.codes.bad_request:
            raise BuildError(_words(answer))
        stream = CancellableStream(answer.iter_lines(), answer)
        try:
            self._interrupt.watch(stream)
            for line in stream:
                if line.strip():
                    event = json.loads(line)
                    if "error" in event:
                        raise BuildError(str(event["error"]).strip())
                    yield event
        finally:
            self._log.flush()
            answer.close()
        self._interrupt.check()


def prune(client: docker.DockerClient, mark: str) -> int:
    """Remove images without a name whose label begins with `mark`; how many are still there."""
    while True:
        # Not `images.list`, which looks at each image again and fails when another build has removed one meanwhile.
        found = client.api.images(all=True, filters={"dangling": True, "label": LABEL})
        mine = [image for image in found if str(image["Labels"].get(LABEL)).startswith(mark)]
        removed = 0
        for image in mine:
            with contextlib.suppress(docker.errors.APIError):  # in use, or the parent of one that comes later
                client.api.remove_image(image["Id"])
                removed += 1
        if not removed:
            return len(mine)


def leave_nothing(owner: str) -> None:
    """What a killed service left of its builds. Without an engine there is nothing to do."""
    with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
        client = docker_engine.connect()
        prune(client, f"{owner}-")
        client.close()


def _words(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError):
        return f"the Docker engine answered {answer.status_code}: {answer.text[:500]}"


def _login(host: str, login: Login) -> dict[str, str]:
    return {"username": login[0], "password": login[1], "serveraddress": host}


def _header(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
