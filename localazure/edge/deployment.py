"""What `$edgeAgent`'s desired properties ask for: checked as edgeAgent checks them, without I/O.

Rules: Azure/iotedge, `EdgeAgentConnection.cs` (schema version), `DockerConfig.cs` and `ChunkedProperty` (createOptions in
pieces), `RegistryCredentials.cs`; learn.microsoft.com, "Properties of the IoT Edge agent and IoT Edge hub module twins".
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

OK, CONFIG_FORMAT, UNKNOWN, INVALID_SCHEMA, CONFIG_EMPTY, FAILED = 200, 400, 406, 412, 417, 500
DEFAULT_STARTUP_ORDER = 4294967295
CHUNK = 512
_MODULE_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_POLICIES = ("always", "on-failure", "on-unhealthy", "never")


class DeploymentError(Exception):
    """The desired properties cannot be applied. `code` is edgeAgent's lastDesiredStatus code (400, 412 or 417)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Credentials:
    address: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Module:
    """One module. `env` values are texts as the container gets them; `raw_env` is the manifest's table."""

    name: str
    image: str
    create_options: dict[str, Any]
    env: dict[str, str]
    raw_env: dict[str, Any]
    status: str
    restart_policy: str
    pull_policy: str
    startup_order: int
    version: str | None

    @property
    def fingerprint(self) -> str:
        """Equal as long as the container need not be made again: everything but the desired status counts."""
        parts = [
            self.image,
            self.create_options,
            self.env,
            self.restart_policy,
            self.pull_policy,
            self.startup_order,
            self.version,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Deployment:
    """`system` holds the manifest's own tables of edgeAgent and edgeHub; `logging` is HostConfig.LogConfig or None."""

    version: int
    modules: dict[str, Module]
    system: dict[str, dict[str, Any]]
    credentials: tuple[Credentials, ...]
    runtime: dict[str, Any]
    logging: dict[str, Any] | None

    def credentials_for(self, image: str) -> Credentials | None:
        """The first credentials whose address is the registry of the image, in any case; None for none."""
        registry = registry_of(image)
        return next((c for c in self.credentials if c.address.lower() == registry.lower()), None)


def registry_of(image: str) -> str:
    """The image's registry as edgeAgent reads it (`DockerUtil.TryParseDomainFromImage`); Docker Hub is `docker.io`."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first) else "docker.io"


def parse(desired: dict[str, Any]) -> Deployment:
    """The deployment in desired properties (with `$version`). Raises DeploymentError with edgeAgent's status code."""
    content = {key: value for key, value in desired.items() if not key.startswith("$")}
    if not content:
        raise DeploymentError(
            CONFIG_EMPTY, "Empty edge agent configuration: no deployment was applied to this device yet"
        )
    _check_schema(content.get("schemaVersion"))
    runtime = _table(content, "runtime", "runtime")
    if str(runtime.get("type", "")).lower() != "docker":
        raise _malformed(f"runtime.type must be 'docker', not {runtime.get('type')!r}")
    settings = runtime.get("settings") or {}
    if not isinstance(settings, dict):
        raise _malformed("runtime.settings must be an object")
    modules = content.get("modules") or {}
    if not isinstance(modules, dict):
        raise _malformed("modules must be an object")
    return Deployment(
        version=int(desired.get("$version", 0)),
        modules={name: _module(name, value) for name, value in modules.items()},
        system=_system(_table(content, "systemModules", "systemModules")),
        credentials=_credentials(settings.get("registryCredentials") or {}),
        runtime={"type": "docker", "settings": {k: v for k, v in settings.items() if k != "registryCredentials"}},
        logging=_logging(settings.get("loggingOptions")),
    )


def join_chunks(settings: dict[str, Any], name: str = "createOptions") -> str:
    """The text of a property that may be cut into `name`, `name01`, `name02`, ... (names in any case, no gap)."""
    found: dict[int, str] = {}
    for key, value in settings.items():
        match = re.fullmatch(rf"{name}(\d\d)?", key, re.IGNORECASE)
        if match and value is not None:
            if not isinstance(value, str):
                raise _malformed(f"{key} must be a text that holds JSON, not {type(value).__name__}")
            found[int(match[1] or 0)] = value
    if sorted(found) != list(range(len(found))):
        missing = next(number for number in range(100) if number not in found)
        raise _malformed(f"the pieces of {name} have a gap: number {missing:02} is missing")
    return "".join(found[number] for number in sorted(found))


def split_chunks(text: str, name: str = "createOptions") -> dict[str, str]:
    """The inverse of `join_chunks`, in pieces of 512 characters as edgeAgent cuts them."""
    pieces = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)] or [""]
    return {name + (f"{number:02}" if number else ""): piece for number, piece in enumerate(pieces)}


def _check_schema(version: Any) -> None:
    numbers = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", version) if isinstance(version, str) else None
    if not numbers:
        raise DeploymentError(INVALID_SCHEMA, f"The deployment schema version {version!r} is not a version")
    if int(numbers[1]) != 1 or (int(numbers[2]), int(numbers[3] or 0)) > (1, 0):
        raise DeploymentError(
            INVALID_SCHEMA, f"The deployment schema version {version} is not compatible with the expected version 1.1.0"
        )


def _system(tables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    for name in ("edgeAgent", "edgeHub"):
        entry = _table(tables, name, f"systemModules.{name}")
        if str(entry.get("type", "")).lower() != "docker":
            raise _malformed(f"systemModules.{name}.type must be 'docker'")
        _options(entry, f"systemModules.{name}")
    return {name: tables[name] for name in ("edgeAgent", "edgeHub")}


def _module(name: str, entry: Any) -> Module:
    where = f"modules.{name}"
    if not _MODULE_NAME.fullmatch(name):
        raise _malformed(f"{where}: a module's name may hold letters, digits, '_' and '-' only")
    if not isinstance(entry, dict):
        raise _malformed(f"{where} must be an object")
    if str(entry.get("type", "")).lower() != "docker":
        raise _malformed(f"{where}.type must be 'docker', not {entry.get('type')!r}")
    image, options = _options(entry, where)
    raw_env = entry.get("env") or {}
    order = entry.get("startupOrder", DEFAULT_STARTUP_ORDER)
    if not isinstance(order, int) or isinstance(order, bool) or not 0 <= order <= DEFAULT_STARTUP_ORDER:
        raise _malformed(f"{where}.startupOrder must be a number from 0 to {DEFAULT_STARTUP_ORDER}, not {order!r}")
    version = entry.get("version")
    return Module(
        name=name,
        image=image,
        create_options=options,
        env=_env(raw_env, where),
        raw_env=raw_env,
        status=_choice(entry, "status", ("running", "stopped"), where),
        restart_policy=_choice(entry, "restartPolicy", _POLICIES, where),
        pull_policy=_choice(
            {"imagePullPolicy": "on-create", **entry}, "imagePullPolicy", ("on-create", "never"), where
        ),
        startup_order=order,
        version=None if version is None else str(version),
    )


def _options(entry: dict[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    settings = _table(entry, "settings", f"{where}.settings")
    image = settings.get("image")
    if not isinstance(image, str) or not image.strip():
        raise _malformed(f"{where}.settings.image must name an image")
    text = join_chunks(settings)
    try:
        options = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise _malformed(f"{where}.settings.createOptions is not JSON: {error}") from error
    if options is not None and not isinstance(options, dict):
        raise _malformed(f"{where}.settings.createOptions must hold a JSON object")
    return image.strip(), options or {}


def _env(raw: Any, where: str) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise _malformed(f"{where}.env must be an object")
    texts = {}
    for name, entry in raw.items():
        value = entry.get("value") if isinstance(entry, dict) else None
        if not isinstance(value, str | int | float):
            raise _malformed(f'{where}.env.{name} must be {{"value": text, number or true/false}}')
        texts[name] = value if isinstance(value, str) else json.dumps(value)
    return texts


def _credentials(tables: Any) -> tuple[Credentials, ...]:
    if not isinstance(tables, dict):
        raise _malformed("runtime.settings.registryCredentials must be an object")
    found = []
    for name, entry in tables.items():
        given = [entry.get(key) for key in ("address", "username", "password")] if isinstance(entry, dict) else []
        values = [value for value in given if isinstance(value, str) and value.strip()]
        if len(values) != 3:
            raise _malformed(f"registryCredentials.{name} needs address, username and password, none of them blank")
        found.append(Credentials(*values))
    return tuple(found)


def _logging(text: Any) -> dict[str, Any] | None:
    """Unreadable options are ignored, as `CreateCommand.InjectLoggerConfig` does."""
    try:
        options = json.loads(text) if isinstance(text, str) and text.strip() else None
    except ValueError:
        return None
    return options if isinstance(options, dict) else None


def _table(parent: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise _malformed(f"{where} is missing or not an object")
    return value


def _choice(entry: dict[str, Any], key: str, allowed: tuple[str, ...], where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or value.lower() not in allowed:
        raise _malformed(f"{where}.{key} must be one of {', '.join(allowed)}, not {value!r}")
    return value.lower()


def _malformed(message: str) -> DeploymentError:
    return DeploymentError(CONFIG_FORMAT, f"Unable to parse the deployment: {message}")
