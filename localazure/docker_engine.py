"""The one place that makes a Docker client. The engine is the one DOCKER_HOST names."""

from __future__ import annotations

import docker


def connect(timeout: float = 60) -> docker.DockerClient:
    """A client with no login of its own: images are pulled with the credentials that a manifest gives, or not at all."""
    client = docker.from_env(timeout=int(timeout))
    client.api._auth_configs.auths.clear()  # the user's ~/.docker/config.json must not help a wrong password
    return client
