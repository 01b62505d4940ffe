"""Images and the operations that make them."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.instance import Instance
from localazure.ml import query
from localazure.ml.artifacts import Artifacts
from localazure.ml.build.queue import BuildQueue, dockerfile_name, log_name
from localazure.ml.errors import ServiceError
from localazure.ml.gate import Gate, Workspace, read_model
from localazure.ml.models import ROOT, Models
from localazure.ml.tables import timestamp
from localazure.storage.blobstore import BlobStore
from localazure.store import Store, dump

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?\Z")
_PATCHABLE = {"kvTags", "properties", "description"}


class Asset(BaseModel):
    id: str = Field(min_length=1)
    url: str
    mimeType: str  # noqa: N815 - the names of the wire
    unpack: bool = False


class _Runtime(BaseModel):
    runtimeType: str  # noqa: N815
    targetArchitecture: str = "amd64"  # noqa: N815
    properties: dict[str, Any] = Field(default_factory=dict)


class _NewImage(BaseModel):
    name: str = Field(min_length=3, max_length=32)
    imageType: str  # noqa: N815
    imageFlavor: str  # noqa: N815
    driverProgram: str  # noqa: N815
    assets: list[Asset]
    targetRuntime: _Runtime  # noqa: N815
    modelIds: list[str] | None = None  # noqa: N815
    description: str | None = None
    kvTags: dict[str, str] | None = None  # noqa: N815
    properties: dict[str, str] | None = None
    dockerFileUri: str | None = None  # noqa: N815
    baseImage: str | None = None  # noqa: N815


class Images:
    def __init__(
        self,
        instance: Instance,
        store: Store,
        blobs: BlobStore,
        artifacts: Artifacts,
        models: Models,
        queue: BuildQueue,
        gate: Gate,
    ) -> None:
        self._url, self._store, self._blobs = instance.arm_url, store, blobs
        self._artifacts, self._models, self._queue = artifacts, models, queue
        self.routes = [
            Route(f"{ROOT}/images", gate(self._create), methods=["POST"]),
            Route(f"{ROOT}/images", gate(self._list), methods=["GET"]),
            Route(f"{ROOT}/images/{{id}}", gate(self._get), methods=["GET"]),
            Route(f"{ROOT}/images/{{id}}", gate(self._patch), methods=["PATCH"]),
            Route(f"{ROOT}/images/{{id}}", gate(self._delete), methods=["DELETE"]),
            Route(f"{ROOT}/operations/{{id}}", gate(self._operation), methods=["GET"]),
        ]

    async def _create(self, request: Request, workspace: Workspace) -> Response:
        new = await read_model(request, _NewImage)
        self._validate(new, workspace)
        operation, now = str(uuid.uuid4()), timestamp()
        log = self._blobs.draft(workspace.key)
        log.touch()
        with self._store.transaction():
            version = query.next_version(self._store, workspace.key, "image", new.name)
            identity = f"{new.name}:{version}"
            image = {
                **new.model_dump(exclude={"baseImage"}),
                "id": identity,
                "version": str(version),
                "createdTime": now,
                "creationState": "Running",
                "imageLocation": None,
                "modelIds": new.modelIds or [],
                "kvTags": new.kvTags or {},
                "properties": new.properties or {},
                "operation": operation,
            }
            root = f"{self._url}/modelmanagement/v1.0{workspace.arm_id}"
            body = {
                "id": operation,
                "operationType": "Image",
                "state": "NotStarted",
                "createdTime": now,
                "endTime": None,
                "resourceLocation": f"{root}/images/{identity}",
            }
            self._store.execute(
                "INSERT INTO ml_images (workspace, name, version, modified, body) VALUES (?, ?, ?, ?, ?)",
                workspace.key, new.name, version, time.time(), dump(image),
            )  # fmt: skip
            self._store.execute(
                "INSERT INTO ml_operations VALUES (?, ?, ?, 'NotStarted', 0, ?, ?)",
                operation, workspace.key, workspace.arm_id, identity, dump(body),
            )  # fmt: skip
            self._blobs.commit(workspace.key, log_name(operation), log, content_type="text/plain", growing=True)
        self._queue.submit(operation)
        return Response(status_code=202, headers={"Operation-Location": f"{root}/operations/{operation}"})

    def _validate(self, new: _NewImage, workspace: Workspace) -> None:
        """Raises ServiceError: 400 for what the service refuses, 404 for a missing model, 501 for what is not doubled."""
        if not _NAME.match(new.name):
            raise ServiceError(
                400, "BadArgument", f"The image name {new.name!r} is not lower-case letters, digits, dashes and dots."
            )
        custom = new.baseImage or {"installCuda", "cudaVersion"} & set(new.targetRuntime.properties)
        kind = (new.imageType, new.imageFlavor, new.targetRuntime.runtimeType, new.targetRuntime.targetArchitecture)
        if custom or kind != ("Docker", "WebApiContainer", "Python", "amd64"):
            raise ServiceError(
                501,
                "NotImplemented",
                "The local Azure builds Docker images of flavor WebApiContainer for runtime python on amd64, without CUDA "
                f"or a custom base image; asked for was {' '.join(kind)}.",
            )
        if new.driverProgram not in [asset.id for asset in new.assets]:
            raise ServiceError(400, "BadArgument", f"The driver program {new.driverProgram!r} is not among the assets.")
        for identity in new.modelIds or []:
            self._models.find(workspace.key, identity)

    async def _list(self, request: Request, workspace: Workspace) -> Response:
        wanted = request.query_params
        model, model_name, version = wanted.get("modelId"), wanted.get("modelName"), wanted.get("version")

        def keep(image: dict[str, Any]) -> bool:
            used = image["modelIds"]
            return (
                (not model or model in used)
                and (not model_name or model_name in [identity.rpartition(":")[0] for identity in used])
                and (not version or image["version"] == version)
            )

        found = query.select(self._store, "ml_images", workspace.key, request, keep)
        return query.page(request, found, self._url, lambda image: self._shape(image, request, workspace))

    async def _get(self, request: Request, workspace: Workspace) -> Response:
        image = self._find(workspace.key, request.path_params["id"])
        return JSONResponse(self._shape(image, request, workspace))

    async def _patch(self, request: Request, workspace: Workspace) -> Response:
        operations = await query.read_patch(request, _PATCHABLE)
        image = query.apply_patch(self._find(workspace.key, request.path_params["id"]), operations)
        self._store.execute(
            "UPDATE ml_images SET body = ?, modified = ? WHERE workspace = ? AND name = ? AND version = ?",
            dump(image), time.time(), workspace.key, image["name"], int(image["version"]),
        )  # fmt: skip
        return JSONResponse(self._shape(image, request, workspace))

    async def _delete(self, request: Request, workspace: Workspace) -> Response:
        """The image's record; what was pushed stays in the registry, which belongs to the user."""
        image = self._find(workspace.key, request.path_params["id"])
        if image["creationState"] == "Running":
            raise ServiceError(
                409, "Conflict", f"The image {image['id']} is still being built; wait for its operation."
            )
        self._store.execute(
            "DELETE FROM ml_images WHERE workspace = ? AND name = ? AND version = ?",
            workspace.key, image["name"], int(image["version"]),
        )  # fmt: skip
        return Response(status_code=200)

    async def _operation(self, request: Request, workspace: Workspace) -> Response:
        identity = request.path_params["id"]
        row = self._store.one("SELECT body FROM ml_operations WHERE workspace = ? AND id = ?", workspace.key, identity)
        if not row:
            raise ServiceError(404, "OperationNotFound", f"Operation with id {identity} was not found.")
        body = json.loads(row["body"])
        body["operationLog"] = self._artifacts.read_uri(workspace, log_name(identity))
        return JSONResponse(body)

    def _find(self, workspace: str, identity: str) -> dict[str, Any]:
        name, version = query.split_id(identity, "Image")
        row = self._store.one(
            "SELECT body FROM ml_images WHERE workspace = ? AND name = ? AND version = ?", workspace, name, version
        )
        if not row:
            raise ServiceError(404, "ImageNotFound", f"Image with id {identity} was not found in the workspace.")
        body: dict[str, Any] = json.loads(row["body"])
        return body

    def _shape(self, stored: dict[str, Any], request: Request, workspace: Workspace) -> dict[str, Any]:
        """With fresh addresses of log and Dockerfile, and the models themselves when `expand` asks for them."""
        image = dict(stored)
        operation = image.pop("operation")
        image["imageBuildLogUri"] = self._artifacts.read_uri(workspace, log_name(operation))
        built = self._blobs.find(workspace.key, dockerfile_name(operation))
        image["generatedDockerFileUri"] = self._artifacts.read_uri(workspace, built.name) if built else None
        if request.query_params.get("expand", "").lower() == "true":
            models = (self._models.find(workspace.key, identity) for identity in image["modelIds"])
            image["modelDetails"] = [{**model, "tags": model["kvTags"]} for model in models]
        return image
