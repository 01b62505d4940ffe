"""Finds the files behind an image: which blob each asset, each model and each setting of the request points at."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

from localazure.builds.log import BuildError
from localazure.ml.artifacts import Artifacts
from localazure.ml.build import conda
from localazure.ml.build.request import BaseImage, BuildRequest, ModelFiles
from localazure.ml.errors import ServiceError
from localazure.ml.models import Models
from localazure.storage.blobstore import BlobStore
from localazure.store import Store

_ARTIFACT = "aml://artifact/"
_MICROSOFT = "mcr.microsoft.com/azureml/"
"""The SDK puts one of these into every environment, asked or not. The configured base image takes its place."""


class Uploads:
    def __init__(self, store: Store, blobs: BlobStore, artifacts: Artifacts, models: Models) -> None:
        self._store, self._blobs, self._artifacts, self._models = store, blobs, artifacts, models

    def request(self, workspace: str, name: str, version: int, operation: str, location: str) -> BuildRequest:
        """Everything a build needs. Raises BuildError for what was never uploaded."""
        row = self._store.one(
            "SELECT body FROM ml_images WHERE workspace = ? AND name = ? AND version = ?", workspace, name, version
        )
        if not row:
            raise BuildError("the image was deleted")
        image = json.loads(row["body"])
        settings = image["targetRuntime"]["properties"]
        driver, archives, files = self._assets(workspace, image)
        return BuildRequest(
            operation=operation,
            location=location,
            driver=driver,
            archives=archives,
            files=files,
            # properties.pipRequirements is always azureml-model-management-sdk, which the serving stack replaced.
            environment=conda.parse(self._file(workspace, settings["condaEnvFile"]).read_bytes())
            if settings.get("condaEnvFile")
            else conda.Environment(),
            docker_steps=self._file(workspace, image["dockerFileUri"]) if image.get("dockerFileUri") else None,
            models=tuple(self._model(workspace, identity) for identity in image["modelIds"]),
        )

    def package(self, workspace: str, operation: str, location: str) -> BuildRequest:
        """The same for `Model.package`."""
        row = self._store.one(
            "SELECT request FROM ml_packages WHERE workspace = ? AND operation = ?", workspace, operation
        )
        if not row:
            raise BuildError("the workspace was deleted")
        image = json.loads(row["request"])
        environment = image["environment"]
        python = environment["python"]
        driver, archives, files = self._assets(workspace, image)
        return BuildRequest(
            operation=operation,
            location=location,
            driver=driver,
            archives=archives,
            files=files,
            environment=None if python["userManagedDependencies"] else conda.read(python["condaDependencies"]),
            docker_steps=None,
            models=tuple(self._model(workspace, identity) for identity in image["modelIds"] or []),
            base=_base(environment["docker"]),
            variables=environment["environmentVariables"] or {},
        )

    def _assets(self, workspace: str, image: dict[str, Any]) -> tuple[Path, dict[str, Path], dict[str, Path]]:
        driver: Path | None = None
        archives: dict[str, Path] = {}
        files: dict[str, Path] = {}
        for asset in image["assets"]:
            path = self._file(workspace, asset["url"])
            if asset["id"] == image["driverProgram"]:
                driver = path
            elif asset["unpack"]:
                archives[asset["id"]] = path
            else:
                files[posixpath.basename(asset["url"])] = path
        if not driver:
            raise BuildError(f"no asset is the driver program {image['driverProgram']!r}")
        return driver, archives, files

    def _file(self, workspace: str, url: str) -> Path:
        blob = self._blobs.find(workspace, url.removeprefix(_ARTIFACT)) if url.startswith(_ARTIFACT) else None
        if not blob:
            raise BuildError(f"{url} is not an artifact that was uploaded to this workspace")
        return blob.path

    def _model(self, workspace: str, identity: str) -> ModelFiles:
        try:
            model = self._models.find(workspace, identity)
        except ServiceError as error:
            raise BuildError(error.message) from error
        asset = self._models.asset(workspace, model["url"]) or {"artifacts": []}
        files: dict[str, Path] = {}
        for artifact in asset["artifacts"]:
            prefix = artifact["prefix"] or artifact["id"]
            # As Model.download strips it: the folder that holds the model's file or folder (Model._get_strip_prefix).
            parent = posixpath.dirname(prefix)
            found = self._artifacts.list(workspace, prefix) if artifact["prefix"] else [prefix]
            for name in found:
                files[posixpath.relpath(name, parent)] = self._file(workspace, _ARTIFACT + name)
        if not files:
            raise BuildError(f"the model {identity} has no files")
        return ModelFiles(model["name"], model["version"], model["unpack"], files)


def _base(docker: dict[str, Any]) -> BaseImage:
    """An environment's base image, its registry's address in front (azureml-core: `DockerSection`)."""
    name, registry = docker["baseImage"], docker.get("baseImageRegistry") or {}
    address = registry.get("address")
    if name is None or (not address and name.startswith(_MICROSOFT)):
        return BaseImage()
    login = (
        (registry["username"], registry["password"]) if registry.get("username") and registry.get("password") else None
    )
    return BaseImage(f"{address}/{name}" if address and not name.startswith(f"{address}/") else name, login)
