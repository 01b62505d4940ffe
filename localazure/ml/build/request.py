"""One image to build: plain data, made on the event loop, used in the build's thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localazure.ml.build.conda import Environment

APP_ROOT = "/var/azureml-app"


@dataclass(frozen=True)
class ModelFiles:
    """`files` maps the path below `azureml-models/<name>/<version>/` to the blob; `unpack`: the one file is a tarball."""

    name: str
    version: int
    unpack: bool
    files: dict[str, Path]

    @property
    def folder(self) -> str:
        """Below the application root."""
        return f"azureml-models/{self.name}/{self.version}"


@dataclass(frozen=True)
class BaseImage:
    """`name` None is the configured one; `login` (user, password) opens its registry."""

    name: str | None = None
    login: tuple[str, str] | None = None


@dataclass(frozen=True)
class BuildRequest:
    operation: str
    """Id of the operation: names the working folder."""
    location: str
    """`loginServer/name:version`."""
    driver: Path
    archives: dict[str, Path]
    """Asset id -> tarball that is unpacked into the application root."""
    files: dict[str, Path]
    """Name in the application root -> file that is put there as it is."""
    environment: Environment | None
    """What is installed on the base image; None: the base image has it all."""
    docker_steps: Path | None
    models: tuple[ModelFiles, ...]
    base: BaseImage = BaseImage()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that the user gives the image."""

    @property
    def model_dir(self) -> str:
        """AZUREML_MODEL_DIR: the model's folder; with several models the folder above them ("Deploy multiple models", Azure ML)."""
        if len(self.models) == 1:
            return f"{APP_ROOT}/{self.models[0].folder}"
        return f"{APP_ROOT}/azureml-models"
