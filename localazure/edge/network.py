"""The device's own Docker network. Its gateway is this host, and there the edge hub listens: no port is opened to the outside."""

from __future__ import annotations

from collections.abc import Mapping

import docker
from docker import errors

from localazure.edge.containers import ContainerError


def ensure(client: docker.DockerClient, name: str, labels: Mapping[str, str]) -> str:
    """Make the bridge network unless it is there; returns its gateway's address. Raises ContainerError."""
    try:
        found = client.api.networks(names=[name])
        exact = [network for network in found if network["Name"] == name]
        if not exact:
            made = client.api.create_network(name, driver="bridge", labels=dict(labels), check_duplicate=True)
            exact = [client.api.inspect_network(made["Id"])]
    except errors.APIError as error:
        raise ContainerError(
            f"making the Docker network {name}: {error.explanation or error}; "
            "if Docker has no free address pool, remove unused networks with 'docker network prune'"
        ) from error
    except (errors.DockerException, OSError) as error:
        raise ContainerError(
            f"making the Docker network {name}: the Docker engine does not answer ({error})"
        ) from error
    for pool in exact[0]["IPAM"]["Config"]:
        if pool.get("Gateway"):
            return str(pool["Gateway"]).partition("/")[0]
    raise ContainerError(f"the Docker network {name} has no gateway; remove it with 'docker network rm {name}'")
