"""The scoring image: found by its fingerprint, known by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone
from components.edge import fingerprint
from components.model import model_hash
from components.services import builders, progress, registry
from components.services.builders import BuildRequest, BuiltImage, ModelFile
from components.services.errors import NotFoundError
from components.settings import Settings


class ModelImageInputs(TypedDict):
    workspaceId: Input[str]
    registryId: Input[str]
    name: str
    builder: str
    mode: str
    modelIds: list[Input[str]]
    sources: dict[str, str]
    """What goes into the image -> hash of its content; previews show what changed by it."""
    fingerprint: str
    """Hash over all sources and the builder's recipe; the same anywhere for the same content."""
    paths: dict[str, Any]
    """script, condaFile, runtime, dockerfile, models (beside modelIds), dependencies: where they are on this machine."""
    baseImage: NotRequired[str]
    tags: NotRequired[dict[str, str]]
    description: NotRequired[str]


RUNTIME = "scoring/edge_runtime"
TEMPLATE = "scoring/Dockerfile.j2"
RECIPES = {"azureml/containerImage": "1", "azureml/package": "1", "dockerfile": "1"}
"""To be raised when the same sources give another image: the staging, the driver, the runtime's requirements."""


def image_inputs(
    settings: Settings,
    existing_model: str | None,
    workspace_id: Input[str],
    registry_id: Input[str],
    model_ids: list[Input[str]],
) -> ModelImageInputs:
    """From a stack's settings; reads what goes into the image once to hash it."""
    image = settings.image
    paths: dict[str, Any] = {
        "script": image.script,
        "condaFile": image.conda_file,
        "runtime": RUNTIME,
        "dependencies": image.dependencies,
        "models": [settings.model.path or ""],
    }
    sources = {
        "script": fingerprint.file_part(Path(image.script)),
        "condaFile": fingerprint.file_part(Path(image.conda_file)),
        "runtime": fingerprint.hash_tree(Path(RUNTIME)),
        f"model {settings.model.name}": existing_model or model_hash(settings),
    }
    for dependency in image.dependencies:
        sources[f"dependency {Path(dependency).name}"] = fingerprint.hash_tree(Path(dependency))
    recipe = f"{image.builder}/{image.mode}"
    if image.builder != "azureml":  # the same Dockerfile, so either finds what the other built
        recipe = "dockerfile"
        paths["dockerfile"] = image.dockerfile or TEMPLATE
        sources["dockerfile"] = fingerprint.file_part(Path(paths["dockerfile"]))
        sources["base image"] = image.base_image
    return {
        "workspaceId": workspace_id,
        "registryId": registry_id,
        "name": image.name,
        "builder": image.builder,
        "mode": image.mode,
        "baseImage": image.base_image if recipe == "dockerfile" else "",
        "modelIds": list(model_ids),
        "sources": sources,
        "fingerprint": fingerprint.image_fingerprint(sources, f"{recipe}/{RECIPES[recipe]}"),
        "paths": paths,
        "tags": image.tags,
        "description": image.description,
    }


class ModelImageProvider(Provider):
    """Builds once per fingerprint. A new image is an update: the resource lives on, what it pushed before is in `pushed`."""

    replaces = ("workspaceId", "registryId", "name")
    optional = ("tags", "description")
    ignores = ("paths",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        image = _build(props)
        return CreateResult(f"{props['registryId']}/images/{props['name']}", _outputs(props, image, []))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        repository, _, digest = props["ref"].partition("/")[2].partition("@")
        try:
            credentials = registry.admin_credentials(props["registryId"])
        except NotFoundError:
            return gone()
        if registry.digest(credentials, repository, digest) is None:
            return gone()
        return ReadResult(id_, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_outputs(_news, _build(_news), _olds.get("pushed") or []))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        for entry in _props["pushed"]:
            image = BuiltImage(entry["imageId"], entry["ref"])
            builders.of(entry["builder"], entry["mode"]).discard(_props["workspaceId"], _props["registryId"], image)


def _build(props: dict[str, Any]) -> BuiltImage:
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
    )
    built: BuiltImage = builders.of(props["builder"], props["mode"]).build(request)
    progress.say(f"image {props['name']}", built.ref)
    return built


def _outputs(props: dict[str, Any], image: BuiltImage, before: list[dict[str, str]]) -> dict[str, Any]:
    this = {"imageId": image.image_id, "ref": image.ref, "builder": props["builder"], "mode": props["mode"]}
    pushed = [entry for entry in before if entry["ref"] != image.ref]
    return {**props, "imageId": image.image_id, "ref": image.ref, "pushed": [*pushed, this]}


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
