"""The one place that makes a Docker client. The engine is the one DOCKER_HOST names."""

from __future__ import annotations

import docker


def connect(timeout: int = 60) -> docker.DockerClient:
    """A client with no login of its own: images are pulled with the credentials that a manifest gives, or not at all.

    Callers pass `auth_config` to every pull and push, an empty one included: docker-py reads the user's
    `~/.docker/config.json` only when it is None.
    """
    return docker.from_env(timeout=timeout)
