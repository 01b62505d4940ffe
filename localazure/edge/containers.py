"""The device's containers in Docker. All methods block; the agent calls them in threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
from docker import errors
from docker.types import CancellableStream

from localazure.edge import names
from localazure.edge.container_body import with_tag
from localazure.edge.deployment import Credentials
from localazure.edge.module_logs import Line
from localazure.edge.planner import NEVER, Container

STOP_SECONDS = 10


class ContainerError(Exception):
    """Docker refused something; the message says what, for which module or image, and Docker's own words."""


class Containers:
    """Those of one device, found by the label of its folder."""

    def __init__(self, client: docker.DockerClient, folder: Path, device_id: str) -> None:
        self._client = client
        self._folder = folder
        self._device_id = device_id
        self._filter = f"{names.FOLDER_LABEL}={folder}"

    def find(self) -> dict[str, Container]:
        """Module name to container."""
        found = {}
        with _explained("listing the device's containers"):
            for entry in self._client.api.containers(all=True, filters={"label": self._filter}):
                with contextlib.suppress(errors.NotFound):  # it went away while we were looking
                    container = _container(self._client.api.inspect_container(entry["Id"]))
                    found[container.module] = container
        return found

    def pull(self, image: str, credentials: Credentials | None) -> None:
        """With these credentials or with none: what the user of this machine is logged in to is never used."""
        auth = {"username": credentials.username, "password": credentials.password} if credentials else {}
        doing = f"pulling the image {image} {'as ' + credentials.username if credentials else 'without credentials'}"
        name, tag = _reference(with_tag(image))
        with _explained(doing):
            for line in self._client.api.pull(name, tag=tag, auth_config=auth, stream=True, decode=True):
                if "error" in line:
                    raise ContainerError(f"{doing}: {line['error']}")

    def has_image(self, image: str) -> bool:
        try:
            self._client.api.inspect_image(with_tag(image))
        except errors.ImageNotFound:
            return False
        return True

    def create(self, module: str, body: dict[str, Any]) -> None:
        with _explained(f"creating the container of module {module}"):
            self._client.api.create_container_from_config(
                body, name=names.container(self._folder, self._device_id, module)
            )

    def start(self, container: str, module: str) -> None:
        with _explained(f"starting module {module}"):
            self._client.api.start(container)

    def stop(self, container: str, module: str) -> None:
        """SIGTERM, ten seconds later SIGKILL; what is gone already is fine."""
        with _explained(f"stopping module {module}"), contextlib.suppress(errors.NotFound):
            self._client.api.stop(container, timeout=STOP_SECONDS)

    def remove(self, container: str, module: str) -> None:
        with _explained(f"removing the container of module {module}"), contextlib.suppress(errors.NotFound):
            self._client.api.remove_container(container, force=True, v=True)

    def logs(self, container: str, tail: int = 20) -> str:
        return self._client.api.logs(container, tail=tail).decode(errors="replace")

    def restart(self, container: str, module: str) -> None:
        with _explained(f"restarting module {module}"):
            self._client.api.restart(container, timeout=STOP_SECONDS)

    def log_lines(self, container: str, module: str, *, since: float | None, until: float | None) -> list[Line]:
        """Both streams in the order of Docker's own times (seconds since 1970 as bounds)."""
        found: list[tuple[str, Line]] = []
        with _explained(f"reading the logs of module {module}"):
            for stream in ("stdout", "stderr"):
                data = self._client.api.logs(
                    container,
                    stdout=stream == "stdout",
                    stderr=stream == "stderr",
                    timestamps=True,
                    since=since,
                    until=until,
                )
                for entry in data.decode(errors="replace").splitlines():
                    stamp, _, text = entry.partition(" ")
                    found.append((f"{stamp[:19]}{stamp[19:].rstrip('Z'):0<10}", Line(stream, text)))
        return [line for _, line in sorted(found, key=lambda pair: pair[0])]

    def events(self) -> CancellableStream:
        """Endless: a dict for each change of one of the device's containers. Close it from another thread to end it."""
        with _explained("watching the device's containers"):
            return self._client.api.events(filters={"type": "container", "label": self._filter}, decode=True)

    def platform(self) -> dict[str, str]:
        """edgeAgent's `runtime.platform`."""
        with _explained("asking Docker for its version"):
            info = self._client.api.info()
        return {"os": info["OSType"], "architecture": info["Architecture"], "version": info["ServerVersion"]}


def remove_all(client: docker.DockerClient, folder: Path) -> None:
    """Every container and network of the device in `folder`, or of all devices in folders below it: the end of a device."""
    with _explained(f"removing what belongs to the devices in {folder}"):
        for entry in client.api.containers(all=True, filters={"label": names.FOLDER_LABEL}):
            if _belongs(entry, folder):
                with contextlib.suppress(errors.NotFound):
                    client.api.remove_container(entry["Id"], force=True, v=True)
        for entry in client.api.networks(filters={"label": names.FOLDER_LABEL}):
            if _belongs(entry, folder):
                with contextlib.suppress(errors.NotFound):
                    client.api.remove_network(entry["Id"])


def remove_images(client: docker.DockerClient, host: str) -> None:
    """Every image name of the registries at the address `host`; layers that others use stay."""
    with _explained(f"removing the images of the registries at {host}"):
        for image in client.api.images():
            for name in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]:
                if name.startswith(f"{host}:"):
                    with contextlib.suppress(errors.NotFound):
                        client.api.remove_image(name, force=True)


def _belongs(entry: dict[str, Any], folder: Path) -> bool:
    return Path(entry["Labels"].get(names.FOLDER_LABEL, os.sep)).is_relative_to(folder)


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except errors.APIError as error:
        raise ContainerError(f"{doing}: {error.explanation or error}") from error
    except (errors.DockerException, OSError) as error:
        raise ContainerError(f"{doing}: the Docker engine does not answer ({error})") from error


def _reference(image: str) -> tuple[str, str]:
    """docker-py wants tag or digest apart; without one the engine would pull every tag."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, digest
    name, _, tag = image.rpartition(":")
    return name, tag


def _container(inspected: dict[str, Any]) -> Container:
    state, labels = inspected["State"], inspected["Config"].get("Labels") or {}
    return Container(
        module=labels.get(names.MODULE_LABEL, inspected["Name"].lstrip("/")),
        id=inspected["Id"],
        fingerprint=labels.get(names.FINGERPRINT_LABEL, ""),
        image=inspected["Config"]["Image"],
        state=state["Status"],
        exit_code=state["ExitCode"],
        started=_time(state.get("StartedAt")),
        finished=_time(state.get("FinishedAt")),
        image_id=inspected["Image"],
    )


def _time(text: str | None) -> datetime:
    """Docker's times have up to nine digits of a second."""
    if not text or text.startswith("0001-"):
        return NEVER
    whole, _, rest = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole).replace(microsecond=int(f"{rest:0<6}"[:6] or 0), tzinfo=UTC)
