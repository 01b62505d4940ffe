"""The service: its parts put together, its routing table, its start and stop."""

from __future__ import annotations

import re
import uuid

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.identity import Tokens
from localazure.instance import Instance
from localazure.ml.artifacts import Artifacts
from localazure.ml.build import queue
from localazure.ml.errors import ServiceError
from localazure.ml.gate import Gate, GetResource
from localazure.ml.images import Images
from localazure.ml.models import Models
from localazure.ml.packages import Packages
from localazure.ml.tables import SCHEMA
from localazure.ml.uploads import Uploads
from localazure.storage import BlobService
from localazure.store import Store

# The services that azureml-core asks discovery for (_restclient/service_context.py); all are here.
_SERVICES = (
    "api", "experimentation", "history", "hyperdrive", "modelmanagement", "studio", "pipelines", "catalog", "notebooks",
    "inference", "registry",
)  # fmt: skip


class MlService:
    """`app` answers below /discovery, /artifact and /modelmanagement of the instance's ARM listener.

    `get_resource` gives ARM's stored resource by id, None for what does not exist (soft-deleted included); `registries` gives the
    passwords of a container registry's admin user. Image builds need `DOCKER_HOST` and take `LOCALAZURE_BASE_IMAGE`.
    """

    def __init__(
        self,
        instance: Instance,
        store: Store,
        tokens: Tokens,
        get_resource: GetResource,
        registries: queue.Registries,
        blobs: BlobService,
    ) -> None:
        self._instance, self._store = instance, store
        store.script(SCHEMA)
        gate = Gate(instance, tokens, get_resource)
        self._blobs = blobs.files
        artifacts = Artifacts(store, blobs, gate)
        models = Models(instance, store, gate)
        uploads = Uploads(store, self._blobs, artifacts, models)
        self._builds = queue.BuildQueue(instance, store, self._blobs, uploads, gate, registries)
        images = Images(instance, store, self._blobs, artifacts, models, self._builds, gate)
        packages = Packages(instance, store, self._blobs, models, self._builds, gate)
        self.app = Starlette(
            routes=[
                Route("/discovery/workspaces/{id}", self._discover, methods=["GET"]),
                *artifacts.routes,
                *models.routes,
                *images.routes,
                *packages.routes,
            ],
            exception_handlers={
                ServiceError: _answer,
                HTTPException: _unknown,
                ClientDisconnect: _gone,
                OSError: _disk,
            },
        )

    async def start(self) -> None:
        """Take up the builds that a kill interrupted."""
        queue.clean(self._instance.folder)
        self._builds.start()

    async def stop(self) -> None:
        """Builds that run are ended; they start again with the next `start`."""
        await self._builds.stop()

    def forget(self, workspace_id: str) -> None:
        """Remove all that belongs to a workspace which was deleted for good (not soft-deleted: that one keeps its models)."""
        key = workspace_id.lower()
        with self._store.transaction():
            for table in ("artifacts", "assets", "models", "images", "packages", "operations", "versions"):
                self._store.execute(f"DELETE FROM ml_{table} WHERE workspace = ?", key)  # noqa: S608 - constants
        self._blobs.forget(key)

    async def _discover(self, request: Request) -> Response:
        """Without authentication, as in Azure; every service has the same address here."""
        try:
            uuid.UUID(request.path_params["id"])
        except ValueError as error:
            raise ServiceError(404, "WorkspaceNotFound", "A workspace id is a UUID.") from error
        return JSONResponse(dict.fromkeys(_SERVICES, self._instance.arm_url))


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return error.response(request.url.path)


async def _unknown(request: Request, error: Exception) -> Response:
    """A call that nobody needed yet says its name."""
    name = re.sub(r"^.*/workspaces/[^/]+", "", request.url.path)
    message = f"{request.method} {name} is not part of the local Azure."
    return ServiceError(501, "NotImplemented", message).response(request.url.path)


async def _gone(request: Request, error: Exception) -> Response:
    """The client hung up in the middle of its upload; nobody reads this."""
    return Response(status_code=400)


async def _disk(request: Request, error: Exception) -> Response:
    """A full or broken disk is an error of the one request."""
    message = f"The local Azure cannot write to or read from its disk: {error}"
    return ServiceError(500, "InternalError", message).response(request.url.path)
