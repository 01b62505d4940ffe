"""`builder: azureml`, `mode: package`: `Model.package` with an Environment and an InferenceConfig.

The image gets its fingerprint as label, so it is found in the registry like the other builders' images.
"""

from __future__ import annotations

from components.edge import conda
from components.edge.create_options import PACKAGE_SOURCE
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.builders import BuildRequest, BuiltImage
from components.services.builders.staging import staged
from components.services.builders.tagged import discard, find_or_make
from components.services.errors import ServiceError
from components.services.registry import Credentials

__all__ = ["build", "discard"]

TIMEOUT_SECONDS = 3600


def build(request: BuildRequest) -> BuiltImage:
    """Find the fingerprint in the registry, or let Azure ML package it."""
    return find_or_make(request, _package)


def _package(request: BuildRequest, credentials: Credentials) -> None:
    environment = conda.with_runtime(request.conda_file.read_text(encoding="utf-8")).encode()
    with staged(request) as folder:
        files = {f"{PACKAGE_SOURCE}/{part.name}": folder / part.name for part in request.beside}
        location: str = client.call(
            workspace_config(request.workspace_id),
            "package_models",
            {
                "name": request.name,
                "label": request.fingerprint,
                "model_ids": [model.id for model in request.models],
                "source_directory": PACKAGE_SOURCE,
                "entry_script": request.script.name,
                "conda_file": "environment.yml",
                "timeout_seconds": TIMEOUT_SECONDS,
            },
            files={**files, "environment.yml": environment},
            progress=request.progress,
        )
    host = location.partition("/")[0]
    if host != credentials.login_server:
        raise ServiceError(
            "package the models as",
            request.name,
            f"Azure ML pushed to {host}",
            f"The workspace is attached to another registry than {credentials.login_server}; use that one in the stack file.",
        )
