"""importImage: manifests and blobs from one registry of the instance to another, byte for byte, so that digests stay.

Sources: Azure REST API, containerregistry 2023-01-01-preview, `Registries_ImportImage`; learn.microsoft.com/azure/container-registry/
container-registry-import-images.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from localazure.registry.distribution import Distribution, DistributionError, Manifest
from localazure.registry.tasks import names
from localazure.registry.tasks.errors import TaskError, invalid
from localazure.registry.tasks.names import ImageName

MAX_MANIFESTS = 50


class _Credentials(BaseModel):
    username: str | None = None
    password: str


class _Source(BaseModel):
    sourceImage: str  # noqa: N815 - the names of the wire
    resourceId: str | None = None  # noqa: N815
    registryUri: str | None = None  # noqa: N815
    credentials: _Credentials | None = None


class ImportRequest(BaseModel):
    """What is kept of an import until it ends: it holds a password."""

    model_config = ConfigDict(extra="ignore")
    source: _Source
    targetTags: list[str] = Field(default_factory=list)  # noqa: N815
    untaggedTargetRepositories: list[str] = Field(default_factory=list)  # noqa: N815
    mode: Literal["NoForce", "Force"] = "NoForce"

    def image(self) -> ImageName:
        return names.parse(self.source.sourceImage)

    def tags(self) -> list[ImageName]:
        """A target without a tag has the source's, or `latest`."""
        image = self.image()
        return [names.parse(text, tag="latest" if image.is_digest else image.reference) for text in self.targetTags]


def admit(body: dict[str, Any] | None) -> ImportRequest:
    """Raises TaskError 400."""
    try:
        request = ImportRequest.model_validate(body or {})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise invalid(f"The import request is invalid: {problems}.") from error
    source = request.source
    if (source.resourceId is None) == (source.registryUri is None):
        raise invalid("The import request must name its source by exactly one of resourceId and registryUri.")
    if not request.targetTags and not request.untaggedTargetRepositories:
        raise invalid("The import request must name targetTags or untaggedTargetRepositories.")
    if any(tag.is_digest for tag in request.tags()):
        raise invalid("A target tag must not be a digest.")
    for repository in request.untaggedTargetRepositories:
        if names.parse(repository).repository != repository:
            raise invalid(f"'{repository}' is not the name of a repository.")
    return request


async def copy(request: ImportRequest, source: Distribution, target: Distribution) -> None:
    """Raises TaskError with the registry's words; target tags are set when everything they need is there."""
    image, tags = request.image(), request.tags()
    try:
        if request.mode == "NoForce":
            for tag in tags:
                if await target.find(tag.repository, tag.reference):
                    raise TaskError(409, "Conflict", f"{tag} Tag {tag} already exists in target registry.")
        manifest = await source.find(image.repository, image.reference)
        if manifest is None:
            raise TaskError(404, "NotFound", f"{image} MANIFEST_UNKNOWN: manifest of {image} is not found.")
        for repository in dict.fromkeys([*(tag.repository for tag in tags), *request.untaggedTargetRepositories]):
            await _copy_parts(manifest, source, image.repository, target, repository)
            await target.put(repository, manifest.digest, manifest)
        for tag in tags:
            await target.put(tag.repository, tag.reference, manifest)
    except DistributionError as error:
        raise TaskError(error.status, error.code, f"{image} {error}") from error


async def _copy_parts(
    manifest: Manifest, source: Distribution, origin: str, target: Distribution, repository: str
) -> None:
    members = manifest.manifests()
    if len(members) > MAX_MANIFESTS:
        raise DistributionError(400, "MANIFEST_INVALID", f"the index has more than {MAX_MANIFESTS} manifests")
    for digest in members:
        member = await source.find(origin, digest)
        if member is None or member.manifests():
            raise DistributionError(404, "MANIFEST_UNKNOWN", f"the index's member {digest} is not a manifest there")
        await _copy_parts(member, source, origin, target, repository)
        await target.put(repository, digest, member)
    for digest in manifest.blobs() if not members else []:
        await target.copy_blob(source, origin, repository, digest)
