"""`builder: azureml`, `mode: package`: `Model.package` with an Environment and an InferenceConfig.

The image gets its fingerprint as label, so it is found in the registry like the other builders' images.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from components.edge import conda
from components.edge.create_options import PACKAGE_SOURCE
from components.services import registry
from components.services.aml import client
from components.services.aml.client import workspace_config
from components.services.builders import BuildRequest, BuiltImage
from components.services.builders.staging import staged
from components.services.builders.tagged import discard, find_or_make, trusted
from components.services.errors import ServiceError
from components.services.registry import Credentials

__all__ = ["build", "discard"]

TIMEOUT_SECONDS = 3600


def build(request: BuildRequest) -> BuiltImage:
    """Find the fingerprint in the registry, or let Azure ML package it."""
    return find_or_make(request, _package)


def _package(request: BuildRequest, credentials: Credentials) -> None:
    """Azure ML lists no packages under way, so the registry keeps the operation's id until its end: a killed run's is taken over."""
    note = f"{request.fingerprint}-package"
    operation = registry.note(credentials, request.name, note)
    if operation and _call(request, "package_runs", {"operation_id": operation}):
        request.progress("taking over the package that an interrupted run began")
    elif operation and trusted(request, credentials, request.name, request.fingerprint):
        request.progress("taking over the package that an interrupted run began; it has ended")
        with contextlib.suppress(ServiceError):
            registry.delete_note(credentials, request.name, note)
        return
    else:
        operation = _start(request)
        try:
            registry.write_note(credentials, request.name, note, operation)
        except ServiceError as error:  # a package that is not taken over is built twice, no worse
            request.progress(str(error))
    followed = {"name": request.name, "label": request.fingerprint, "timeout_seconds": TIMEOUT_SECONDS}
    try:
        location: str = _call(request, "follow_package", {**followed, "operation_id": operation})
    finally:
        _forget(request, credentials, note, operation)
    host = location.partition("/")[0]
    if host != credentials.login_server:
        raise ServiceError(
            "package the models as",
            request.name,
            f"Azure ML pushed to {host}",
            f"The workspace is attached to another registry than {credentials.login_server}; use that one in the stack file.",
        )


def _forget(request: BuildRequest, credentials: Credentials, note: str, operation: str) -> None:
    """Once it has ended; tidying up hides no failure."""
    with contextlib.suppress(ServiceError):
        if not _call(request, "package_runs", {"operation_id": operation}):
            registry.delete_note(credentials, request.name, note)


def _start(request: BuildRequest) -> str:
    environment = conda.with_runtime(request.conda_file.read_text(encoding="utf-8")).encode()
    with staged(request) as folder:
        files: dict[str, Path | bytes] = {
            f"{PACKAGE_SOURCE}/{part.name}": folder / part.name for part in request.beside
        }
        arguments = {
            "name": request.name,
            "label": request.fingerprint,
            "model_ids": [model.id for model in request.models],
            "source_directory": PACKAGE_SOURCE,
            "entry_script": request.script.name,
            "conda_file": "environment.yml",
        }
        return str(_call(request, "start_package", arguments, {**files, "environment.yml": environment}))


def _call(
    request: BuildRequest, operation: str, arguments: dict[str, Any], files: dict[str, Path | bytes] | None = None
) -> Any:
    return client.call(
        workspace_config(request.workspace_id), operation, arguments, files=files, progress=request.progress
    )
