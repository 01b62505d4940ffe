"""The scoring image: found by its fingerprint, known by its digest."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from pulumi import Output, ResourceOptions
from pulumi.dynamic import CheckResult, CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone
from components.edge import conda
from components.image_inputs import BASE_IMAGE, PLATFORM, ModelImageInputs, image_fingerprint
from components.services import base_image, builders, progress, registry
from components.services.builders import BuildRequest, BuiltImage, ModelFile
from components.services.deployed import ImagesInUse
from components.services.errors import NotFoundError, ServiceError
from components.settings import AMD64


class ModelImageProvider(Provider):
    """Builds once per fingerprint. A new image is an update: the resource lives on, what it pushed before is in `pushed`."""

    replaces = ("workspaceId", "registryId", "name")
    optional = ("tags", "description")
    ignores = ("paths", "deployedTo")

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """The base image's name becomes the image that it means. Where nobody can be asked, it means what it meant before."""
        checked = super().check(_olds, news)
        inputs = dict(checked.inputs)
        if BASE_IMAGE in inputs["sources"]:
            same = _olds.get("baseImage") == inputs["baseImage"]
            before = (_olds.get("sources") or {}).get(BASE_IMAGE) if same else None
            identity = base_image.identify(inputs["baseImage"], before) or inputs["baseImage"]
            if not base_image.is_exact(identity):
                progress.say(f"image {inputs['name']}", f"cannot tell yet which image {identity} is; `up` needs to")
            inputs["sources"] = {**inputs["sources"], BASE_IMAGE: identity}
            inputs["fingerprint"] = image_fingerprint(inputs["builder"], inputs["mode"], inputs["sources"])
        return CheckResult(inputs, checked.failures)

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
            for number, entry in enumerate(_props["pushed"], 1):
                _discard(_props, entry, _props["pushed"][number:])


def _drifted(olds: Mapping[str, Any]) -> bool:
    """`ref` follows the registry, `pushed` ends with what we made."""
    return bool(olds.get("pushed")) and olds["pushed"][-1]["ref"] != olds["ref"]


def _base(props: dict[str, Any]) -> str:
    """What FROM is to say. Raises ServiceError where nobody could tell which image the name means."""
    name = props.get("baseImage") or ""
    identity = props["sources"].get(BASE_IMAGE, name)
    if BASE_IMAGE in props["sources"] and not base_image.is_exact(identity):
        raise ServiceError(
            "tell which image is meant by",
            name,
            "its registry does not answer without a login, and no Docker engine here has it",
            f"Name it by digest: pulumi config set --path aml-edge:image.baseImage {name}@sha256:...",
        )
    return base_image.to_build_from(identity)


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
        base_image=_base(props),
        platform=props["sources"].get(PLATFORM, AMD64),
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
        "stages": list(image.stages) or known.get("stages") or [],
    }
    pushed = [entry for entry in before if entry["ref"] != image.ref]
    return {**props, "imageId": image.image_id, "ref": image.ref, "pushed": [*pushed, this]}


def _without_old(props: dict[str, Any], pushed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`pushed` after the images beyond `keepImages` were deleted, but for those that a device has, is to have or had lately.

    Tidying up: what cannot be done is said and left for the next time, it fails no update.
    """
    old, kept, left = pushed[: -props["keepImages"]], pushed[-props["keepImages"] :], pushed
    try:
        in_use = _in_use(props) if old else ()
    except ServiceError as error:
        progress.say(f"image {props['name']}", f"kept the old images: {error}")
        return pushed
    for entry in reversed(old):
        if in_use is None or entry["ref"] in in_use:
            kept.insert(0, entry)
            continue
        try:
            rest = [other for other in left if other is not entry]
            _discard(props, entry, rest)
            left = rest
            progress.say(f"image {props['name']}", f"deleted the old {entry['ref']}")
        except ServiceError as error:
            kept.insert(0, entry)
            progress.say(f"image {props['name']}", f"kept the old {entry['ref']}: {error}")
    return kept


def _in_use(props: dict[str, Any]) -> Container[str] | None:
    """None where nobody knows what is deployed."""
    place = props.get("deployedTo")
    return ImagesInUse(place["hubId"], place["devices"]) if place else None


def _discard(props: dict[str, Any], entry: dict[str, Any], left: list[dict[str, Any]]) -> None:
    """Delete what we made of one of `pushed`: the image, and the stages that none of those left stands on."""
    if entry.get("made", True):
        used = {stage for other in left for stage in other.get("stages") or []}
        stages = tuple(stage for stage in entry.get("stages") or [] if stage not in used)
        image = BuiltImage(entry["imageId"], entry["ref"], stages=stages)
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
