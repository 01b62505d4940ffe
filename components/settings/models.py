"""The settings of a stack as frozen models. Keys in a stack file are camelCase; everything but `model.path` has a default.

Paths are kept as the user wrote them (relative to the project's folder), so that they are the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from components.edge import limits, manifest, routes, validate
from components.edge.names import DEVICE_ID_RULE, MODULE_NAME_RULE, is_device_id, is_image_reference, is_module_name
from components.settings import files
from components.settings.problems import Finding, did_you_mean, refuse, refuse_all

MODES = ("containerImage", "package")
BUILT: Mapping[str, tuple[str, ...]] = {"azureml": ("containerImage",), "acr": (), "docker": ()}
"""Every builder there is to be, with the modes that work today. A mode is a choice of the `azureml` builder only; a builder for
which it means nothing lists them all, so that `image.builder` alone switches a stack."""

_HUB_UNITS = {"F1": 1, "S1": 200, "S2": 200, "S3": 10}  # "IoT Hub quotas and throttling"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")  # azureml-core, model_name_validation
_IMAGE_NAME = re.compile(r"(?=.{3,32}$)[a-z0-9]([-.a-z0-9]*[a-z0-9])?")  # azureml-core, image_name_validation
_ENV_NAME = re.compile(r"[^+#$.\s]+")
_RUNTIME_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        refuse("must be a whole number", "write it as digits, without quotes")
    if isinstance(value, str) and not re.fullmatch(r"-?\d+", value.strip()):
        refuse("must be a whole number", "write it as digits, without quotes")
    return value


def _env(env: dict[str, Any]) -> dict[str, Any]:
    findings = []
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            rule = "the name of a variable holds no + # $ . and no blanks: edgeAgent keeps it as a key of its twin"
            findings.append(Finding(rule, "rename it", (name,)))
        if not isinstance(value, bool | int | float | str):
            rule = "must be text, a number or true/false: a module's environment holds plain values"
            findings.append(Finding(rule, "write lists and objects as JSON text", (name,)))
    if findings:
        refuse_all(findings)
    return env


def _file(check: Callable[[Path], Iterator[Finding]]) -> AfterValidator:
    def validator(value: str, info: ValidationInfo) -> str:
        root: Path = (info.context or {}).get("root") or Path.cwd()
        if findings := list(check(root / value)):
            refuse_all(findings)
        return value

    return AfterValidator(validator)


Whole = Annotated[int, BeforeValidator(_whole)]
Tags = dict[str, str]
Env = Annotated[dict[str, Any], AfterValidator(_env)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_default=True)


class WorkspaceSettings(_Model):
    friendly_name: str = ""
    description: str = ""


class RegistrySettings(_Model):
    sku: Literal["Basic", "Standard", "Premium"] = "Basic"


class HubSettings(_Model):
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


class ModelSettings(_Model):
    path: Annotated[str, _file(files.check_model)]
    name: str = ""
    """The name in Azure ML; the file's name without its ending when left out."""
    description: str = ""
    tags: Tags = {}

    @field_validator("name")
    @classmethod
    def _name(cls, name: str, info: ValidationInfo) -> str:
        name = name or Path(str(info.data.get("path", "model"))).stem
        if not _MODEL_NAME.fullmatch(name):
            refuse(
                f"{name!r} is no name of an Azure ML model: 1 to 255 letters, digits, . _ -, the first a letter or digit",
                "pulumi config set --path aml-edge:model.name best_model",
            )
        return name


class ImageSettings(_Model):
    name: str = "scoring"
    builder: str = "azureml"
    mode: str = "containerImage"
    script: Annotated[str, _file(files.check_script)] = "scoring/score.py"
    conda_file: Annotated[str, _file(files.check_conda)] = "scoring/myenv.yml"
    description: str = ""
    tags: Tags = {}

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _IMAGE_NAME.fullmatch(name):
            refuse(
                "an Azure ML image is named with 3 to 32 lower-case letters, digits, . and -, a letter or digit first and last",
                "pulumi config set --path aml-edge:image.name scoring",
            )
        return name

    @field_validator("builder")
    @classmethod
    def _builder(cls, builder: str) -> str:
        working = [name for name, modes in BUILT.items() if modes]
        fix = f"pulumi config set --path aml-edge:image.builder {working[0]}"
        if builder not in BUILT:
            refuse(f"must be one of {', '.join(BUILT)}{did_you_mean(builder, BUILT)}", fix)
        if not BUILT[builder]:
            refuse(f"the builder {builder} is not built yet; {', '.join(working)} is", fix)
        return builder

    @field_validator("mode")
    @classmethod
    def _mode(cls, mode: str, info: ValidationInfo) -> str:
        fix = f"pulumi config set --path aml-edge:image.mode {MODES[0]}"
        if mode not in MODES:
            refuse(f"must be one of {', '.join(MODES)}{did_you_mean(mode, MODES)}", fix)
        builder = info.data.get("builder", "azureml")  # a bad builder is reported by itself
        if mode not in BUILT[builder]:
            refuse(f"the mode {mode} of the builder {builder} is not built yet; {', '.join(BUILT[builder])} is", fix)
        return mode


class DeviceSettings(_Model):
    id: str
    tags: Tags = {}
    """Tags of the device's twin."""

    @field_validator("id")
    @classmethod
    def _id(cls, device_id: str) -> str:
        if not is_device_id(device_id):
            refuse(DEVICE_ID_RULE, "choose another id, for example edge-1")
        return device_id

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: Tags) -> Tags:
        findings = [
            Finding(message, "shorten or rename it", path) for path, _, message in limits.excesses(tags) if path
        ]
        if (size := limits.twin_size(tags)) > limits.TAGS_SIZE_LIMIT:
            findings.append(
                Finding(f"are {size} bytes by the hub's count; it keeps {limits.TAGS_SIZE_LIMIT}", "shorten them")
            )
        if findings:
            refuse_all(findings)
        return tags


class VerifySettings(_Model):
    timeout_seconds: Whole = Field(default=300, ge=10, le=3600)
    """How long the device may take to report the deployment as running: pulling a large image over a slow line takes minutes."""


class RuntimeModuleSettings(_Model):
    image: str | None = None
    env: Env = {}
    create_options: dict[str, Any] | None = None

    @field_validator("image")
    @classmethod
    def _image(cls, image: str | None) -> str | None:
        if image is not None and not is_image_reference(image):
            refuse("is not an image reference", "write [host[:port]/]name[:tag][@sha256:digest], in lower case")
        return image


def _route(value: Any) -> Any:
    return {"route": value} if isinstance(value, str) else value


class RouteSettings(_Model):
    route: str
    priority: Whole | None = Field(default=None, ge=0, le=9)
    time_to_live_secs: Whole | None = Field(default=None, ge=0, le=limits.UINT32_MAX)

    @field_validator("route")
    @classmethod
    def _syntax(cls, route: str) -> str:
        try:
            routes.parse(route)
        except routes.RouteError as error:
            refuse(str(error), "write FROM <source> [WHERE <condition>] INTO <sink>")
        return route


class DeploymentSettings(_Model):
    module: str = "scorer"
    env: Env = {}
    create_options: dict[str, Any] = {}
    status: Literal["running", "stopped"] = "running"
    restart_policy: Literal["always", "on-failure", "on-unhealthy", "never"] = "always"
    startup_order: Whole | None = Field(default=None, ge=0, le=limits.UINT32_MAX)
    image_pull_policy: Literal["on-create", "never"] = "on-create"
    routes: dict[str, Annotated[RouteSettings, BeforeValidator(_route)]] | None = None
    """Left out: leaf devices' messages into `amlInput`, the module's answers to the cloud."""
    time_to_live_secs: Whole = Field(default=manifest.TIME_TO_LIVE_SECONDS, ge=0, le=2147483647)
    runtime_version: str = manifest.RUNTIME_VERSION
    edge_agent: RuntimeModuleSettings = RuntimeModuleSettings()
    edge_hub: RuntimeModuleSettings = RuntimeModuleSettings()
    verify: VerifySettings = VerifySettings()
    on_failure: Literal["rollback", "keep"] = "rollback"

    def for_manifest(self) -> dict[str, Any]:
        """What `components.edge.manifest.render` takes, without the image: plain values under their camelCase keys."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude={"verify", "on_failure"})

    @field_validator("module")
    @classmethod
    def _module(cls, module: str) -> str:
        if not is_module_name(module):
            refuse(MODULE_NAME_RULE, "pulumi config set --path aml-edge:deployment.module scorer")
        return module

    @field_validator("runtime_version")
    @classmethod
    def _version(cls, version: str) -> str:
        if not _RUNTIME_VERSION.fullmatch(version):
            refuse(
                "is not a version of the IoT Edge runtime",
                f'write it as text: runtimeVersion: "{manifest.RUNTIME_VERSION}"',
            )
        return version

    @model_validator(mode="after")
    def _valid_manifest(self) -> DeploymentSettings:
        """Whatever the manifest would break, with stand-ins for what is not known yet: the image and the registry's login."""
        deployment: Any = {**self.for_manifest(), "image": f"registry.invalid/image@sha256:{'0' * 64}"}
        login: manifest.Credential = {"address": "registry.invalid", "username": "u" * 50, "password": "p" * 64}
        try:
            violations = validate.validate(manifest.render(deployment, {"registry": login}))
        except ValueError as error:
            refuse(str(error), "correct the deployment's settings")
        if violations:
            refuse_all(
                Finding(f"{violation.message} [{violation.rule}]", _MEND, _inside(violation.path))
                for violation in violations
            )
        return self


_MEND = "correct it in the stack file: the device or the hub would refuse the manifest"


_ORIGINS = re.compile(
    r"(?:\.systemModules\.(?P<owner>edgeAgent|edgeHub))?.*?"
    r"\.(?P<setting>routes|env|createOptions)(?:\d\d)?(?:\.(?P<name>\w+)|\['(?P<quoted>.+?)'\])?"
)


def _inside(path: str) -> tuple[str, ...]:
    """The setting that a violation's JSON path goes back to."""
    match = _ORIGINS.search(path)
    if match is None:
        return ()
    return tuple(step for step in (match["owner"], match["setting"], match["name"] or match["quoted"]) if step)


class Settings(_Model):
    """All settings of a stack."""

    workspace: WorkspaceSettings
    registry: RegistrySettings
    hub: HubSettings
    model: ModelSettings
    image: ImageSettings
    devices: list[DeviceSettings]
    deployment: DeploymentSettings
    role_assignments: bool = False
    """Whether the workspace's identity gets its roles here; needs Owner, which most do not have."""
