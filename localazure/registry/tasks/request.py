"""A DockerBuildRequest (Azure REST API, containerregistry 2019-06-01-preview, `Registries_ScheduleRun`)."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from localazure.registry.tasks.errors import invalid, not_implemented

_VARIANTS = {"linux/amd64": ("",), "linux/arm64": ("", "v8")}
_SOURCE = re.compile(r"source/[0-9]{12}/[0-9a-f]{32}\.tar\.gz\Z")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")  # as Azure: unknown members are dropped


class Argument(_Part):
    name: str = Field(min_length=1)
    value: str
    isSecret: bool = False  # noqa: N815 - the names of the wire


class _Platform(_Part):
    os: str
    architecture: str = "amd64"
    variant: str | None = None

    @property
    def docker(self) -> str:
        """As the engine writes it. Its variant is checked, and the only one of its architecture."""
        return f"{self.os}/{self.architecture}".casefold()


class _Secret(_Part):
    type: str = "Opaque"
    value: str = ""


class _Login(_Part):
    userName: _Secret | None = None  # noqa: N815
    password: _Secret | None = None
    identity: str | None = None


class _SourceRegistry(_Part):
    loginMode: Literal["None", "Default"] = "Default"  # noqa: N815
    identity: str | None = None


class _Credentials(_Part):
    sourceRegistry: _SourceRegistry = Field(default_factory=_SourceRegistry)  # noqa: N815
    customRegistries: dict[str, _Login] = Field(default_factory=dict)  # noqa: N815


class _Agent(_Part):
    cpu: int = 2


class BuildRequest(_Part):
    """What is kept of a run until it ends: it holds secrets."""

    dockerFilePath: str = Field(min_length=1)  # noqa: N815
    platform: _Platform
    imageNames: list[str] = Field(default_factory=list)  # noqa: N815
    arguments: list[Argument] = Field(default_factory=list)
    isPushEnabled: bool = True  # noqa: N815
    noCache: bool = False  # noqa: N815
    target: str | None = None
    timeout: int = Field(default=3600, ge=300, le=28800)
    sourceLocation: str | None = None  # noqa: N815
    credentials: _Credentials = Field(default_factory=_Credentials)
    agentConfiguration: _Agent = Field(default_factory=_Agent)  # noqa: N815
    isArchiveEnabled: bool = False  # noqa: N815

    def secrets(self) -> list[str]:
        """What must not be in the log."""
        logins = self.credentials.customRegistries.values()
        held = [login.password.value for login in logins if login.password]
        return held + [argument.value for argument in self.arguments if argument.isSecret]

    def logins(self) -> dict[str, tuple[str, str]]:
        """Host -> user and password of registries that the build may pull from."""
        return {
            host: (login.userName.value, login.password.value)
            for host, login in self.credentials.customRegistries.items()
            if login.userName and login.password
        }


def admit(body: dict[str, Any] | None) -> BuildRequest:
    """Raises TaskError: 400 for what ACR refuses, 501 for what is not doubled."""
    kind = (body or {}).get("type")
    if not isinstance(kind, str):
        raise invalid("The property 'type' of the run request is required.")
    if kind.casefold() != "dockerbuildrequest":
        raise not_implemented(f"run requests of type '{kind}'; only DockerBuildRequest")
    try:
        request = BuildRequest.model_validate(body)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise invalid(f"The run request is invalid: {problems}.") from error
    _check_platform(request.platform)
    _check_source(request.sourceLocation)
    for host, login in request.credentials.customRegistries.items():
        kinds = {part.type.casefold() for part in (login.userName, login.password) if part}
        if login.identity or kinds - {"opaque"}:
            raise not_implemented(f"credentials of '{host}' by identity or vault secret; only Opaque ones")
    return request


def _check_platform(platform: _Platform) -> None:
    if platform.os.casefold() not in ("linux", "windows"):
        raise invalid(f"The platform '{platform.os}' is not Linux or Windows.")
    if (platform.variant or "").casefold() not in _VARIANTS.get(platform.docker, ()):
        asked = "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)
        raise not_implemented(f"builds for {asked}; only Linux/amd64 and Linux/arm64")


def _check_source(location: str | None) -> None:
    """Only what `listBuildSourceUploadUrl` gave out; Git and web addresses are not fetched here."""
    if not location or not _SOURCE.match(location):
        raise not_implemented(
            f"the source location '{location}'; only a relativePath that listBuildSourceUploadUrl gave out"
        )
