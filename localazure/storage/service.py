"""The service: the container's routes, its tables, the sweep at start."""

from __future__ import annotations

import datetime
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from localazure.instance import Instance
from localazure.storage.blobs import MAX_BLOB, BlobEndpoint
from localazure.storage.blobstore import BlobStore
from localazure.storage.errors import BlobError
from localazure.storage.sas import Signer
from localazure.store import Store

AZUREML, ACR_TASKS = "azureml", "acrtasks"
CONTAINERS = (AZUREML, ACR_TASKS)


class BlobService:
    """`app` answers below `/<container>/<owner>/<blob>` of the instance's ARM listener, by signature only.

    An owner is whom blobs belong to and go with: an Azure ML workspace, a container registry. Owners are unique over containers.
    """

    def __init__(self, instance: Instance, store: Store, *, max_blob_bytes: int = MAX_BLOB) -> None:
        self.files, self._signer, self._base = BlobStore(instance, store), Signer(instance), instance.arm_url
        self.app = Starlette(
            routes=BlobEndpoint(self.files, self._signer, CONTAINERS, max_blob_bytes).routes,
            exception_handlers={BlobError: _answer, HTTPException: _unknown, ClientDisconnect: _gone, OSError: _disk},
        )

    async def start(self) -> None:
        """Sweep what a kill left half-written; before the services that write blobs."""
        self.files.sweep()

    async def stop(self) -> None:
        """Nothing runs."""

    def url(self, container: str, owner: str, name: str, permissions: str, lifetime: datetime.timedelta) -> str:
        """A signed address; `permissions` are letters of "rcw" (service SAS)."""
        query = self._signer.query(container, owner, name, permissions, lifetime)
        return f"{self._base}/{container}/{owner}/{quote(name)}?{query}"


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, BlobError)
    return error.response()


async def _unknown(request: Request, error: Exception) -> Response:
    """A call that nobody needed yet says its name."""
    message = f"{request.method} on blob storage is not part of the local Azure."
    return BlobError(501, "NotImplemented", message).response()


async def _gone(request: Request, error: Exception) -> Response:
    """The client hung up in the middle of its upload; nobody reads this."""
    return Response(status_code=400)


async def _disk(request: Request, error: Exception) -> Response:
    """A full or broken disk is an error of the one request."""
    message = f"The local Azure cannot write to or read from its disk: {error}"
    return BlobError(500, "InternalError", message).response()
