"""A client of a registry's content: manifests and blobs (OCI distribution specification 1.0)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

_DOCKER, _OCI = "application/vnd.docker.distribution.manifest", "application/vnd.oci.image"
MANIFESTS = (f"{_DOCKER}.v2+json", f"{_OCI}.manifest.v1+json")
INDEXES = (f"{_DOCKER}.list.v2+json", f"{_OCI}.index.v1+json")
_ACCEPT = ", ".join(MANIFESTS + INDEXES)
_MAX_MANIFEST = 4 * 2**20  # what docker-registry takes
_TIMEOUT = httpx.Timeout(60)  # between two chunks


class DistributionError(Exception):
    """The registry refused; `code` is the distribution API's, e.g. MANIFEST_UNKNOWN."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Manifest:
    """`content` is what the digest is of: never written anew."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return digest(self.content)

    @property
    def body(self) -> dict[str, Any]:
        """Raises DistributionError for what is not a JSON object."""
        try:
            body = json.loads(self.content)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise DistributionError(400, "MANIFEST_INVALID", f"the manifest {self.digest} is not a JSON object")
        return body

    def blobs(self) -> list[str]:
        """Digests of configuration and layers; a layer with `urls` lies elsewhere and is never in a registry."""
        body = self.body
        parts = [body.get("config"), *body.get("layers", [])]
        return [part["digest"] for part in parts if part and not part.get("urls")]

    def manifests(self) -> list[str]:
        """Digests of an index's members."""
        return [part["digest"] for part in self.body.get("manifests", [])] if self.media_type in INDEXES else []


class Distribution:
    """One registry; an async context manager. All methods raise DistributionError with the registry's words."""

    def __init__(self, name: str, transport: httpx.AsyncBaseTransport) -> None:
        self.name = name
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://registry", timeout=_TIMEOUT, trust_env=False
        )

    async def __aenter__(self) -> Distribution:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def find(self, repository: str, reference: str) -> Manifest | None:
        """The manifest of a tag or digest, or None."""
        answer = await self._call(
            "GET", f"/v2/{repository}/manifests/{reference}", ok=(200, 404), headers={"Accept": _ACCEPT}
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if len(answer.content) > _MAX_MANIFEST:
            raise DistributionError(413, "MANIFEST_INVALID", f"the manifest of {repository}:{reference} is too large")
        return Manifest(answer.headers.get("content-type", "").partition(";")[0], answer.content)

    async def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        await self._call(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            ok=(201,),
            content=manifest.content,
            headers={"Content-Type": manifest.media_type},
        )

    async def delete(self, repository: str, manifest_digest: str) -> None:
        """The manifest with all its tags; absence is fine."""
        await self._call("DELETE", f"/v2/{repository}/manifests/{manifest_digest}", ok=(202, 404))

    async def delete_blob(self, repository: str, blob_digest: str) -> None:
        """Absence is fine."""
        await self._call("DELETE", f"/v2/{repository}/blobs/{blob_digest}", ok=(202, 404))

    async def read_blob(self, repository: str, blob_digest: str) -> bytes:
        """For configurations: all of it, in memory."""
        return (await self._call("GET", f"/v2/{repository}/blobs/{blob_digest}", ok=(200,))).content

    async def put_blob(self, repository: str, content: bytes) -> str:
        async def chunks() -> AsyncIterator[bytes]:
            yield content

        await self._upload(repository, digest(content), len(content), chunks())
        return digest(content)

    async def copy_blob(self, source: Distribution, origin: str, repository: str, blob_digest: str) -> None:
        """From `origin` in another registry (or this one) to `repository` here, streamed, unless it is there."""
        answer = await self._call("HEAD", f"/v2/{repository}/blobs/{blob_digest}", ok=(200, 404))
        if answer.status_code == httpx.codes.OK:
            return
        async with source._client.stream("GET", f"/v2/{origin}/blobs/{blob_digest}") as content:
            if content.status_code != httpx.codes.OK:
                await content.aread()
                raise _error(content)
            length = int(content.headers["content-length"])
            await self._upload(repository, blob_digest, length, content.aiter_raw())

    async def _upload(self, repository: str, blob_digest: str, length: int, chunks: AsyncIterator[bytes]) -> None:
        begun = await self._call("POST", f"/v2/{repository}/blobs/uploads/", ok=(202,))
        target = httpx.URL(begun.headers["location"]).copy_add_param("digest", blob_digest)
        headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        await self._call("PUT", str(target), ok=(201,), content=chunks, headers=headers)

    async def _call(self, method: str, path: str, *, ok: tuple[int, ...], **options: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, **options)
        except httpx.TransportError as error:
            reason = f"the container registry '{self.name}' does not answer ({type(error).__name__})"
            raise DistributionError(503, "UNAVAILABLE", reason) from error
        if answer.status_code not in ok:
            raise _error(answer)
        return answer


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _error(answer: httpx.Response) -> DistributionError:
    try:
        first = answer.json()["errors"][0]
        return DistributionError(answer.status_code, first["code"], f"{first['code']}: {first['message']}")
    except (ValueError, LookupError, TypeError):
        request = answer.request
        return DistributionError(
            answer.status_code, "UNKNOWN", f"{request.method} {request.url.path} -> {answer.status_code}"
        )
