"""Blob storage as its users here need it: Put Blob, Put Block, Put Block List, Get Blob (ranges) and Get Blob Properties, by SAS.

The first part of a blob's path is its owner, so that owners and registries never see each other's blobs.
Behaviour: the Blob service REST API, version 2019-07-07.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from localazure.storage.blobstore import Blob, BlobStore, concatenate
from localazure.storage.errors import VERSION, BlobError
from localazure.storage.sas import Signer

MAX_BLOB = 5 * 2**30
"""Azure takes 4.75 TiB; a local disk is smaller."""
MAX_BLOCK_LIST = 8 * 2**20
_CHUNK = 2**20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")


class BlobEndpoint:
    def __init__(self, blobs: BlobStore, signer: Signer, containers: Sequence[str], limit: int = MAX_BLOB) -> None:
        self._blobs, self._signer, self._limit = blobs, signer, limit
        paths = [f"/{container}/{{owner}}/{{name:path}}" for container in containers]
        self.routes = [Route(path, self.put, methods=["PUT"]) for path in paths]
        self.routes += [Route(path, self.get, methods=["GET", "HEAD"]) for path in paths]

    async def put(self, request: Request) -> Response:
        owner, name = self._authorise(request, "cw")
        match request.query_params.get("comp"):
            case None:
                return await self._put_blob(request, owner, name)
            case "block":
                return await self._put_block(request, owner, name)
            case "blocklist":
                return await self._put_block_list(request, owner, name)
            case other:
                raise BlobError(501, "NotImplemented", f"PUT with comp={other} is not part of the local Azure.")

    async def get(self, request: Request) -> Response:
        owner, name = self._authorise(request, "r")
        blob = self._blobs.find(owner, name)
        if not blob:
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        length = blob.length()
        headers = {
            "ETag": blob.etag,
            "Last-Modified": email.utils.formatdate(blob.modified, usegmt=True),
            "x-ms-blob-type": "BlockBlob",
            "Accept-Ranges": "bytes",
            "Content-Type": blob.content_type,
            **{f"x-ms-meta-{key}": value for key, value in blob.metadata.items()},
            **_common(),
        }
        wanted = request.headers.get("x-ms-range") or request.headers.get("range")
        first, last = _range(wanted, length)
        partial = first is not None and request.method == "GET"
        start, end = (first, last) if first is not None and partial else (0, length - 1)
        headers["Content-Length"] = str(end - start + 1)
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end}/{length}"
        elif blob.md5:
            headers["Content-MD5"] = blob.md5
        if request.method == "HEAD":
            return Response(headers=headers)
        return StreamingResponse(_read(blob.path, start, end - start + 1), 206 if partial else 200, headers)

    def _authorise(self, request: Request, needed: str) -> tuple[str, str]:
        # A client may also send Basic authorization: the contentUri has a user name in front of its host (see artifacts.py).
        owner, name = request.path_params["owner"], request.path_params["name"]
        # HEAD after an upload comes with the upload's signature: "r" is granted together with "cw" there.
        container = request.url.path.split("/")[1]
        self._signer.check(container, owner, name, request.query_params, needed)
        return owner, name

    async def _put_blob(self, request: Request, owner: str, name: str) -> Response:
        if request.headers.get("x-ms-blob-type") != "BlockBlob":
            raise BlobError(400, "InvalidHeaderValue", "The header x-ms-blob-type must be BlockBlob.")
        self._refuse_existing(request, owner, name)
        file = self._blobs.draft(owner)
        try:
            md5 = await _receive(request, file, self._limit)
            content_type = request.headers.get("x-ms-blob-content-type") or request.headers.get("content-type")
            blob = self._blobs.commit(
                owner, name, file, md5=md5, content_type=content_type or "application/octet-stream"
            )
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return _created(blob, md5)

    async def _put_block(self, request: Request, owner: str, name: str) -> Response:
        block = request.query_params.get("blockid", "")
        try:
            if not 0 < len(base64.b64decode(block, validate=True)) <= 64:
                raise ValueError
        except (binascii.Error, ValueError) as error:
            raise BlobError(400, "InvalidBlobOrBlock", "blockid must be base64 of 1 to 64 bytes.") from error
        file = self._blobs.draft(owner)
        try:
            md5 = await _receive(request, file, self._limit - self._blobs.staged_bytes(owner, name))
            self._blobs.stage(owner, name, block, file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return Response(status_code=201, headers={"Content-MD5": md5, **_common()})

    async def _put_block_list(self, request: Request, owner: str, name: str) -> Response:
        self._refuse_existing(request, owner, name)
        parts = [self._blobs.block(owner, name, block) for block in await _block_ids(request)]
        files = [part for part in parts if part]
        if len(files) < len(parts):
            raise BlobError(400, "InvalidBlockList", "The specified block list is invalid: a block was not uploaded.")
        whole = self._blobs.draft(owner)
        try:
            await anyio.to_thread.run_sync(concatenate, files, whole)
            blob = self._blobs.commit(
                owner,
                name,
                whole,
                md5=request.headers.get("x-ms-blob-content-md5"),
                content_type=request.headers.get("x-ms-blob-content-type") or "application/octet-stream",
            )
        except BaseException:
            whole.unlink(missing_ok=True)
            raise
        return _created(blob, None)

    def _refuse_existing(self, request: Request, owner: str, name: str) -> None:
        if request.headers.get("if-none-match") == "*" and self._blobs.find(owner, name):
            raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")


async def _receive(request: Request, file: Path, limit: int) -> str:
    """Stream the body to a new file; its MD5 in base64. Raises BlobError 400, 411 or 413."""
    announced = request.headers.get("content-length")
    if announced is None:
        raise BlobError(411, "MissingContentLengthHeader", "Content-Length HTTP header is missing.")
    too_large = BlobError(
        413, "RequestBodyTooLarge", f"The request body is too large: this blob may still take {max(limit, 0)} bytes."
    )
    if not announced.isdecimal() or int(announced) > limit:
        raise too_large
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with file.open("xb") as target:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            digest.update(chunk)
            target.write(chunk)
    md5 = base64.b64encode(digest.digest()).decode()
    claimed = request.headers.get("content-md5")
    if claimed and claimed != md5:
        raise BlobError(
            400, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated."
        )
    return md5


async def _block_ids(request: Request) -> list[str]:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BLOCK_LIST:
            raise BlobError(413, "RequestBodyTooLarge", "The block list is too large.")
    invalid = BlobError(400, "InvalidXmlDocument", "XML specified is not syntactically valid.")
    if b"<!" in content:  # no document type, hence no entities
        raise invalid
    try:
        elements = list(ElementTree.fromstring(bytes(content)))  # noqa: S314 - see the line above
    except ElementTree.ParseError as error:
        raise invalid from error
    if any(element.tag not in ("Latest", "Uncommitted") for element in elements):
        # A block list over committed blocks edits a blob in place; azureml-core never does.
        raise BlobError(501, "NotImplemented", "A block list may only name uncommitted blocks in the local Azure.")
    return [element.text or "" for element in elements]


async def _read(path: Path, start: int, count: int) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(start)
        while count > 0 and (chunk := await file.read(min(_CHUNK, count))):
            count -= len(chunk)
            yield chunk


def _range(header: str | None, length: int) -> tuple[int | None, int]:
    """First and last byte, or (None, 0) for the whole blob. Raises BlobError 416 beyond its end."""
    match = _RANGE.match(header or "")
    if not match:
        return None, 0
    first = int(match[1])
    last = min(int(match[2] or length - 1), length - 1)
    if first >= length or first > last:
        raise BlobError(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
    return first, last


def _created(blob: Blob, md5: str | None) -> Response:
    headers = {"ETag": blob.etag, "Last-Modified": email.utils.formatdate(blob.modified, usegmt=True), **_common()}
    if md5:
        headers["Content-MD5"] = md5
    return Response(status_code=201, headers=headers)


def _common() -> dict[str, str]:
    return {
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": VERSION,
        "x-ms-request-server-encrypted": "true",
    }
