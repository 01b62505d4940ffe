"""What we ask of Azure ML, in azureml-core's own words. Runs in the worker process only.

Every function takes the workspace, a `progress(line)` and JSON arguments, and returns JSON.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import requests
from azureml._restclient.models_client import ModelsClient
from azureml.core import Workspace
from azureml.core.image import ContainerImage, Image
from azureml.core.model import Model
from azureml.exceptions import WebserviceException

from components.services.aml import build_log
from components.services.aml.packages import follow_package, package_runs, start_package
from components.services.errors import ServiceError

__all__ = [
    "create_image",
    "delete_image",
    "delete_models",
    "find_content",
    "find_model",
    "follow_package",
    "get_model",
    "image_state",
    "package_runs",
    "register_model",
    "start_package",
    "update_model",
]

CONTENT_PROPERTY = "contentHash"
OWNER_PROPERTY = "registeredBy"
FINGERPRINT_TAG = "fingerprint"
POLL_SECONDS = 2
LOG_TAIL_LINES = 20
FINAL_STATES = ("Succeeded", "Failed", "Cancelled", "TimedOut")

Progress = Callable[[str], None]


def register_model(
    workspace: Workspace,
    progress: Progress,
    *,
    model_path: str,
    model_name: str,
    content_hash: str,
    tags: dict[str, str],
    description: str,
    framework: str = "",
    framework_version: str = "",
    owner: str = "",
) -> dict[str, Any]:
    """Find the model of that name and content, or register it. `model_path` is relative to the working directory.

    A framework that is asked for must be the model's: Azure ML cannot change it, so that the same content under another one is another
    version. Besides the model: `made`, whether `owner` registered it, now or earlier, and `owned`, the ids of all that `owner` did.
    """
    same = _with_content(workspace, model_name, content_hash, framework, framework_version)
    if same:
        model = same
        progress(f"{model.id} has this content already")
        _retag(model, tags, description)
    else:
        progress(f"uploading {model_path}")
        model = Model.register(
            workspace,
            model_path=model_path,
            model_name=model_name,
            tags=tags,
            properties={CONTENT_PROPERTY: content_hash, **({OWNER_PROPERTY: owner} if owner else {})},
            description=description,
            model_framework=framework or None,
            model_framework_version=framework_version or None,
        )
        progress(f"registered {model.id}")
    owned = Model.list(workspace, name=model_name, properties=[[OWNER_PROPERTY, owner]]) if owner else []
    ids = [found.id for found in sorted(owned, key=lambda found: found.version)]
    return {
        **_model(Model(workspace, model_name, version=model.version)),
        "made": not same or model.id in ids,
        "owned": ids,
    }


def find_content(
    workspace: Workspace, progress: Progress, *, model_name: str, content_hash: str
) -> dict[str, Any] | None:
    """The newest version of the name that has this content; None where none has."""
    model = _with_content(workspace, model_name, content_hash)
    return _model(Model(workspace, model_name, version=model.version)) if model else None


def _with_content(
    workspace: Workspace, model_name: str, content_hash: str, framework: str = "", framework_version: str = ""
) -> Model | None:
    wanted = (framework, framework_version)
    same = [
        model
        for model in Model.list(workspace, name=model_name, properties=[[CONTENT_PROPERTY, content_hash]])
        if not framework or (model.model_framework, model.model_framework_version or "") == wanted
    ]
    return max(same, key=lambda found: found.version) if same else None


def find_model(workspace: Workspace, progress: Progress, *, model_name: str, version: int | None) -> dict[str, Any]:
    """A model that is registered already; the newest version where none is named."""
    return _model(Model(workspace, model_name, version=version))


def get_model(workspace: Workspace, progress: Progress, *, model_id: str) -> dict[str, Any]:
    return _model(Model(workspace, id=model_id))


def update_model(
    workspace: Workspace, progress: Progress, *, model_id: str, tags: dict[str, str], description: str
) -> dict[str, Any]:
    """Replace tags and description in place."""
    model = Model(workspace, id=model_id)
    _retag(model, tags, description)
    return _model(Model(workspace, id=model_id))


def delete_models(workspace: Workspace, progress: Progress, *, model_ids: list[str]) -> dict[str, str]:
    """Delete them; absent is fine. Returns what Azure ML did not let go: id -> why."""
    kept = {}
    for model_id in model_ids:
        try:
            Model(workspace, id=model_id).delete()
        except WebserviceException as error:
            if "ModelNotFound" in error.message:
                continue
            users = ", ".join(sorted(image.id for image in Image.list(workspace, model_id=model_id)))
            if not users:
                raise
            kept[model_id] = f"412 these images use it: {users}"
    return kept


def create_image(
    workspace: Workspace,
    progress: Progress,
    *,
    name: str,
    fingerprint: str,
    model_ids: list[str],
    execution_script: str,
    conda_file: str,
    dependencies: list[str],
    tags: dict[str, str],
    description: str,
    timeout_seconds: float,
) -> dict[str, Any]:
    """Find the image with this fingerprint, or one that is being built, or build it; wait until it is there.

    Returns {"id", "location", "made"}, the last being false for one that was ready: whoever built it deletes it. Raises ServiceError with
    the build log's last lines when the build failed; what it left behind is deleted.
    """
    image = _find_image(workspace, name, fingerprint)
    made = image is None or image.creation_state != "Succeeded"
    wanted_tags = {**tags, FINGERPRINT_TAG: fingerprint}
    if image:
        progress(f"image {image.id} has this fingerprint already ({image.creation_state})")
        if image.tags != wanted_tags:
            image.update(tags=wanted_tags)
    else:
        configuration = ContainerImage.image_configuration(
            execution_script=execution_script,
            runtime="python",
            conda_file=conda_file,
            dependencies=dependencies,
            tags=wanted_tags,
            description=description,
        )
        models = [Model(workspace, id=model_id) for model_id in model_ids]
        image = ContainerImage.create(name=name, models=models, image_config=configuration, workspace=workspace)
        progress(f"Azure ML builds image {image.id}")
    tail = _wait(image, progress, timeout_seconds)
    if image.creation_state != "Succeeded":
        state, address = image.creation_state, image.image_build_log_uri
        with contextlib.suppress(
            WebserviceException
        ):  # the build's failure tells more; this image is never found again
            image.delete()
        raise ServiceError(
            "build the image",
            image.id,
            f"Azure ML ended the build as {state}. The end of its log:\n" + "\n".join(f"    {line}" for line in tail),
            f"The whole log: {_without_query(address)} (opens with your own login, for example in the workspace's storage "
            "account). Correct the cause, then run `pulumi up` again.",
        )
    return {"id": image.id, "location": image.image_location, "made": made}


def image_state(workspace: Workspace, progress: Progress, *, image_id: str) -> dict[str, Any]:
    image = Image(workspace, id=image_id)
    return {
        "id": image.id,
        "location": image.image_location,
        "state": image.creation_state,
        "tags": dict(image.tags or {}),
    }


def delete_image(workspace: Workspace, progress: Progress, *, image_id: str) -> None:
    Image(workspace, id=image_id).delete()


def _find_image(workspace: Workspace, name: str, fingerprint: str) -> Image | None:
    """The newest image with this fingerprint that is ready; else one that is still being built."""
    found = Image.list(workspace, image_name=name, tags=[[FINGERPRINT_TAG, fingerprint]])
    usable = [
        image for image in found if image.creation_state == "Succeeded" or image.creation_state not in FINAL_STATES
    ]
    return max(usable, key=lambda image: (image.creation_state == "Succeeded", image.version), default=None)


def _wait(image: Image, progress: Progress, timeout_seconds: float) -> list[str]:
    """Follow the build log until the image reaches a final state. Returns the log's last lines."""
    deadline = time.monotonic() + timeout_seconds
    lines: list[str] = []
    read = 0
    while True:
        image.update_creation_state()
        state = image.creation_state  # read before the log, so that the last round sees the whole log
        fresh, read = _log_after(image.image_build_log_uri, read, final=state in FINAL_STATES)
        for line in build_log.worth_showing(fresh):
            progress(line)
        lines = (lines + fresh)[-LOG_TAIL_LINES:]
        if state in FINAL_STATES:
            return lines
        if time.monotonic() > deadline:
            raise ServiceError(
                "build the image",
                image.id,
                f"it is still '{state}' after {timeout_seconds:.0f} s",
                "Azure ML goes on building; run `pulumi up` again to take up this build instead of starting another.",
            )
        time.sleep(POLL_SECONDS)


def _log_after(uri: str | None, start: int, final: bool) -> tuple[list[str], int]:
    """Whole lines of the log from byte `start` on, and where the next read begins."""
    if not uri:
        return [], start
    try:
        answer = requests.get(uri, headers={"Range": f"bytes={start}-"}, timeout=30)
    except requests.RequestException:
        return [], start  # the log is a courtesy; the operation's state decides
    if answer.status_code not in (200, 206):
        return [], start
    content = answer.content if answer.status_code == 206 else answer.content[start:]
    if not final:
        content = content[: content.rfind(b"\n") + 1]
    text = content.decode(errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()], start + len(content)


def _without_query(uri: str | None) -> str:
    """A log's address carries a signature in its query, which is a secret."""
    return (uri or "none").partition("?")[0]


def _retag(model: Model, tags: dict[str, str], description: str) -> None:
    """`Model.update` takes an empty value for none and leaves what there is: emptied ones are said to the service itself."""
    patch = []
    if (model.tags or {}) != tags:
        patch.append({"op": "replace", "path": "/kvTags", "value": tags})
    if (model.description or "") != description:
        patch.append({"op": "replace", "path": "/description", "value": description})
    if patch:
        ModelsClient(model.workspace.service_context).patch(model.id, body=patch)


def _model(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "version": model.version,
        "tags": dict(model.tags or {}),
        "description": model.description or "",
        "framework": model.model_framework or "",
        "frameworkVersion": model.model_framework_version or "",
        "contentHash": (model.properties or {}).get(CONTENT_PROPERTY, ""),
    }
