"""Packages: what `Model.package` makes. An operation, and at its end an image; no record of the service's own stays.

Request: azureml-core's `InferenceConfig._build_environment_image_request` and `Environment._serialize_to_dict`.
"""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localazure.instance import Instance
from localazure.ml.build.queue import BuildQueue, log_name
from localazure.ml.errors import ServiceError
from localazure.ml.gate import Gate, Workspace, read_model
from localazure.ml.images import Asset
from localazure.ml.models import ROOT, Models
from localazure.ml.tables import timestamp
from localazure.storage.blobstore import BlobStore
from localazure.store import Store, dump

DOCKER_IMAGE = "PackageDockerImage"
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*\Z")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Python(_Wire):
    userManagedDependencies: bool = False  # noqa: N815 - the names of the wire
    condaDependencies: dict[str, Any] | None = None  # noqa: N815
    baseCondaEnvironment: str | None = None  # noqa: N815


class _Registry(_Wire):
    address: str | None = None
    username: str | None = None
    password: str | None = None
    registryIdentity: Any = None  # noqa: N815


class _Platform(_Wire):
    os: str = "Linux"
    architecture: str = "amd64"


class _Docker(_Wire):
    baseImage: str | None = None  # noqa: N815
    baseDockerfile: str | None = None  # noqa: N815
    buildContext: Any = None  # noqa: N815
    baseImageRegistry: _Registry | None = None  # noqa: N815
    platform: _Platform = Field(default_factory=_Platform)


class _Environment(_Wire):
    name: str | None = None
    environmentVariables: dict[str, str] | None = None  # noqa: N815
    python: _Python = Field(default_factory=_Python)
    docker: _Docker = Field(default_factory=_Docker)
    r: Any = None


class _ImageRequest(_Wire):
    driverProgram: str  # noqa: N815
    assets: list[Asset]
    modelIds: list[str] | None = None  # noqa: N815
    environment: _Environment | None = None


class _NewPackage(_Wire):
    imageRequest: _ImageRequest  # noqa: N815
    packageType: str  # noqa: N815
    imageName: str | None = None  # noqa: N815
    imageLabel: str | None = None  # noqa: N815


class Packages:
    def __init__(
        self, instance: Instance, store: Store, blobs: BlobStore, models: Models, queue: BuildQueue, gate: Gate
    ) -> None:
        self._url, self._store, self._blobs = instance.arm_url, store, blobs
        self._models, self._queue = models, queue
        self.routes = [Route(f"{ROOT}/packages", gate(self._create), methods=["POST"])]

    async def _create(self, request: Request, workspace: Workspace) -> Response:
        new = await read_model(request, _NewPackage)
        self._validate(new, workspace)
        operation, now = str(uuid.uuid4()), timestamp()
        log = self._blobs.draft(workspace.key)
        log.touch()
        # The defaults are those of Azure's documentation ("Package models"): package:20190822181338
        name = new.imageName or "package"
        label = new.imageLabel or datetime.datetime.now(datetime.UTC).strftime("%Y%m%d%H%M%S")
        body = {
            "id": operation,
            "operationType": DOCKER_IMAGE,
            "state": "NotStarted",
            "createdTime": now,
            "endTime": None,
        }
        with self._store.transaction():
            self._store.execute(
                "INSERT INTO ml_packages VALUES (?, ?, ?)",
                operation, workspace.key, new.imageRequest.model_dump_json(),
            )  # fmt: skip
            self._store.execute(
                "INSERT INTO ml_operations VALUES (?, ?, ?, 'NotStarted', 0, ?, ?)",
                operation, workspace.key, workspace.arm_id, f"{name}:{label}", dump(body),
            )  # fmt: skip
            self._blobs.commit(workspace.key, log_name(operation), log, content_type="text/plain", growing=True)
        self._queue.submit(operation)
        root = f"{self._url}/modelmanagement/v1.0{workspace.arm_id}"
        return Response(status_code=202, headers={"Operation-Location": f"{root}/operations/{operation}"})

    def _validate(self, new: _NewPackage, workspace: Workspace) -> None:
        """Raises ServiceError: 400 for what the service refuses, 404 for a missing model, 501 for what is not doubled."""
        if new.packageType not in ("DockerImage", "DockerBuildContext"):
            raise ServiceError(400, "BadArgument", f"The package type {new.packageType!r} is not known.")
        if new.packageType != "DockerImage":
            raise _not_implemented("packages of type DockerBuildContext (generate_dockerfile=True)")
        if new.imageName is not None and not _NAME.match(new.imageName):
            raise ServiceError(400, "BadArgument", f"The image name {new.imageName!r} is not a name of a repository.")
        if new.imageLabel is not None and not _LABEL.match(new.imageLabel):
            raise ServiceError(400, "BadArgument", f"The image label {new.imageLabel!r} is not a tag.")
        image = new.imageRequest
        if image.driverProgram not in [asset.id for asset in image.assets]:
            raise ServiceError(
                400, "BadArgument", f"The driver program {image.driverProgram!r} is not among the assets."
            )
        _check(image.environment)
        for identity in image.modelIds or []:
            self._models.find(workspace.key, identity)


def _check(environment: _Environment | None) -> None:
    if environment is None:
        raise _not_implemented("packages without an environment (no-code deployment)")
    docker, python = environment.docker, environment.python
    missing = {
        "an environment's base Dockerfile": docker.baseDockerfile,
        "an environment's build context": docker.buildContext,
        "a registry identity for the base image": docker.baseImageRegistry
        and docker.baseImageRegistry.registryIdentity,
        "a base conda environment": python.baseCondaEnvironment,
        "R": environment.r,
        f"{docker.platform.os} on {docker.platform.architecture}": (docker.platform.os, docker.platform.architecture)
        != ("Linux", "amd64"),
    }
    for what, asked in missing.items():
        if asked:
            raise _not_implemented(f"packages with {what}")
    if not python.userManagedDependencies and python.condaDependencies is None:
        raise ServiceError(400, "BadArgument", "The environment has no conda dependencies and does not manage its own.")


def _not_implemented(what: str) -> ServiceError:
    return ServiceError(501, "NotImplemented", f"The local Azure does not implement {what}.")
