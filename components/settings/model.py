"""The settings of a trained model: where it is, what it is called, how it is registered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from components.settings import files
from components.settings.base import SettingsModel, Tags, Whole, file_setting
from components.settings.problems import refuse

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")  # azureml-core, model_name_validation
_EXISTING = re.compile(_NAME.pattern + r"(:[1-9]\d*)?")


class ModelSettings(SettingsModel):
    existing: str | None = None
    """`name` or `name:version` of a model that is registered already; the newest version when none is named."""
    path: Annotated[str, file_setting(files.check_model)] | None = None
    """File or folder; may be left out only for an existing model that the builder `azureml` takes from the workspace."""
    name: str = ""
    """The name in Azure ML; the file's name without its ending when left out."""
    framework: str = ""
    """What made the model, in Azure ML's words: ScikitLearn, TensorFlow, PyTorch, Onnx, Custom, ..."""
    framework_version: str = ""
    content_hash: str | None = None
    """SHA-256 of the model in a promoted image; `make promote` writes it. The file may hold a newer one as long as the workspace has
    registered this one: main goes on while prod stays. A stack that builds refuses a file that holds another."""
    promoted_from: str = ""
    """`dev best_model:3`: where a promoted model came from; becomes a tag of the registered model."""
    description: str = ""
    tags: Tags = Field(default_factory=dict)
    keep_versions: Whole = Field(default=3, ge=1)
    """How many of the versions that this stack registered stay; older ones go after an update, but for those an image uses."""
    retain: bool = False
    """Whether `destroy` leaves the versions in the workspace."""

    @field_validator("existing")
    @classmethod
    def _existing(cls, existing: str | None) -> str | None:
        if existing is not None and not _EXISTING.fullmatch(existing):
            refuse("is neither the name of a registered model nor name:version", "write best_model or best_model:3")
        return existing

    @field_validator("path")
    @classmethod
    def _path(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None and info.data.get("existing", "refused by itself") is None:
            refuse("must be set", "pulumi config set --path {key} scoring/model.pkl")
        return path

    @field_validator("framework_version")
    @classmethod
    def _framework_version(cls, version: str, info: ValidationInfo) -> str:
        if version and not info.data.get("framework"):
            refuse("Azure ML takes a framework's version only with the framework", "set framework, too: ScikitLearn")
        return version

    @field_validator("name")
    @classmethod
    def _name(cls, name: str, info: ValidationInfo) -> str:
        if info.data.get("existing"):
            return str(info.data["existing"]).partition(":")[0]
        name = name or Path(str(info.data.get("path") or "model")).stem
        if not _NAME.fullmatch(name):
            refuse(
                f"{name!r} is no name of an Azure ML model: 1 to 255 letters, digits, . _ -, the first a letter or digit",
                "pulumi config set --path {key} best_model",
            )
        return name
