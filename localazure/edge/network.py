"""The device's own Docker network. Its gateway is this host, and there the edge hub listens: no port is opened to the outside."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
from docker import errors
from docker.types import IPAMConfig, IPAMPool

from localazure.edge import subnets
from localazure.edge.containers import ContainerError

_ROUTES = Path("/proc/net/route")
_TRIES = 20


def ensure(client: docker.DockerClient, name: str, labels: Mapping[str, str]) -> str:
    """Make the bridge network unless it is there; returns its gateway's address. Raises ContainerError."""
    try:
        found = client.api.networks(names=[name])
        exact = [network for network in found if network["Name"] == name] or [_make(client, name, labels)]
    except errors.APIError as error:
        raise ContainerError(f"making the Docker network {name}: {error.explanation or error}") from error
    except (errors.DockerException, OSError) as error:
        raise ContainerError(
            f"making the Docker network {name}: the Docker engine does not answer ({error})"
        ) from error
    for pool in exact[0]["IPAM"]["Config"]:
        if pool.get("Gateway"):
            return str(pool["Gateway"]).partition("/")[0]
    raise ContainerError(f"the Docker network {name} has no gateway; remove it with 'docker network rm {name}'")


def _make(client: docker.DockerClient, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Docker refuses a subnet that somebody else took since we looked: then another one is tried."""
    refusal: errors.APIError | None = None
    for subnet in itertools.islice(subnets.free(_taken(client)), _TRIES):
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))])
        try:
            made = client.api.create_network(
                name, driver="bridge", ipam=ipam, labels=dict(labels), check_duplicate=True
            )
        except errors.APIError as error:
            if "overlap" not in str(error.explanation).lower():
                raise
            refusal = error
            continue
        inspected: dict[str, Any] = client.api.inspect_network(made["Id"])
        return inspected
    raise ContainerError(
        f"making the Docker network {name}: {refusal.explanation if refusal else f'no subnet of {subnets.RANGE} is free'}; "
        "remove networks that nobody uses with 'docker network prune'"
    )


def _taken(client: docker.DockerClient) -> list[str]:
    pools = [pool for network in client.api.networks() for pool in network["IPAM"]["Config"] or []]
    table = _ROUTES.read_text() if _ROUTES.exists() else ""  # elsewhere Docker runs in a machine of its own
    return [*(pool["Subnet"] for pool in pools if pool.get("Subnet")), *subnets.routes(table)]
