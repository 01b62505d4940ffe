"""The settings of a deployment, checked as the manifest that they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from components.edge import limits, manifest, routes, validate
from components.edge.names import MODULE_NAME_RULE, is_image_reference, is_module_name
from components.settings import raw_manifest
from components.settings.base import Env, SettingsModel, Whole
from components.settings.problems import Finding, refuse, refuse_all

_RUNTIME_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


def _verify(value: Any) -> Any:
    return {"enabled": value} if isinstance(value, bool) else value


class ProbeSettings(SettingsModel):
    """A reading that the new module must score before its deployment counts."""

    reading: Any
    """What a message's body would be."""
    expect: Any = None
    """What the score must hold, at least; left out, any score will do."""
    timeout_seconds: Whole = Field(default=60, ge=1, le=600)
    """How long the module may take to answer its first call."""


class VerifySettings(SettingsModel):
    enabled: bool = True
    """False for devices that are offline: `verify: false` says the same."""
    timeout_seconds: Whole = Field(default=300, ge=10, le=3600)
    """How long the device may take to report the deployment as running: pulling a large image over a slow line takes minutes."""
    stable_seconds: Whole = Field(default=10, ge=0, le=600)
    """How long it must stay so: a module that crashes while it loads its model runs for a moment."""
    probe: ProbeSettings | None = None

    @field_validator("probe")
    @classmethod
    def _probe(cls, probe: ProbeSettings | None, info: ValidationInfo) -> ProbeSettings | None:
        if probe is not None and info.data.get("enabled") is False:
            refuse("is part of the verification, which is off", "leave it out, or set verify.enabled to true")
        return probe


class RuntimeModuleSettings(SettingsModel):
    image: str | None = None
    env: Env = Field(default_factory=dict)
    create_options: dict[str, Any] | None = None

    @field_validator("image")
    @classmethod
    def _image(cls, image: str | None) -> str | None:
        if image is not None and not is_image_reference(image):
            refuse("is not an image reference", "write [host[:port]/]name[:tag][@sha256:digest], in lower case")
        return image


def _route(value: Any) -> Any:
    return {"route": value} if isinstance(value, str) else value


class RouteSettings(SettingsModel):
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


def _below_root(path: str, info: ValidationInfo) -> Path:
    root: Path = (info.context or {}).get("root") or Path.cwd()
    return root / path


def _image_reference(image: str) -> str:
    if not is_image_reference(image):
        refuse("is not an image reference", "write [host[:port]/]name[:tag][@sha256:digest], in lower case")
    return image


class ModuleSettings(SettingsModel):
    """A module beside ours. Only what it is given: none of our module's hardening."""

    image: Annotated[str, AfterValidator(_image_reference)]
    env: Env = Field(default_factory=dict)
    create_options: dict[str, Any] = Field(default_factory=dict)
    status: Literal["running", "stopped"] = "running"
    restart_policy: Literal["always", "on-failure", "on-unhealthy", "never"] = "always"
    startup_order: Whole | None = Field(default=None, ge=0, le=limits.UINT32_MAX)
    image_pull_policy: Literal["on-create", "never"] = "on-create"
    desired: dict[str, Any] | None = None
    """Desired properties of its twin; left out, they stay as they are in the hub."""


class DeploymentSettings(SettingsModel):
    module: str = "scorer"
    env: Env = Field(default_factory=dict)
    create_options: dict[str, Any] = Field(default_factory=dict)
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
    desired: dict[str, Any] | None = None
    """Desired properties of our module's twin; left out, they stay as they are in the hub."""
    modules: dict[str, ModuleSettings] = Field(default_factory=dict)
    """What runs beside our module."""
    add_module: bool = True
    """Whether our module joins the manifest of your own."""
    manifest: str | None = None
    """Path of a manifest of your own, in place of modules, edgeAgent, edgeHub and timeToLiveSecs."""
    verify: Annotated[VerifySettings, BeforeValidator(_verify)] = VerifySettings()
    on_failure: Literal["rollback", "keep"] = "rollback"

    def for_manifest(self) -> dict[str, Any]:
        """What `components.edge.manifest.render` takes, without the image: plain values under their camelCase keys."""
        left_out = {"verify", "on_failure", "manifest", "add_module", *(() if self.modules else ("modules",))}
        made = self.model_dump(by_alias=True, exclude_none=True, exclude=left_out)
        for name in _OF_A_MANIFEST if self.manifest else ():
            made.pop(to_camel(name), None)
        return {**made, "manifest": self._content, "addModule": self.add_module} if self.manifest else made

    _content: dict[str, Any] = PrivateAttr(default_factory=dict)

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

    @field_validator("manifest")
    @classmethod
    def _manifest(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is not None:
            raw_manifest.read(_below_root(path, info), path, joined=bool(info.data.get("add_module")))
        return path

    @model_validator(mode="after")
    def _own_manifest(self, info: ValidationInfo) -> DeploymentSettings:
        if self.verify.probe and (not self.add_module or self.status != "running"):
            fix = "leave the probe out"
            refuse_all([Finding("our module does not run with these settings", fix, ("verify", "probe"))])
        if self.manifest is None:
            if not self.add_module:
                refuse_all([Finding("is for a manifest of your own", "set deployment.manifest too", ("addModule",))])
            return self
        taken = [to_camel(name) for name in _OF_A_MANIFEST if name in self.model_fields_set]
        if taken:
            fix = "leave it out, and write it in that file"
            refuse_all(Finding(f"is said by {self.manifest}", fix, (name,)) for name in taken)
        self._content = raw_manifest.read(_below_root(self.manifest, info), self.manifest, joined=self.add_module)
        return self

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
                Finding(f"{violation.message} [{violation.rule}]", _MEND, _inside(violation.path, self.module))
                for violation in violations
            )
        return self


_OF_A_MANIFEST = ("modules", "edge_agent", "edge_hub", "time_to_live_secs")
_MEND = "correct it in the stack file: the device or the hub would refuse the manifest"


_SYSTEM = re.compile(r"\.systemModules\.(edgeAgent|edgeHub)")
_MODULE = re.compile(r"\.modules(?:\.(\w+)|\['(.+?)'\])")
_TWIN = re.compile(r"\$\.modulesContent(?:\.(\w+)|\['([^$'].*?)'\])")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]")
_SETTING = re.compile(r"\.(?P<setting>routes|env|createOptions)(?:\d\d)?(?:\.(?P<name>\w+)|\['(?P<quoted>.+?)'\])?")


def _inside(path: str, own: str) -> tuple[str, ...]:
    """The setting that a violation's JSON path goes back to; `own` is the scoring module."""
    if twin := _TWIN.match(path):
        name = twin[1] or twin[2]
        _, *below = [plain or number or quoted for plain, number, quoted in _STEP.findall(path[twin.end() :])]
        return ("desired", *below) if name == own else ("modules", name, "desired", *below)
    owner: tuple[str, ...] = ()
    if system := _SYSTEM.search(path):
        owner = (system[1],)
    elif (module := _MODULE.search(path)) and (module[1] or module[2]) != own:
        owner = ("modules", module[1] or module[2])
    if found := _SETTING.search(path):
        owner += tuple(step for step in (found["setting"], found["name"] or found["quoted"]) if step)
    return owner
