"""The image that another stack has built and verified: exactly that digest, in this stack's registry. Nothing is built here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult

from components.dynamic import DynamicResource, Provider, gone, is_unknown
from components.services import imports, progress, registry
from components.services.errors import NotFoundError
from components.settings import Settings


class PromotedImageInputs(TypedDict):
    registryId: Input[str]
    """ARM id of this stack's registry."""
    sourceRef: str
    """`server/name@sha256:...` as the source stack exports it."""
    fingerprint: NotRequired[str]
    """Of what the image was built from; it becomes the tag."""
    retain: NotRequired[bool]
    """Whether the images that were imported stay in the registry when this is destroyed; they do in a state that does not say."""


def promoted_inputs(settings: Settings, registry_id: Input[str]) -> PromotedImageInputs:
    """From a stack's settings, whose `image.ref` is set."""
    image = settings.image
    return {
        "registryId": registry_id,
        "sourceRef": image.ref or "",
        "fingerprint": image.fingerprint,
        "retain": image.retain,
    }


class PromotedImageProvider(Provider):
    """Another digest is an update, so that the way back is one too: the digests before stay in the registry."""

    replaces = ("registryId",)
    optional = ("fingerprint", "retain")

    def problems(self, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
        if is_unknown(inputs["sourceRef"]):
            return []
        try:
            imports.parse(inputs["sourceRef"])
        except ValueError as error:
            return [("sourceRef", f"{error}: a promoted image is named by its digest, never by a tag")]
        return []

    def create(self, props: dict[str, Any]) -> CreateResult:
        repository = imports.parse(props["sourceRef"]).repository
        return CreateResult(f"{props['registryId']}/promoted/{repository}", _bring(props, []))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        here = imports.parse(props["ref"])
        try:
            credentials = registry.admin_credentials(props["registryId"])
        except NotFoundError:
            return gone()
        if registry.digest(credentials, here.repository, here.digest) is None:
            return gone()
        return ReadResult(id_, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_bring(_news, _olds.get("brought") or []))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        if _props.get("retain", True):
            return
        try:
            credentials = registry.admin_credentials(_props["registryId"])
        except NotFoundError:
            return
        for entry in _props.get("brought") or []:
            if entry["imported"]:
                here = imports.parse(entry["ref"])
                registry.delete_manifest(credentials, here.repository, here.digest)


def _bring(props: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    """`brought` holds every image that this resource had, the present one last."""
    source = imports.parse(props["sourceRef"])
    tag = props.get("fingerprint") or f"promoted-{source.digest[7:19]}"
    ref, imported = imports.bring(
        props["registryId"], source, tag, lambda line: progress.say(f"image {source.repository}", line)
    )
    progress.say(f"image {source.repository}", ref)
    known = next((entry for entry in before if entry["ref"] == ref), {})
    this = {"ref": ref, "imported": imported or known.get("imported", False)}
    return {**props, "ref": ref, "brought": [*(entry for entry in before if entry["ref"] != ref), this]}


class PromotedImage(DynamicResource, module="edge", name="PromotedImage"):
    """Has what ModelImage has for a deployment: `ref` and `fingerprint`."""

    computed = ("ref", "brought")

    def __init__(self, name: str, inputs: PromotedImageInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(PromotedImageProvider(), name, {"fingerprint": "", **inputs}, opts)

    @property
    def ref(self) -> Output[str]:
        """`loginServer/name@sha256:...` in this stack's registry."""
        return self.output("ref")

    @property
    def fingerprint(self) -> Output[str]:
        return self.output("fingerprint")
