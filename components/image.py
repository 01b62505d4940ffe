"""The scoring image: found by its fingerprint, known by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone
from components.edge import conda, fingerprint
from components.existing import Existing
from components.model import model_hash
from components.services import builders, progress, registry
from components.services.builders import BuildRequest, BuiltImage, ModelFile
from components.services.errors import NotFoundError, ServiceError
from components.services.hub import Hub
from components.settings import Settings


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
RECIPES = {"azureml/containerImage": "2", "azureml/package": "2", "dockerfile": "2"}
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
    recipe = "dockerfile" if own_dockerfile else f"{image.builder}/{image.mode}"
    inputs: ModelImageInputs = {
        "workspaceId": workspace_id,
        "registryId": registry_id,
        "name": image.name,
        "builder": image.builder,
        "mode": "" if own_dockerfile else image.mode,  # the others have none
        "baseImage": image.base_image if own_dockerfile else "",
        "modelIds": list(model_ids),
        "sources": sources,
        "fingerprint": fingerprint.image_fingerprint(sources, f"{recipe}/{RECIPES[recipe]}"),
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
        sources["base image"] = image.base_image
    return sources


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


class ModelImageProvider(Provider):
    """Builds once per fingerprint. A new image is an update: the resource lives on, what it pushed before is in `pushed`."""

    replaces = ("workspaceId", "registryId", "name")
    optional = ("tags", "description")
    ignores = ("paths", "deployedTo")

    def problems(self, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What the builders `docker` and `acr` cannot install is refused before anything is made."""
        if inputs["builder"] == "azureml":
            return []
        try:
            conda.pip_requirements(conda.with_runtime(Path(inputs["paths"]["condaFile"]).read_text(encoding="utf-8")))
        except conda.CondaError as error:
            return [("condaFile", str(error))]
        return []

    def create(self, props: dict[str, Any]) -> CreateResult:
        image = _build(props)
        return CreateResult(f"{props['registryId']}/images/{props['name']}", _outputs(props, image, []))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """`ref` is what the tag shows now: empty where the manifest is gone, another digest where somebody moved the tag."""
        made = props["pushed"][-1]["ref"] if props.get("pushed") else props["ref"]
        name, _, digest = made.partition("@")
        try:
            credentials = registry.admin_credentials(props["registryId"])
        except NotFoundError:
            return gone()
        tag = props["imageId"].rpartition(":")[2]
        seen = registry.digest(credentials, name.partition("/")[2], tag)
        if seen == digest:
            return ReadResult(id_, {**props, "ref": made})
        return ReadResult(id_, {**props, "ref": f"{name}@{seen}" if seen else ""})

    def drifted(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        return _drifted(olds)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        same = _olds["fingerprint"] == _news["fingerprint"]
        image = _build(_news, distrust=_olds["ref"] if same and _drifted(_olds) else "")
        outputs = _outputs(_news, image, _olds.get("pushed") or [])
        return UpdateResult({**outputs, "pushed": _without_old(_news, outputs["pushed"])})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        if not _props.get("retain"):
            for entry in _props["pushed"]:
                _discard(_props, entry)


def _drifted(olds: Mapping[str, Any]) -> bool:
    """`ref` follows the registry, `pushed` ends with what we made."""
    return bool(olds.get("pushed")) and olds["pushed"][-1]["ref"] != olds["ref"]


def _build(props: dict[str, Any], distrust: str = "") -> BuiltImage:
    paths = props["paths"]
    files = zip(props["modelIds"], paths["models"], strict=True)
    request = BuildRequest(
        workspace_id=props["workspaceId"],
        registry_id=props["registryId"],
        name=props["name"],
        fingerprint=props["fingerprint"],
        models=[ModelFile(model_id, Path(path)) for model_id, path in files],
        script=Path(paths["script"]),
        conda_file=Path(paths["condaFile"]),
        runtime=Path(paths["runtime"]),
        dependencies=[Path(path) for path in paths.get("dependencies") or []],
        base_image=props.get("baseImage") or "",
        dockerfile=Path(paths.get("dockerfile") or ""),
        tags=props.get("tags") or {},
        description=props.get("description") or "",
        progress=lambda line: progress.say(f"image {props['name']}", line),
        distrust=distrust,
    )
    built: BuiltImage = builders.of(props["builder"], props["mode"]).build(request)
    progress.say(f"image {props['name']}", built.ref)
    return built


def _outputs(props: dict[str, Any], image: BuiltImage, before: list[dict[str, Any]]) -> dict[str, Any]:
    """`pushed` holds every image that this resource had, the present one last; `made` says which of them we built ourselves."""
    known = next((entry for entry in before if entry["ref"] == image.ref), {})
    this = {
        "imageId": image.image_id,
        "ref": image.ref,
        "builder": props["builder"],
        "mode": props["mode"],
        "made": image.made or known.get("made", False),
    }
    pushed = [entry for entry in before if entry["ref"] != image.ref]
    return {**props, "imageId": image.image_id, "ref": image.ref, "pushed": [*pushed, this]}


def _without_old(props: dict[str, Any], pushed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`pushed` after the images beyond `keepImages` were deleted, but for those that a device has or is to have.

    Tidying up: what cannot be done is said and left for the next time, it fails no update.
    """
    kept = pushed[-props["keepImages"] :]
    for entry in reversed(pushed[: -props["keepImages"]]):
        try:
            if _is_deployed(props, entry["ref"]):
                kept.insert(0, entry)
                continue
            _discard(props, entry)
            progress.say(f"image {props['name']}", f"deleted the old {entry['ref']}")
        except ServiceError as error:
            kept.insert(0, entry)
            progress.say(f"image {props['name']}", f"kept the old {entry['ref']}: {error}")
    return kept


def _is_deployed(props: dict[str, Any], ref: str) -> bool:
    """Whether a device's $edgeAgent is told to run it, or says that it does."""
    place = props.get("deployedTo")
    if place is None:
        return True
    hub, digest = Hub(place["hubId"]), ref.partition("@")[2]
    for device in place["devices"]:
        try:
            if digest in json.dumps(hub.agent_twin(device)):
                return True
        except NotFoundError:  # a device that is not made yet
            continue
    return False


def _discard(props: dict[str, Any], entry: dict[str, Any]) -> None:
    if entry.get("made", True):
        image = BuiltImage(entry["imageId"], entry["ref"])
        builders.of(entry.get("builder") or props["builder"], entry.get("mode") or props["mode"]).discard(
            props["workspaceId"], props["registryId"], image
        )


class ModelImage(DynamicResource, module="edge", name="ModelImage"):
    """An image with a model, its scoring script and the edge module runtime."""

    computed = ("ref", "imageId", "pushed")

    def __init__(self, name: str, inputs: ModelImageInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(ModelImageProvider(), name, inputs, opts)

    @property
    def ref(self) -> Output[str]:
        """`loginServer/name@sha256:...`."""
        return self.output("ref")

    @property
    def fingerprint(self) -> Output[str]:
        return self.output("fingerprint")
