"""`remove`: nothing of an instance is left, neither on disk nor in Docker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from docker.errors import DockerException

from localazure import control, docker_engine, instance
from localazure.edge.containers import ContainerError, remove_all, remove_images


def remove(folder: Path, say: Callable[[str], None]) -> None:
    """Stop the daemon, then remove its devices' containers and networks, the images pulled from its registries, and its folder.

    Raises ControlError when the daemon does not stop. A Docker engine that does not answer keeps what it has, which is said.
    """
    control.stop(folder, say)
    made = instance.load(folder)
    if made is None:
        return
    try:
        client = docker_engine.connect()
        try:
            remove_all(client, made.folder)
            remove_images(client, made.address)
        finally:
            client.close()
    except (ContainerError, DockerException) as error:
        say(f"what its devices left in Docker stays there: {error}")
    shutil.rmtree(made.folder)
