"""Images whose tag is their fingerprint: what the registry has under it is not built again, on whichever machine it was made."""

from __future__ import annotations

from collections.abc import Callable

from components.services import registry
from components.services.builders import BuildRequest, BuiltImage
from components.services.errors import NotFoundError, ServiceError
from components.services.registry import Credentials


def find_or_make(request: BuildRequest, make: Callable[[BuildRequest, Credentials], None]) -> BuiltImage:
    """The image of the fingerprint; `make` builds and pushes `loginServer/name:fingerprint`. Its id is the fingerprint."""
    credentials = registry.admin_credentials(request.registry_id)
    found = trusted(request, credentials, request.name, request.fingerprint)
    made = found is None
    if not made:
        request.progress(f"the registry has fingerprint {request.fingerprint} already")
    else:
        make(request, credentials)
        found = registry.digest(credentials, request.name, request.fingerprint)
    if not found:
        resource = f"{request.name}:{request.fingerprint}"
        raise ServiceError("find the image", resource, "the registry does not list what the builder pushed")
    return BuiltImage(request.fingerprint, f"{credentials.login_server}/{request.name}@{found}", made)


def trusted(request: BuildRequest, credentials: Credentials, name: str, tag: str) -> str | None:
    """The digest under the tag, unless the request says that somebody moved the tag there.

    A builder whose builds outlive the program looks again before it begins one: a build that an interrupted run left may have ended
    since the first look, and is then neither under way nor to be made twice.
    """
    found = registry.digest(credentials, name, tag)
    return None if found is None or request.distrust.endswith(f"@{found}") else found


def discard(workspace_id: str, registry_id: str, image: BuiltImage) -> None:
    """Delete the manifest with its tags, and the stages; absence of them, or of the registry, is fine."""
    try:
        credentials = registry.admin_credentials(registry_id)
    except NotFoundError:
        return
    repository, _, digest = image.ref.partition("/")[2].partition("@")
    registry.delete_manifest(credentials, repository, digest)
    for stage in image.stages:
        name, _, tag = stage.partition(":")
        if found := registry.digest(credentials, name, tag):
            registry.delete_manifest(credentials, name, found)
