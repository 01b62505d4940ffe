"""The image builders behind one small interface: `build` makes or finds the image of a fingerprint, `discard` forgets it.

A builder is a module with these two functions; its key is what the stack file calls it: `builder` and `mode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class BuildRequest:
    """Everything that makes the image, and where to say how it goes."""

    workspace_id: str
    registry_id: str
    name: str
    fingerprint: str
    model_ids: list[str]
    script: Path
    conda_file: Path
    runtime: Path
    """The folder scoring/edge_runtime."""
    tags: Mapping[str, str]
    description: str
    progress: Callable[[str], None] = field(repr=False)


@dataclass(frozen=True)
class BuiltImage:
    """`image_id` is the builder's own name for it; `ref` is `loginServer/name@sha256:...`."""

    image_id: str
    ref: str


def of(builder: str, mode: str) -> Any:
    """The module that builds for `builder` and `mode`; settings have refused what is not here."""
    from components.services.builders import azureml_container_image

    modules: dict[tuple[str, str], ModuleType] = {("azureml", "containerImage"): azureml_container_image}
    return modules[builder, mode]
