"""The settings of a stack as frozen models. Keys in a stack file are camelCase; everything but `model.path` has a default.

Paths are kept as the user wrote them (relative to the project's folder), so that they are the same on every machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from components.edge import conda
from components.edge.fingerprint import hash_named
from components.edge.names import (
    IMAGE_BY_DIGEST_RULE,
    is_image_by_digest,
    is_image_reference,
)
from components.settings import files
from components.settings.base import Named, SettingsModel, Tags, Whole, file_setting
from components.settings.deployment import DeploymentSettings
from components.settings.devices import DEPLOYMENTS_MAX, Devices, DeviceSettings
from components.settings.fleet import FleetSettings, conflicts, fleet_device_findings
from components.settings.logins import RegistryLogins
from components.settings.model import ModelSettings
from components.settings.problems import Finding, did_you_mean, refuse, refuse_all
from components.settings.tags import AzureTags

AMD64: Final = "linux/amd64"
"""The platform of images where a stack names none; the only one of Azure ML's own builds."""
MODES = ("containerImage", "package")
BUILDERS = ("azureml", "acr", "docker", "none")
"""`none` refuses to build: `image.ref` says what runs.

A mode is a choice of `azureml` only; it means nothing to the others, so that `image.builder` alone switches a stack."""

_HUB_UNITS = {"F1": 1, "S1": 200, "S2": 200, "S3": 10}  # "IoT Hub quotas and throttling"
_IMAGE_NAME = re.compile(r"(?=.{3,32}$)[a-z0-9]([-.a-z0-9]*[a-z0-9])?")  # azureml-core, image_name_validation

# What the builders put into the application root themselves.
_TAKEN_NAMES = {
    "edge_runtime": "the edge module runtime's",
    "main.py": "the name of Azure ML's driver",
    "azureml-models": "the folder of the models",
}
_EMPTY_DEPENDENCY = Finding("must not be empty", "name a file or folder, or take it out of image.dependencies")


class WorkspaceSettings(SettingsModel):
    existing: Named | None = None
    """A workspace that somebody else made: its name, its ARM id, or the path of its config.json. Never changed, never deleted."""
    friendly_name: str = ""
    description: str = ""


class RegistrySettings(SettingsModel):
    existing: Named | None = None
    """Name or ARM id of a registry that somebody else made. Never deleted, and changed only by `enableAdminUser`."""
    enable_admin_user: bool = False
    """Turn the admin user of an existing registry on; Azure ML pushes with it and devices pull with it."""
    sku: Literal["Basic", "Standard", "Premium"] = "Basic"


class HubSettings(SettingsModel):
    existing: Named | None = None
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


class ImageSettings(SettingsModel):
    name: str = "scoring"
    builder: str = "azureml"
    mode: str = "containerImage"
    script: Annotated[str, file_setting(files.check_script)] = "scoring/score.py"
    conda_file: Annotated[str, file_setting(files.check_conda)] = "scoring/myenv.yml"
    dependencies: list[str] = Field(default_factory=list)
    """Files and folders that lie beside the script in the image; a folder's .amlignore says what of it does not."""
    base_image: str = "python:3.11-slim"
    """Of the builders docker and acr; by digest, since a tag may move without the fingerprint seeing it."""
    platform: Literal["linux/amd64", "linux/arm64"] = AMD64
    """Of the devices, as Docker writes it. It is the image's wherever it is built, on a machine of another platform too."""
    dockerfile: Annotated[str, file_setting(files.check_template)] | None = None
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

    @field_validator("conda_file")
    @classmethod
    def _conda_file(cls, conda_file: str, info: ValidationInfo) -> str:
        """What the builders without conda cannot install, said with everything else."""
        if info.data.get("builder") in ("acr", "docker"):
            root: Path = (info.context or {}).get("root") or Path.cwd()
            try:
                conda.pip_requirements((root / conda_file).read_text(encoding="utf-8"))
            except conda.CondaError as error:
                rule, _, fix = str(error).partition("; ")
                refuse(rule, fix or "correct it, or use image.builder azureml, which builds with conda")
        return conda_file

    @field_validator("dependencies")
    @classmethod
    def _dependencies(cls, dependencies: list[str], info: ValidationInfo) -> list[str]:
        root: Path = (info.context or {}).get("root") or Path.cwd()
        taken = {Path(str(info.data.get("script", ""))).name: "the script", **_TAKEN_NAMES}
        findings: list[Finding] = []
        for index, dependency in enumerate(dependencies):
            wrong = files.check_dependency(root / dependency) if dependency.strip() else [_EMPTY_DEPENDENCY]
            findings += [replace(finding, inside=(index,)) for finding in wrong]
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

    @field_validator("platform")
    @classmethod
    def _platform(cls, platform: str, info: ValidationInfo) -> str:
        if platform != AMD64 and info.data.get("builder") == "azureml":
            refuse(
                f"the builder azureml makes images for {AMD64} only",
                "use image.builder acr or docker: pulumi config set --path aml-edge:image.builder acr",
            )
        return platform

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
    models: list[ModelSettings] = Field(default_factory=list)
    """Further models of the same image, each written as `model` is."""
    image: ImageSettings
    registry_logins: RegistryLogins
    devices: Devices
    deployment: DeploymentSettings
    fleet_devices: Devices
    """Registered as one resource; what they run says `fleet`."""
    fleet: list[FleetSettings]
    tags: AzureTags = Field(default_factory=dict)
    """Of every Azure resource that the stack makes; models, images and twins have tags of their own."""
    protect: bool = False
    """Whether Pulumi refuses to delete or replace what cannot be made again: the resource group, the registry, the workspace with what
    it is attached to, the hub, the identities of devices."""
    role_assignments: bool = False
    """Whether the workspace's identity gets its roles here; needs Owner, which most do not have."""

    @property
    def all_models(self) -> list[ModelSettings]:
        """The models of the image, `model` first."""
        return [self.model, *self.models]

    @property
    def placed_models(self) -> list[tuple[str, ModelSettings]]:
        """The same, each with its key: `model`, `models[0]`, ..."""
        return [("model", self.model), *((f"models[{index}]", model) for index, model in enumerate(self.models))]

    @field_validator("devices")
    @classmethod
    def _devices(cls, devices: list[DeviceSettings]) -> list[DeviceSettings]:
        if len(devices) > DEPLOYMENTS_MAX:
            refuse(
                f"{len(devices)} devices would each be deployed and verified one by one; the most is {DEPLOYMENTS_MAX}",
                "move them to aml-edge:fleetDevices and deploy to them by aml-edge:fleet (docs/fleet.md)",
            )
        return devices

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
        findings += self._models((info.context or {}).get("root") or Path.cwd())
        if self.image.builder == "none" and not self.image.ref:
            fix = (
                "promote the image that another stack has verified: make promote FROM=... TO=... (it writes image.ref)"
            )
            findings.append(
                Finding("must be set: this stack builds nothing (image.builder: none)", fix, ("image", "ref"))
            )
        if self.registry.enable_admin_user and not (self.registry.existing or self.workspace.existing):
            fix = "leave it out: a registry made here has its admin user"
            findings.append(Finding("is for a registry that exists", fix, ("registry", "enableAdminUser")))
        findings += conflicts(self.fleet, self.devices)
        findings += fleet_device_findings(self.fleet_devices, self.devices)
        if findings:
            refuse_all(findings)
        return self

    def _models(self, root: Path) -> Iterator[Finding]:
        places = [("model",), *(("models", index) for index in range(len(self.models)))]
        names = Counter(model.name for model in self.all_models)
        for place, model in zip(places, self.all_models, strict=True):
            if model.existing and not self.workspace.existing:
                fix = "set aml-edge:workspace.existing"
                yield Finding("a model can exist only in a workspace that exists", fix, (*place, "existing"))
            builds = model.path and model.content_hash and not self.image.ref
            if builds and (held := hash_named(root / str(model.path))) != model.content_hash:
                rule = f"{model.path} holds another model ({held})"
                yield Finding(rule, "take contentHash out, or bring that model back", (*place, "contentHash"))
            if model.path is None and self.image.builder not in ("azureml", "none"):
                fix = "name the model's file, or use image.builder azureml, which takes it from the workspace"
                yield Finding(f"the builder {self.image.builder} needs the model's file", fix, (*place, "path"))
            if names[model.name] > 1 and place != ("model",):
                fix = "give every model a name of its own"
                yield Finding(f"{names[model.name]} models have the name {model.name!r}", fix, (*place, "name"))
