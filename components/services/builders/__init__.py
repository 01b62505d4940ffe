"""The image builders behind one small interface: `build` makes or finds the image of a fingerprint, `discard` forgets it.

A builder is a module with these two functions; its key is what the stack file calls it: `builder` and `mode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelFile:
    """A registered model and where its file or folder is on this machine."""

    id: str
    """`name:version` in the workspace."""
    path: Path

    @property
    def name(self) -> str:
        return self.id.rpartition(":")[0]

    @property
    def version(self) -> str:
        return self.id.rpartition(":")[2]


@dataclass(frozen=True)
class BuildRequest:
    """Everything that makes the image, and where to say how it goes."""

    workspace_id: str
    registry_id: str
    name: str
    fingerprint: str
    models: list[ModelFile]
    script: Path
    conda_file: Path
    runtime: Path
    """The folder scoring/edge_runtime."""
    dependencies: list[Path]
    """Files and folders that lie beside the script in the image."""
    base_image: str
    dockerfile: Path
    """Template and base image of the builders without an environment service of their own: docker, acr."""
    platform: str
    """`linux/amd64` or `linux/arm64`: of the image, whatever machine builds it. Azure ML knows the former only."""
    tags: Mapping[str, str]
    description: str
    progress: Callable[[str], None] = field(repr=False)
    distrust: str = ""
    """The ref that somebody else put under our tag: finding it is not finding the image."""

    @property
    def architecture(self) -> str:
        return self.platform.partition("/")[2]

    @property
    def beside(self) -> list[Path]:
        """What lies in the application root besides the models: script, runtime, dependencies."""
        return [self.script, self.runtime, *self.dependencies]


@dataclass(frozen=True)
class BuiltImage:
    """`image_id` is the builder's own name for it, with the tag behind its last colon; `ref` is `loginServer/name@sha256:...`."""

    image_id: str
    ref: str
    made: bool = True
    """False if it was found: then somebody else pushed it and we do not delete it."""
    stages: tuple[str, ...] = ()
    """`repository:tag` of what the registry keeps beside it, so that the next build begins there."""


def of(builder: str, mode: str) -> Any:
    """The module that builds for `builder` and `mode` (which only `azureml` has several of)."""
    from components.services.builders import acr, azureml_container_image, azureml_package, docker_engine

    if builder == "azureml":
        return {"containerImage": azureml_container_image, "package": azureml_package}[mode]
    return {"acr": acr, "docker": docker_engine}[builder]
