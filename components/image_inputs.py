"""What goes into the scoring image, hashed as it is now: from a stack's settings to the inputs of ModelImage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pulumi import Input

from components.edge import conda, fingerprint
from components.existing import Existing
from components.model import model_hash
from components.settings import AMD64, Settings


class ModelImageInputs(TypedDict):
    workspaceId: Input[str]
    registryId: Input[str]
    name: str
    builder: str
    mode: str
    modelIds: list[Input[str]]
    sources: dict[str, str]
    """What goes into the image -> its name there and the hash of its content; previews show what changed by it."""
    fingerprint: str
    """Hash over all sources and the builder's recipe; the same anywhere for the same content."""
    paths: dict[str, Any]
    """script, condaFile, runtime, dockerfile, models (beside modelIds), dependencies: where they are on this machine."""
    keepImages: int
    retain: bool
    deployedTo: NotRequired[dict[str, Any]]
    """{hubId, devices}: where to look before an old image is deleted. Without it none is."""
    baseImage: NotRequired[str]
    tags: NotRequired[dict[str, str]]
    description: NotRequired[str]


RUNTIME = "scoring/edge_runtime"
TEMPLATE = "scoring/Dockerfile.j2"
BASE_IMAGE = "base image"
PLATFORM = "platform"
RECIPES = {"azureml/containerImage": "2", "azureml/package": "2", "dockerfile": "3"}
"""To be raised when the same sources give another image: the staging, the driver."""


def image_inputs(
    settings: Settings,
    existing: Existing,
    workspace_id: Input[str],
    registry_id: Input[str],
    model_ids: list[Input[str]],
    hub_id: Input[str] | None = None,
) -> ModelImageInputs:
    """From a stack's settings; reads what goes into the image once to hash it."""
    image = settings.image
    own_dockerfile = image.builder != "azureml"
    paths: dict[str, Any] = {
        "script": image.script,
        "condaFile": image.conda_file,
        "runtime": RUNTIME,
        "dependencies": image.dependencies,
        "models": [model.path or "" for model in settings.all_models],
    }
    if own_dockerfile:
        paths["dockerfile"] = image.dockerfile or TEMPLATE
    sources = _sources(settings, existing, paths)
    mode = "" if own_dockerfile else image.mode  # the others have none
    inputs: ModelImageInputs = {
        "workspaceId": workspace_id,
        "registryId": registry_id,
        "name": image.name,
        "builder": image.builder,
        "mode": mode,
        "baseImage": image.base_image if own_dockerfile else "",
        "modelIds": list(model_ids),
        "sources": sources,
        "fingerprint": image_fingerprint(image.builder, mode, sources),
        "paths": paths,
        "keepImages": image.keep_images,
        "retain": image.retain,
        "tags": image.tags,
        "description": image.description,
    }
    if hub_id is not None:
        inputs["deployedTo"] = {"hubId": hub_id, "devices": [device.id for device in settings.devices]}
    return inputs


def _sources(settings: Settings, existing: Existing, paths: Mapping[str, Any]) -> dict[str, str]:
    """Names count where they are names in the image too: of the script (a module's name), of the model (a path below
    AZUREML_MODEL_DIR), of dependencies. A model's version does not: it is another in each workspace for the same content."""
    image, own_dockerfile = settings.image, "dockerfile" in paths
    sources = {
        "script": f"{Path(image.script).name} {fingerprint.file_part(Path(image.script))}",
        "condaFile": _environment_hash(Path(image.conda_file), pip=own_dockerfile),
        "runtime": fingerprint.hash_tree(Path(RUNTIME)),
    }
    for model in settings.all_models:
        there = existing.models.get(model.name)
        content = there.content if there and not own_dockerfile else model_hash(model)
        sources[f"model {model.name}"] = f"{Path(model.path).name} {content}" if model.path else content
    for dependency in image.dependencies:
        sources[f"dependency {Path(dependency).name}"] = fingerprint.hash_tree(Path(dependency))
    if own_dockerfile:
        sources["dockerfile"] = fingerprint.hash_file(Path(paths["dockerfile"]))
        sources[BASE_IMAGE] = image.base_image  # as it is named; `check` finds out which image that is
    if image.platform != AMD64:  # an image from before there was a choice is still found by its fingerprint
        sources[PLATFORM] = image.platform
    return sources


def image_fingerprint(builder: str, mode: str, sources: Mapping[str, str]) -> str:
    """Of everything that reaches the image, and of how the builder puts it together."""
    recipe = f"{builder}/{mode}" if mode else "dockerfile"
    return fingerprint.image_fingerprint(sources, f"{recipe}/{RECIPES[recipe]}")


def _environment_hash(conda_file: Path, *, pip: bool) -> str:
    """Of what becomes of the conda file, the runtime's own requirements included; its comments and its name do not reach the image."""
    text = conda_file.read_text(encoding="utf-8")
    wanted = conda.with_runtime(text)
    if pip:
        try:
            wanted = json.dumps([conda.python_version(text), conda.pip_requirements(wanted)])
        except conda.CondaError:
            return "refused"  # `problems` says why
    return hashlib.sha256(wanted.encode()).hexdigest()
