"""Images brought from one container registry into another by the registries themselves (`Registries_ImportImage`), by digest.

No image passes through this machine, and a digest stays what it is: learn.microsoft.com/azure/container-registry/
container-registry-import-images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from components.services import azure, registry
from components.services.errors import NotFoundError, ServiceError

WAIT_SECONDS = 900
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Reference:
    """`server/repository@digest`."""

    server: str
    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.server}/{self.repository}@{self.digest}"


def parse(ref: str) -> Reference:
    """Raises ValueError where it is not by digest."""
    name, _, digest = ref.partition("@")
    server, _, repository = name.partition("/")
    if not (server and repository and digest.startswith("sha256:") and len(digest) == 71):
        raise ValueError(f"{ref!r} is not server/name@sha256:...")
    return Reference(server, repository, digest)


def bring(registry_id: str, source: Reference, tag: str, say: Callable[[str], None]) -> tuple[str, bool]:
    """(reference in the target registry, whether it was imported now). What is there already is used as it is, so that a way back
    needs no source. Raises ServiceError."""
    target = registry.admin_credentials(registry_id)
    ref = f"{target.login_server}/{source.repository}@{source.digest}"
    if registry.digest(target, source.repository, source.digest):
        return ref, False
    if source.server == target.login_server:
        raise _absent(source)
    say(f"importing {source}")
    _import(registry_id, source, tag)
    if not registry.digest(target, source.repository, source.digest):
        raise ServiceError("import the image", str(source), f"{target.login_server} does not have it after its import")
    return ref, True


def _import(registry_id: str, source: Reference, tag: str) -> None:
    doing = "import an image into"
    origin = _registry_of(registry_id, source.server)
    body = {
        "source": {"resourceId": origin, "sourceImage": f"{source.repository}@{source.digest}"},
        "targetTags": [f"{source.repository}:{tag}"],
        "mode": "Force",  # the tag is for people; what counts is the digest
    }
    started = azure.send(doing, "POST", registry_id, f"{registry_id}/importImage", body, repeatable=False)
    operation = started.headers.get("Location") or started.headers.get("Azure-AsyncOperation")
    deadline = time.monotonic() + WAIT_SECONDS
    status = started.status_code
    while operation and status == 202:
        if time.monotonic() > deadline:
            raise ServiceError(doing, registry_id, f"it was not done after {WAIT_SECONDS} s", "Run `pulumi up` again.")
        time.sleep(_POLL_SECONDS)
        path = operation.removeprefix(azure.cloud().resource_manager)
        try:
            answer = azure.send(f"{doing} (its operation)", "GET", registry_id, path)
        except NotFoundError as error:  # the operation's own answer: the source has no such manifest
            raise _absent(source) from error
        status = answer.status_code
        if status == 200 and answer.content and answer.json().get("status") in ("Failed", "Canceled"):
            raise ServiceError(
                doing, registry_id, azure.message(answer), "Check the source image and the rights on its registry."
            )


def _registry_of(registry_id: str, server: str) -> str:
    """The ARM id of the registry with this login server, in the subscription of `registry_id` or another that this identity sees:
    dev and prod often have one each."""
    own = registry_id.split("/")[2]
    others = (str(entry["subscriptionId"]) for entry in azure.collection("/subscriptions"))
    for subscription in dict.fromkeys((own, *others)):
        for found in azure.collection(
            f"/subscriptions/{subscription}/providers/Microsoft.ContainerRegistry/registries"
        ):
            if found["properties"].get("loginServer") == server:
                return str(found["id"])
    raise ServiceError(
        "find the registry to import from",
        server,
        "no registry that this identity may read has this login server",
        "Give this identity the roles Reader and AcrPull on the source registry, or share one registry (aml-edge:registry.existing).",
    )


def _absent(source: Reference) -> ServiceError:
    return ServiceError(
        "use the image",
        str(source),
        "its registry does not have it",
        "Promote an image that its stack still has: make promote FROM=... TO=...",
    )
