"""Model management: assets (which artifacts belong together) and the versioned models that point at them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.instance import Instance
from localazure.ml import query
from localazure.ml.errors import ServiceError
from localazure.ml.gate import WORKSPACE_PATH, Gate, Workspace, read_model
from localazure.ml.tables import timestamp
from localazure.store import Store, dump

ROOT = f"/modelmanagement/v1.0{WORKSPACE_PATH}"
_ASSET = "aml://asset/"
_PATCHABLE = {
    "kvTags", "properties", "description", "datasets", "sampleInputData", "sampleOutputData", "resourceRequirements",
}  # fmt: skip


class _ArtifactOfAsset(BaseModel):
    id: str | None = None
    prefix: str | None = None


class _NewAsset(BaseModel):
    name: str = Field(min_length=1)
    artifacts: list[_ArtifactOfAsset] = Field(min_length=1)
    description: str | None = None
    kvTags: dict[str, str] | None = None  # noqa: N815 - the names of the wire
    properties: dict[str, str] | None = None
    runid: str | None = None
    meta: dict[str, str] | None = None
    type: str | None = None


class _NewModel(BaseModel):
    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9\-\._]{0,254}$")
    url: str
    mimeType: str = Field(min_length=1)  # noqa: N815
    description: str | None = None
    unpack: bool = False
    kvTags: dict[str, str] | None = None  # noqa: N815
    properties: dict[str, str] | None = None
    datasets: list[dict[str, str]] | None = None
    framework: str | None = None
    frameworkVersion: str | None = None  # noqa: N815
    runId: str | None = None  # noqa: N815
    experimentName: str | None = None  # noqa: N815
    parentModelId: str | None = None  # noqa: N815
    sampleInputData: str | None = None  # noqa: N815
    sampleOutputData: str | None = None  # noqa: N815
    resourceRequirements: dict[str, Any] | None = None  # noqa: N815


class Models:
    def __init__(self, instance: Instance, store: Store, gate: Gate) -> None:
        self._url, self._store = instance.arm_url, store
        self.routes = [
            Route(f"{ROOT}/assets", gate(self._create_asset), methods=["POST"]),
            Route(f"{ROOT}/assets/{{id}}", gate(self._get_asset), methods=["GET"]),
            Route(f"{ROOT}/models", gate(self._register), methods=["POST"]),
            Route(f"{ROOT}/models", gate(self._list), methods=["GET"]),
            Route(f"{ROOT}/models/{{id}}", gate(self._get), methods=["GET"]),
            Route(f"{ROOT}/models/{{id}}", gate(self._patch), methods=["PATCH"]),
            Route(f"{ROOT}/models/{{id}}", gate(self._delete), methods=["DELETE"]),
        ]

    def find(self, workspace: str, identity: str) -> dict[str, Any]:
        """A model by `name:version`. Raises ServiceError 404."""
        name, version = query.split_id(identity, "Model")
        row = self._store.one(
            "SELECT body FROM ml_models WHERE workspace = ? AND name = ? AND version = ?", workspace, name, version
        )
        if not row:
            raise ServiceError(404, "ModelNotFound", f"Model with id {identity} was not found in the workspace.")
        body: dict[str, Any] = json.loads(row["body"])
        return body

    def asset(self, workspace: str, url: str) -> dict[str, Any] | None:
        """What a model's `aml://asset/<id>` points at."""
        row = self._store.one(
            "SELECT body FROM ml_assets WHERE workspace = ? AND id = ?", workspace, url.removeprefix(_ASSET)
        )
        return json.loads(row["body"]) if row and url.startswith(_ASSET) else None

    async def _create_asset(self, request: Request, workspace: Workspace) -> Response:
        body = await read_model(request, _NewAsset)
        for artifact in body.artifacts:
            if (artifact.id or artifact.prefix or "").count("/") < 2:
                raise ServiceError(
                    400, "BadArgument", "An artifact of an asset is origin/container/path, as id or prefix."
                )
        asset = {**body.model_dump(), "id": uuid.uuid4().hex, "createdTime": timestamp()}
        self._store.execute(
            "INSERT INTO ml_assets (workspace, id, body) VALUES (?, ?, ?)", workspace.key, asset["id"], dump(asset)
        )
        return JSONResponse(asset)

    async def _get_asset(self, request: Request, workspace: Workspace) -> Response:
        asset = self.asset(workspace.key, _ASSET + request.path_params["id"])
        if not asset:
            raise ServiceError(404, "AssetNotFound", f"Asset with id {request.path_params['id']} was not found.")
        return JSONResponse(asset)

    async def _register(self, request: Request, workspace: Workspace) -> Response:
        new = await read_model(request, _NewModel)
        if not self.asset(workspace.key, new.url):
            raise ServiceError(400, "BadArgument", f"The model's url {new.url} is not an asset of this workspace.")
        now = timestamp()
        with self._store.transaction():
            version = query.next_version(self._store, workspace.key, "model", new.name)
            model = {
                **new.model_dump(),
                "id": f"{new.name}:{version}",
                "version": version,
                "framework": new.framework or "Custom",
                "kvTags": new.kvTags or {},
                "properties": new.properties or {},
                "datasets": new.datasets or [],
                "derivedModelIds": [],
                "createdTime": now,
                "modifiedTime": now,
                "createdBy": {
                    "userObjectId": workspace.caller["oid"],
                    "userTenantId": workspace.caller["tid"],
                    "userName": workspace.caller["appid"],
                },
            }
            self._store.execute(
                "INSERT INTO ml_models (workspace, name, version, modified, body) VALUES (?, ?, ?, ?, ?)",
                workspace.key, new.name, version, time.time(), dump(model),
            )  # fmt: skip
        return JSONResponse(model)

    async def _list(self, request: Request, workspace: Workspace) -> Response:
        wanted = request.query_params
        exact = {key: wanted[key] for key in ("framework", "runId", "description") if wanted.get(key)}
        dataset = wanted.get("datasetId")

        def keep(model: dict[str, Any]) -> bool:
            fits = all(model[key] == value for key, value in exact.items())
            return fits and (not dataset or any(entry.get("id") == dataset for entry in model["datasets"]))

        found = query.select(self._store, "ml_models", workspace.key, request, keep)
        if wanted.get("latestVersionOnly", "").lower() == "true":
            newest = self._store.all(
                "SELECT name, MAX(version) AS version FROM ml_models WHERE workspace = ? GROUP BY name", workspace.key
            )
            latest = {(row["name"], row["version"]) for row in newest}
            found = [model for model in found if (model["name"], model["version"]) in latest]
        return query.page(request, found, self._url, lambda model: model)

    async def _get(self, request: Request, workspace: Workspace) -> Response:
        return JSONResponse(self.find(workspace.key, request.path_params["id"]))

    async def _patch(self, request: Request, workspace: Workspace) -> Response:
        operations = await query.read_patch(request, _PATCHABLE)
        model = query.apply_patch(self.find(workspace.key, request.path_params["id"]), operations)
        model["modifiedTime"] = timestamp()
        self._store.execute(
            "UPDATE ml_models SET body = ?, modified = ? WHERE workspace = ? AND name = ? AND version = ?",
            dump(model), time.time(), workspace.key, model["name"], model["version"],
        )  # fmt: skip
        return JSONResponse(model)

    async def _delete(self, request: Request, workspace: Workspace) -> Response:
        identity = request.path_params["id"]
        model = self.find(workspace.key, identity)
        users = self._store.all(
            "SELECT name, version FROM ml_images, json_each(json_extract(body, '$.modelIds')) AS used "
            "WHERE workspace = ? AND used.value = ?",
            workspace.key, identity,
        )  # fmt: skip
        if users:
            images = ", ".join(f"{row['name']}:{row['version']}" for row in users)
            raise ServiceError(
                412, "DeletionRequired", f"DeletionRequired: the model {identity} is used by images: {images}."
            )
        self._store.execute(
            "DELETE FROM ml_models WHERE workspace = ? AND name = ? AND version = ?",
            workspace.key, model["name"], model["version"],
        )  # fmt: skip
        return Response(status_code=200)
