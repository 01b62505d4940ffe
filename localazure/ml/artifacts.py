"""The artifact service: names blobs of the workspace (origin/container/path) and hands out signed addresses for them."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.ml.errors import ServiceError
from localazure.ml.gate import WORKSPACE_PATH, Gate, Workspace, read_model
from localazure.ml.tables import timestamp
from localazure.storage import BlobService
from localazure.storage.service import AZUREML
from localazure.store import Store

_ROOT = f"/artifact/v2.0{WORKSPACE_PATH}/artifacts"
_UPLOAD_LIFETIME = datetime.timedelta(hours=12)
_READ_LIFETIME = datetime.timedelta(hours=1)


class _Path(BaseModel):
    path: str = Field(min_length=1, max_length=1000)


class _Batch(BaseModel):
    paths: list[_Path] = Field(max_length=1000)


class Artifacts:
    def __init__(self, store: Store, blobs: BlobService, gate: Gate) -> None:
        self._store, self._blobs = store, blobs
        self.routes = [
            Route(f"{_ROOT}/batch/metadata/{{origin}}/{{container}}", gate(self._create), methods=["POST"]),
            Route(f"{_ROOT}/contentinfo/{{origin}}/{{container}}/{{path:path}}", gate(self._one), methods=["GET"]),
            Route(
                f"{_ROOT}/prefix/contentinfo/{{origin}}/{{container}}/{{path:path}}",
                gate(self._below),
                methods=["GET"],
            ),
        ]

    def list(self, workspace: str, prefix: str) -> list[str]:
        """Ids of the artifact of that name and of all below it."""
        prefix = prefix.rstrip("/")
        rows = self._store.all(
            "SELECT id FROM ml_artifacts WHERE workspace = ? AND (id = ? OR substr(id, 1, ?) = ?) ORDER BY id",
            workspace, prefix, len(prefix) + 1, prefix + "/",
        )  # fmt: skip
        return [row["id"] for row in rows]

    def read_uri(self, workspace: Workspace, blob: str) -> str:
        """A plain address to read a blob from (build logs, Dockerfiles)."""
        return self._blobs.url(AZUREML, workspace.key, blob, "r", _READ_LIFETIME)

    async def _create(self, request: Request, workspace: Workspace) -> Response:
        """Upload tickets: the blobs do not exist yet."""
        body = await read_model(request, _Batch)
        origin, container = request.path_params["origin"], request.path_params["container"]
        artifacts, contents = {}, {}
        with self._store.transaction():
            for entry in body.paths:
                identity = _identity(origin, container, entry.path)
                created = timestamp()
                self._store.execute(
                    "INSERT OR IGNORE INTO ml_artifacts VALUES (?, ?, ?)", workspace.key, identity, created
                )
                artifacts[entry.path] = {
                    "artifactId": identity,
                    "origin": origin,
                    "container": container,
                    "path": entry.path,
                    "etag": None,
                    "createdTime": created,
                    "dataPath": {"dataStoreName": "workspaceartifactstore", "relativePath": identity},
                }
                # The upload ends with Get Blob Properties by the same signature, hence "r".
                contents[entry.path] = self._content(workspace, identity, "rcw", _UPLOAD_LIFETIME)
        return JSONResponse({"artifacts": artifacts, "artifactContentInformation": contents, "errors": {}})

    async def _one(self, request: Request, workspace: Workspace) -> Response:
        path = request.path_params
        identity = _identity(path["origin"], path["container"], path["path"])
        if not self._store.one("SELECT 1 FROM ml_artifacts WHERE workspace = ? AND id = ?", workspace.key, identity):
            raise ServiceError(404, "UserError", f"Resource Not Found: the artifact {identity} does not exist.")
        return JSONResponse(self._content(workspace, identity, "r", _READ_LIFETIME))

    async def _below(self, request: Request, workspace: Workspace) -> Response:
        path = request.path_params
        prefix = _identity(path["origin"], path["container"], path["path"].rstrip("/"))
        found = self.list(workspace.key, prefix)
        return JSONResponse({"value": [self._content(workspace, identity, "r", _READ_LIFETIME) for identity in found]})

    def _content(
        self, workspace: Workspace, identity: str, permissions: str, lifetime: datetime.timedelta
    ) -> dict[str, str]:
        origin, container, path = identity.split("/", 2)
        plain = self._blobs.url(AZUREML, workspace.key, identity, permissions, lifetime)
        # azureml-core takes the host apart at its first two points and puts `account.blob.rest` together again
        # (_file_utils/upload.py), which no address of ours would survive. A user name in front of the host does.
        uri = plain.replace("https://", f"https://{workspace.account}.blob.x@", 1)
        return {"contentUri": uri, "origin": origin, "container": container, "path": path}


def _identity(origin: str, container: str, path: str) -> str:
    """`origin/container/path`. Raises ServiceError 400 for a path that would lead elsewhere once it is a file again."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in [origin, container, *parts]) or any(c in path for c in "\\\0"):
        raise ServiceError(400, "UserError", f"The artifact path {path!r} is not a relative path below its container.")
    return f"{origin}/{container}/{path}"
