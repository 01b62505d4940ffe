"""What builds share: the engine, the base image, and the means to stop a build that runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container
from docker.models.images import Image

from localazure import docker_engine
from localazure.builds.log import BuildError, BuildLog, BuildStopped

DEFAULT_BASE = "aml-edge/base:local"
DEADLINE_SECONDS = 1800
"""No build takes longer; the build container ends by itself then, even if this process is gone."""
LABEL = "aml-edge.build"
"""On every layer of an image that is built: what an interrupted build leaves is found by it."""
_NAME = "aml-edge-build"


class Engine:
    """Connects when the first build runs: the rest of the service needs no Docker. `owner` marks this instance's containers."""

    def __init__(self, owner: str) -> None:
        self.owner = hashlib.sha256(owner.encode()).hexdigest()[:12]
        self._client: docker.DockerClient | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._containers: set[str] = set()
        self._working = 0
        self._idle = threading.Condition()

    def client(self) -> docker.DockerClient:
        """Raises BuildError when no engine answers. The first call removes what a killed service left behind."""
        with self._lock:
            if self._client is None:
                try:
                    self._client = docker_engine.connect()
                    self._client.api.timeout = DEADLINE_SECONDS  # a build may be silent for long
                    # By name, not by label: a label would be committed into images and so reach every module made from them.
                    mine: dict[str, str | list[str] | bool] = {"name": f"^/?{_NAME}-{self.owner}-"}
                    for left in self._client.containers.list(all=True, filters=mine, ignore_removed=True):
                        self.remove(left)
                    self._prune(self._client)
                except docker.errors.DockerException as error:
                    self._client = None
                    raise BuildError(f"the Docker engine that DOCKER_HOST names does not answer: {error}") from error
            return self._client

    def base(self, log: BuildLog, name: str | None = None, login: tuple[str, str] | None = None) -> Image:
        """A base image, pulled if the engine does not hold it: the configured one, or that of this name. Raises BuildError."""
        hint = f"; make it available to the engine: docker pull {name}"
        if name is None:
            name = os.environ.get("LOCALAZURE_BASE_IMAGE") or DEFAULT_BASE
            hint = "; set LOCALAZURE_BASE_IMAGE to an image with Python 3.11 or newer and pip"
        credentials = {"username": login[0], "password": login[1]} if login else {}
        client = self.client()
        try:
            return client.images.get(name)
        except docker.errors.ImageNotFound:
            log.line(f"Pulling the base image {name}")
        tagged = "@" in name or ":" in name.rpartition("/")[2]
        try:
            return client.images.pull(name if tagged else f"{name}:latest", auth_config=credentials)
        except docker.errors.APIError as error:
            raise BuildError(
                f"the base image {name} is neither on the Docker engine nor can it be pulled ({error.explanation}){hint}"
            ) from error

    def run(self, image: str) -> Container:
        """A container that does nothing for at most the deadline and then removes itself; commands are run in it."""
        self.check()
        container = self.client().containers.run(
            image,
            ["sleep", str(DEADLINE_SECONDS)],
            entrypoint=[],
            detach=True,
            auto_remove=True,
            init=True,
            user="0",
            network_mode="host",
            name=f"{_NAME}-{self.owner}-{uuid.uuid4().hex[:8]}",
        )
        self._containers.add(str(container.id))
        return container

    def remove(self, container: Container) -> None:
        self._containers.discard(str(container.id))
        try:
            container.remove(force=True)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):  # gone, or being removed
                raise

    def exec(self, container: Container, command: list[str], log: BuildLog, environment: dict[str, str]) -> int:
        """Run a command with its output in the log as it comes; its exit code. Raises BuildStopped, BuildError at the deadline."""
        api = self.client().api
        call = api.exec_create(container.id, command, environment=environment, user="0", workdir="/")["Id"]
        for chunk in api.exec_start(call, stream=True):
            log.feed(chunk)
        log.flush()
        self.check()
        try:
            code = api.exec_inspect(call)["ExitCode"]
        except docker.errors.APIError:
            code = None
        if code is None:
            raise BuildError(f"the build was ended after {DEADLINE_SECONDS} seconds")
        return int(code)

    def follow(self, events: Iterator[dict[str, Any]]) -> Iterator[str]:
        """The lines of a build or push; raises BuildError with the engine's words, BuildStopped when the service stops."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        for event in events:
            self.check()
            if time.monotonic() > deadline:
                raise BuildError(f"the build was ended after {DEADLINE_SECONDS} seconds")
            if "error" in event:
                raise BuildError(str(event["error"]).strip())
            text = event.get("stream") or event.get("status")
            if text and text.strip() and "progress" not in event:
                prefix = f"{event['id']}: " if event.get("id") else ""
                yield prefix + text.rstrip()

    def check(self) -> None:
        if self._stopping.is_set():
            raise BuildStopped

    def stop(self) -> None:
        """From now on every step of a running build raises BuildStopped."""
        self._stopping.set()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Round all that a thread does with this engine: `end` waits for it."""
        with self._idle:
            self._working += 1
        try:
            yield
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def end(self, patience: float = 5) -> None:
        """Remove the containers of builds that run, so that their threads come to such a step; then what these builds left."""
        client = self._client
        if client is None:
            return
        for identity in list(self._containers):
            with contextlib.suppress(docker.errors.DockerException):
                self.remove(client.containers.get(identity))
        with self._idle:
            self._idle.wait_for(lambda: not self._working, patience)
        with contextlib.suppress(docker.errors.DockerException):
            self._prune(client)

    def _prune(self, client: docker.DockerClient) -> None:
        """Layers of interrupted builds. Docker calls images that were pulled by digest dangling too: those are the devices'."""
        for found in client.api.images(filters={"dangling": True, "label": f"{LABEL}={self.owner}"}):
            with contextlib.suppress(docker.errors.APIError):  # in use, another build's parent, or gone meanwhile
                if not client.api.inspect_image(found["Id"])["RepoDigests"]:
                    client.api.remove_image(found["Id"])
