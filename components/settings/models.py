"""The settings of a stack as frozen models. Keys in a stack file are camelCase; everything but `model.path` has a default.

Paths are kept as the user wrote them (relative to the project's folder), so that they are the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from components.edge.fingerprint import hash_named
from components.edge.names import (
    IMAGE_BY_DIGEST_RULE,
    is_image_by_digest,
    is_image_reference,
)
from components.settings import files
from components.settings.base import SettingsModel, Tags, Whole
from components.settings.deployment import DeploymentSettings
from components.settings.devices import Devices
from components.settings.logins import RegistryLogins
from components.settings.problems import Finding, did_you_mean, refuse, refuse_all
from components.settings.tags import AzureTags

MODES = ("containerImage", "package")
BUILDERS = ("azureml", "acr", "docker", "none")
"""`none` refuses to build: `image.ref` says what runs.

A mode is a choice of `azureml` only; it means nothing to the others, so that `image.builder` alone switches a stack."""

_HUB_UNITS = {"F1": 1, "S1": 200, "S2": 200, "S3": 10}  # "IoT Hub quotas and throttling"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")  # azureml-core, model_name_validation
_EXISTING_MODEL = re.compile(_MODEL_NAME.pattern + r"(:[1-9]\d*)?")
_IMAGE_NAME = re.compile(r"(?=.{3,32}$)[a-z0-9]([-.a-z0-9]*[a-z0-9])?")  # azureml-core, image_name_validation

# What the builders put into the application root themselves.
_TAKEN_NAMES = {
    "edge_runtime": "the edge module runtime's",
    "main.py": "the name of Azure ML's driver",
    "azureml-models": "the folder of the models",
}


def _file(check: Callable[[Path], Iterator[Finding]]) -> AfterValidator:
    def validator(value: str, info: ValidationInfo) -> str:
        root: Path = (info.context or {}).get("root") or Path.cwd()
        if findings := list(check(root / value)):
            refuse_all(findings)
        return value

    return AfterValidator(validator)


class WorkspaceSettings(SettingsModel):
    existing: str | None = None
    """A workspace that somebody else made: its name, its ARM id, or the path of its config.json. Never changed, never deleted."""
    friendly_name: str = ""
    description: str = ""


class RegistrySettings(SettingsModel):
    existing: str | None = None
    """Name or ARM id of a registry that somebody else made. Never deleted, and changed only by `enableAdminUser`."""
    enable_admin_user: bool = False
    """Turn the admin user of an existing registry on; Azure ML pushes with it and devices pull with it."""
    sku: Literal["Basic", "Standard", "Premium"] = "Basic"


class HubSettings(SettingsModel):
    existing: str | None = None
    """Name or ARM id of a hub that somebody else made. Never changed, never deleted; its devices may be ours."""
    sku: Literal["F1", "S1", "S2", "S3"] = "S1"
    units: Whole = Field(default=1, ge=1)

    @field_validator("sku", mode="before")
    @classmethod
    def _sku(cls, sku: Any) -> Any:
        if sku in ("B1", "B2", "B3"):
            refuse(
                "IoT Edge deployments need a hub of the Standard or Free tier",
                "pulumi config set --path aml-edge:hub.sku S1",
            )
        return sku

    @field_validator("units")
    @classmethod
    def _units(cls, units: int, info: ValidationInfo) -> int:
        most = _HUB_UNITS.get(info.data.get("sku", ""), max(_HUB_UNITS.values()))
        if units > most:
            refuse(
                f"a hub of {info.data.get('sku', 'any size')} has at most {most} units",
                "lower the units or choose a larger sku",
            )
        return units


class ModelSettings(SettingsModel):
    existing: str | None = None
    """`name` or `name:version` of a model that is registered already; the newest version when none is named."""
    path: Annotated[str, _file(files.check_model)] | None = None
    """File or folder; may be left out only for an existing model that the builder `azureml` takes from the workspace."""
    name: str = ""
    """The name in Azure ML; the file's name without its ending when left out."""
    content_hash: str | None = None
    """SHA-256 of the model in a promoted image; `make promote` writes it. The file may hold a newer one as long as the workspace has
    registered this one: main goes on while prod stays. A stack that builds refuses a file that holds another."""
    promoted_from: str = ""
    """`dev best_model:3`: where a promoted model came from; becomes a tag of the registered model."""
    description: str = ""
    tags: Tags = Field(default_factory=dict)

    @field_validator("existing")
    @classmethod
    def _existing(cls, existing: str | None) -> str | None:
        if existing is not None and not _EXISTING_MODEL.fullmatch(existing):
            refuse("is neither the name of a registered model nor name:version", "write best_model or best_model:3")
        return existing

    @field_validator("path")
    @classmethod
    def _path(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None and info.data.get("existing", "refused by itself") is None:
            refuse("must be set", "pulumi config set --path aml-edge:model.path scoring/model.pkl")
        return path

    @field_validator("name")
    @classmethod
    def _name(cls, name: str, info: ValidationInfo) -> str:
        if info.data.get("existing"):
            return str(info.data["existing"]).partition(":")[0]
        name = name or Path(str(info.data.get("path") or "model")).stem
        if not _MODEL_NAME.fullmatch(name):
            refuse(
                f"{name!r} is no name of an Azure ML model: 1 to 255 letters, digits, . _ -, the first a letter or digit",
                "pulumi config set --path aml-edge:model.name best_model",
            )
        return name


class ImageSettings(SettingsModel):
    name: str = "scoring"
    builder: str = "azureml"
    mode: str = "containerImage"
    script: Annotated[str, _file(files.check_script)] = "scoring/score.py"
    conda_file: Annotated[str, _file(files.check_conda)] = "scoring/myenv.yml"
    dependencies: list[Annotated[str, _file(files.check_dependency)]] = Field(default_factory=list)
    """Files and folders that lie beside the script in the image; a folder's .amlignore says what of it does not."""
    base_image: str = "python:3.11-slim"
    """Of the builders docker and acr; by digest, since a tag may move without the fingerprint seeing it."""
    dockerfile: Annotated[str, _file(files.check_template)] | None = None
    """Template of the builders docker and acr; the project's own scoring/Dockerfile.j2 when left out."""
    keep_images: Whole = 3
    """How many of this stack's images stay in the registry; older ones are deleted after an update unless a device has them."""
    retain: bool = False
    """Whether `destroy` leaves the images in the registry."""
    ref: str | None = None
    """`server/name@sha256:...` of an image that another stack has verified. Then this stack builds nothing; `make promote` writes it."""
    fingerprint: str = ""
    """Of the promoted image, for its tag."""
    description: str = ""
    tags: Tags = Field(default_factory=dict)

    @field_validator("dependencies")
    @classmethod
    def _dependencies(cls, dependencies: list[str], info: ValidationInfo) -> list[str]:
        taken = {Path(str(info.data.get("script", ""))).name: "the script", **_TAKEN_NAMES}
        findings = []
        for index, dependency in enumerate(dependencies):
            name = Path(dependency).name
            if name in taken:
                rule = f"lies beside the script in the image as {name!r}, which is {taken[name]}"
                findings.append(Finding(rule, "rename it", (index,)))
            taken[name] = f"the name of {dependency} already"
        if findings:
            refuse_all(findings)
        return dependencies

    @field_validator("ref")
    @classmethod
    def _ref(cls, ref: str | None) -> str | None:
        if ref is not None and not is_image_by_digest(ref):
            refuse(IMAGE_BY_DIGEST_RULE, "let make promote FROM=dev TO=staging write it")
        return ref

    @field_validator("keep_images")
    @classmethod
    def _keep_images(cls, number: int) -> int:
        if number < 3:
            refuse(
                "must be 3 or more: a failed update goes back to the image before, which may have failed too",
                "pulumi config set --path aml-edge:image.keepImages 3",
            )
        return number

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _IMAGE_NAME.fullmatch(name):
            refuse(
                "an Azure ML image is named with 3 to 32 lower-case letters, digits, . and -, a letter or digit first and last",
                "pulumi config set --path aml-edge:image.name scoring",
            )
        return name

    @field_validator("base_image")
    @classmethod
    def _base_image(cls, image: str) -> str:
        if not is_image_reference(image):
            refuse("is not an image reference", "write [host[:port]/]name[:tag][@sha256:digest], in lower case")
        return image

    @field_validator("builder")
    @classmethod
    def _builder(cls, builder: str) -> str:
        if builder not in BUILDERS:
            refuse(
                f"must be one of {', '.join(BUILDERS)}{did_you_mean(builder, BUILDERS)}",
                f"pulumi config set --path aml-edge:image.builder {BUILDERS[0]}",
            )
        return builder

    @field_validator("mode")
    @classmethod
    def _mode(cls, mode: str) -> str:
        if mode not in MODES:
            refuse(
                f"must be one of {', '.join(MODES)}{did_you_mean(mode, MODES)}",
                f"pulumi config set --path aml-edge:image.mode {MODES[0]}",
            )
        return mode


class Settings(SettingsModel):
    """All settings of a stack."""

    workspace: WorkspaceSettings
    registry: RegistrySettings
    hub: HubSettings
    model: ModelSettings
    image: ImageSettings
    registry_logins: RegistryLogins
    devices: Devices
    deployment: DeploymentSettings
    tags: AzureTags = Field(default_factory=dict)
    """Of every Azure resource that the stack makes; models, images and twins have tags of their own."""
    protect: bool = False
    """Whether Pulumi refuses to delete or replace what cannot be made again: the resource group, the registry, the workspace with what
    it is attached to, the hub, the identities of devices."""
    role_assignments: bool = False
    """Whether the workspace's identity gets its roles here; needs Owner, which most do not have."""

    @model_validator(mode="after")
    def _what_exists_hangs_together(self, info: ValidationInfo) -> Settings:
        findings = [
            Finding(
                "a device can exist only in a hub that exists",
                "set aml-edge:hub.existing",
                ("devices", index, "existing"),
            )
            for index, device in enumerate(self.devices)
            if device.existing and not self.hub.existing
        ]
        if self.model.existing and not self.workspace.existing:
            fix = "set aml-edge:workspace.existing"
            findings.append(Finding("a model can exist only in a workspace that exists", fix, ("model", "existing")))
        if self.model.content_hash and self.model.path and not self.image.ref:
            root = (info.context or {}).get("root") or Path.cwd()
            if (found := hash_named(root / self.model.path)) != self.model.content_hash:
                rule = f"{self.model.path} holds another model ({found})"
                findings.append(
                    Finding(rule, "take contentHash out, or bring that model back", ("model", "contentHash"))
                )
        if self.image.builder == "none" and not self.image.ref:
            fix = (
                "promote the image that another stack has verified: make promote FROM=... TO=... (it writes image.ref)"
            )
            findings.append(
                Finding("must be set: this stack builds nothing (image.builder: none)", fix, ("image", "ref"))
            )
        if self.model.path is None and self.image.builder not in ("azureml", "none"):
            fix = "name the model's file, or use image.builder azureml, which takes it from the workspace"
            findings.append(Finding(f"the builder {self.image.builder} needs the model's file", fix, ("model", "path")))
        if self.registry.enable_admin_user and not (self.registry.existing or self.workspace.existing):
            fix = "leave it out: a registry made here has its admin user"
            findings.append(Finding("is for a registry that exists", fix, ("registry", "enableAdminUser")))
        if findings:
            refuse_all(findings)
        return self
