"""`builder: azureml`, `mode: containerImage`: `ContainerImage.create`, as documented by Microsoft and deprecated since.

The service assigns the image's version, so the image is found again by a tag that holds the fingerprint.
"""

from __future__ import annotations

import contextlib
from typing import Any

from components.edge import conda
from components.services import azure, registry
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.builders import BuildRequest, BuiltImage, tagged
from components.services.builders.staging import staged
from components.services.errors import NotFoundError, ServiceError

TIMEOUT_SECONDS = 3600
CONDA_FILE = "conda-environment.yml"
"""The name in the worker's folder, where it must not meet a dependency's."""


def build(request: BuildRequest) -> BuiltImage:
    """Find or build, then read the digest back from the registry."""
    image = _create(request)
    credentials = registry.admin_credentials(request.registry_id)
    digest = _digest(credentials, image["location"])
    if digest is None or request.distrust.endswith(f"@{digest}"):
        gone = "is gone from the registry" if digest is None else "was moved to another image"
        request.progress(f"{image['location']} {gone}; building it again")
        client.call(workspace_config(request.workspace_id), "delete_image", {"image_id": image["id"]})
        image = _create(request)
        digest = _digest(credentials, image["location"])
    if digest is None:
        raise ServiceError(
            "find the image", image["location"], "the registry has no such manifest though Azure ML pushed it"
        )
    repository = image["location"].rpartition(":")[0]
    return BuiltImage(image["id"], f"{repository}@{digest}", image["made"])


def discard(workspace_id: str, registry_id: str, image: BuiltImage) -> None:
    """Forget the image in Azure ML and its manifest in the registry; absence of either, or of their owners, is fine."""
    with contextlib.suppress(NotFoundError):
        client.call(workspace_config(workspace_id), "delete_image", {"image_id": image.image_id})
    tagged.discard(workspace_id, registry_id, image)


def _create(request: BuildRequest) -> dict[str, Any]:
    with staged(request) as folder:
        made: dict[str, Any] = client.call(
            workspace_config(request.workspace_id),
            "create_image",
            {
                "name": request.name,
                "fingerprint": request.fingerprint,
                "model_ids": [model.id for model in request.models],
                "execution_script": request.script.name,
                "conda_file": CONDA_FILE,
                "dependencies": [part.name for part in request.beside[1:]],
                "tags": dict(request.tags),
                "description": request.description,
                "timeout_seconds": TIMEOUT_SECONDS,
            },
            files={
                CONDA_FILE: conda.with_runtime(request.conda_file.read_text(encoding="utf-8")).encode(),
                **{part.name: folder / part.name for part in request.beside},
            },
            progress=request.progress,
        )
    return made


def _digest(credentials: registry.Credentials, location: str) -> str | None:
    """`location` is `loginServer/name:version` as Azure ML reports it."""
    host, _, path = location.partition("/")
    if host != credentials.login_server:
        raise ServiceError(
            "read the image's digest from",
            azure.name_of(location),
            f"Azure ML pushed it to {host}, not to this stack's registry {credentials.login_server}",
            "The workspace is attached to another registry; use that one in the stack file.",
        )
    repository, _, tag = path.rpartition(":")
    return registry.digest(credentials, repository, tag)
