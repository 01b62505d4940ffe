"""The image that scoring images are built from.

A real user configures one (an Azure ML inference image, or python:3.11-slim). Where no image registry can be reached, one is made from
Debian packages with mmdebstrap: Python 3.11 in a virtual environment at /opt/venv, and the CA bundle of this machine, since builds run pip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import tempfile
from pathlib import Path

import docker
import docker.errors

from tools import cache, system
from tools.console import run, say

REPOSITORY = "aml-edge/base"
LOCAL_NAME = f"{REPOSITORY}:local"
"""Whatever the recipe is today: what the local stack files name as image.baseImage."""
SUITE = "bookworm"
PACKAGES = ["ca-certificates", "libgomp1", "python3", "python3-pip", "python3-venv"]
TRIMMED = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN python3 -m venv /opt/venv && rm -rf /var/cache/apt /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \\
    PIP_DISABLE_PIP_VERSION_CHECK=1 \\
    PIP_ROOT_USER_ACTION=ignore \\
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
"""


def ensure_at(docker_host: str) -> str:
    """The name of a base image that the engine at `docker_host` holds: `$LOCALAZURE_BASE_IMAGE`, else the one made here, its
    recipe as tag."""
    client = docker.DockerClient(base_url=docker_host, timeout=600)
    try:
        return ensure(client)
    finally:
        client.close()


def ensure(client: docker.DockerClient) -> str:
    """As `ensure_at`, for who has a client of the engine already."""
    configured = os.environ.get("LOCALAZURE_BASE_IMAGE")
    if configured and not configured.startswith(f"{REPOSITORY}:"):
        return configured
    bundle = _ca_bundle()
    recipe = hashlib.sha256("\n".join([SUITE, *PACKAGES, *TRIMMED, DOCKERFILE]).encode() + bundle).hexdigest()[:12]
    name = f"{REPOSITORY}:{recipe}"
    with cache.lock("base-image"):
        if not _held(client, name):
            rootfs = cache.ensure(f"rootfs/{SUITE}-{_rootfs_recipe()}", _bootstrap) / "rootfs.tar"
            _build(client, name, rootfs, bundle)
        client.images.get(name).tag(*LOCAL_NAME.split(":"))
    return name


def _held(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def _rootfs_recipe() -> str:
    return hashlib.sha256("\n".join([*PACKAGES, *TRIMMED]).encode()).hexdigest()[:12]


def _bootstrap(folder: Path) -> None:
    system.need("mmdebstrap", package="mmdebstrap", purpose="to make the scoring base image")
    excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in TRIMMED]
    run(
        "make a Debian root file system for the scoring base image",
        ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", *excludes, SUITE, folder / "rootfs.tar"],
        expect="a minute",
    )


def _build(client: docker.DockerClient, name: str, rootfs: Path, bundle: bytes) -> None:
    say(f"  build the scoring base image {name}")
    with tempfile.TemporaryDirectory(dir=rootfs.parent) as context:
        folder = Path(context)
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "ca-certificates.crt").write_bytes(bundle)
        try:
            os.link(rootfs, folder / "rootfs.tar")
        except OSError:
            shutil.copyfile(rootfs, folder / "rootfs.tar")
        client.images.build(path=context, tag=name, rm=True, forcerm=True, network_mode="none")


def _ca_bundle() -> bytes:
    """The CAs that this machine trusts; the local Azure's own CA (which `make env` appends) is not among them."""
    paths = ssl.get_default_verify_paths()
    for candidate in ("/etc/ssl/certs/ca-certificates.crt", paths.openssl_cafile):
        if Path(candidate).is_file():
            return Path(candidate).read_bytes()
    return Path(__import__("certifi").where()).read_bytes()
