"""Which image a base image's name means: a fingerprint must hold the content, and a tag may move.

A registry that answers without a login says it (one HEAD request, which Docker Hub does not count as a pull); else the Docker engine,
if it has the image. An image that is in no registry, because it was built on this machine, is what the engine has under the name.
Source: the OCI distribution specification; Docker's rules for short names (docker.io, library/).
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import docker
import docker.errors
import requests

from components.services.registry import MANIFEST_TYPES

SCRATCH = "scratch"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIMEOUT = (3.05, 10)
_HUB, _HUB_HOST = "docker.io", "registry-1.docker.io"


def is_exact(name: str) -> bool:
    """Whether the name can mean one image only."""
    return name == SCRATCH or bool(_DIGEST.search(name))


def identify(name: str, before: str | None = None) -> str | None:
    """`name@sha256:...` where a registry has it, `name (sha256:...)` for one of the engine's own; None where nobody knows it.

    `before` is what it meant when its registry was last asked: truer than what an engine may have pulled long ago.
    """
    if is_exact(name):
        return name
    with _engine() as engine:
        image = _held(engine, name)
        if image and not image.attrs.get("RepoDigests"):
            return f"{name} ({image.id})"
        if digest := _in_registry(name):
            return f"{name}@{digest}"
        if before and is_exact(before):
            return before
        for known in image.attrs["RepoDigests"] if image else []:
            repository, _, digest = known.partition("@")
            if _parts(repository)[:2] == _parts(name)[:2]:
                return f"{name}@{digest}"
    return None


def to_build_from(identity: str) -> str:
    """What a Dockerfile's FROM says for an identity."""
    return identity.partition(" ")[0]


@contextlib.contextmanager
def _engine() -> Any:
    try:
        engine = docker.from_env(timeout=_TIMEOUT[1])
    except docker.errors.DockerException:
        yield None
        return
    try:
        yield engine
    finally:
        engine.close()


def _held(engine: Any, name: str) -> Any:
    if engine is None:
        return None
    try:
        return engine.images.get(name)
    except (docker.errors.DockerException, requests.RequestException):
        return None


def _in_registry(name: str) -> str | None:
    host, repository, tag = _parts(name)
    url = f"https://{_HUB_HOST if host == _HUB else host}/v2/{repository}/manifests/{tag}"
    headers = {"Accept": MANIFEST_TYPES}
    try:
        answer = requests.head(url, headers=headers, timeout=_TIMEOUT)
        if answer.status_code == 401:
            headers["Authorization"] = f"Bearer {_anonymous(answer.headers.get('WWW-Authenticate', ''))}"
            answer = requests.head(url, headers=headers, timeout=_TIMEOUT)
        found = answer.headers.get("Docker-Content-Digest", "") if answer.status_code == 200 else ""
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return None
    return found if _DIGEST.fullmatch(found) else None


def _anonymous(challenge: str) -> str:
    """A token for a challenge, without a login. Raises ValueError, KeyError or requests' errors where there is none."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.lower().startswith("bearer") or not fields.get("realm", "").startswith("https://"):
        raise ValueError(challenge)
    query = {key: fields[key] for key in ("service", "scope") if key in fields}
    answer = requests.get(fields["realm"], params=query, timeout=_TIMEOUT)
    answer.raise_for_status()
    body = answer.json()
    return str(body.get("token") or body["access_token"])


def _parts(name: str) -> tuple[str, str, str]:
    """`python:3.11` -> docker.io, library/python, 3.11."""
    first, slash, rest = name.partition("/")
    host = first if slash and ("." in first or ":" in first or first == "localhost") else _HUB
    path = rest if host != _HUB or first == _HUB else name
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, "latest"
    return host, f"library/{repository}" if host == _HUB and "/" not in repository else repository, tag
