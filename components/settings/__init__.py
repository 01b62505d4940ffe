"""The settings of a stack, checked before any resource is registered: every problem at once, with its key, value, rule and fix."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.settings import logins
from components.settings.deployment import DeploymentSettings, RuntimeModuleSettings, VerifySettings
from components.settings.devices import DeviceSettings
from components.settings.fleet import FleetSettings, RolloutSettings
from components.settings.model import ModelSettings
from components.settings.models import (
    AMD64,
    BUILDERS,
    MODES,
    HubSettings,
    ImageSettings,
    RegistrySettings,
    Settings,
    WorkspaceSettings,
)
from components.settings.problems import NAMESPACE, Problem, SettingsError, from_pydantic, key, wrong_places

__all__ = [
    "AMD64",
    "BUILDERS",
    "MODES",
    "NAMESPACE",
    "DeploymentSettings",
    "DeviceSettings",
    "FleetSettings",
    "HubSettings",
    "ImageSettings",
    "ModelSettings",
    "Problem",
    "RegistrySettings",
    "RolloutSettings",
    "RuntimeModuleSettings",
    "Settings",
    "SettingsError",
    "VerifySettings",
    "WorkspaceSettings",
    "load",
    "load_from_pulumi",
]

_ROUNDS = 5  # of looking for what a wrong setting hides; one is enough but for stacks that are wrong on purpose

# What a stack without the key has. The objects' own defaults are in their models.
_DEFAULTS: dict[str, Any] = {
    "workspace": {},
    "registry": {},
    "hub": {},
    "model": {},
    "models": [],
    "image": {},
    "registryLogins": [],
    "devices": [{"id": "edge-1"}],
    "deployment": {},
    "tags": {},
    "protect": False,
    "fleetDevices": [],
    "fleet": [],
    "roleAssignments": False,
}


def load(values: Mapping[str, Any], *, root: Path | None = None, secrets: Collection[str] | None = None) -> Settings:
    """The settings that a stack file gives.

    `values` maps keys, with or without `aml-edge:` before them (keys of other namespaces are passed over), to plain values or,
    as Pulumi hands them to a program, to their JSON text. `root` is the project's folder (default: the working directory, where
    Pulumi runs the program); relative paths start there. `secrets` names the keys that the stack keeps encrypted; None where nobody
    knows.

    Raises:
        SettingsError: with every problem.
    """
    given, problems = _parsed(_own(values))
    everything, context = {**_DEFAULTS, **given}, {"root": root or Path.cwd()}
    try:
        settings = Settings.model_validate(everything, context=context)
    except ValidationError as error:
        problems += from_pydantic(error, Settings)
        problems += _hidden_by(error, everything, context)
        settings = None
    problems += _doubled_devices(given.get("devices"))
    if secrets is not None:
        problems += logins.plain_passwords(given.get(logins.NAME), f"{NAMESPACE}:{logins.NAME}" in secrets)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def load_from_pulumi() -> Settings:
    """The settings of the stack that is being deployed. Only the environment that the engine gives to a program lists the keys
    that Pulumi.yaml does not declare, misspelt ones among them; `pulumi.Config` knows those it is asked for.

    Raises:
        pulumi.RunError: with the text of SettingsError; the engine shows it without a traceback.
    """
    import pulumi  # a program's module: the rest of this package must load without it
    from pulumi.runtime.config import get_config_env, is_config_secret

    config = pulumi.Config(NAMESPACE)
    known = {name: value for name in _DEFAULTS if (value := config.get(name)) is not None}
    try:
        secrets = {key for name in known if is_config_secret(key := f"{NAMESPACE}:{name}")}
        return load({**_own(get_config_env()), **known}, secrets=secrets)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{NAMESPACE}:"
    return {
        name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix) or ":" not in name
    }


def _parsed(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The values with JSON text read where the setting is an object or a list. What cannot be read is a problem and left out."""
    parsed, problems = dict(values), []
    for name, default in _DEFAULTS.items():
        text = values.get(name)
        if isinstance(text, str) and isinstance(default, dict | list):
            try:
                parsed[name] = json.loads(text)
            except ValueError:
                kind = "a list" if isinstance(default, list) else "an object"
                fix = f"write it as {kind} in the stack file, or set one value with pulumi config set --path '{key((name,))}...'"
                problems.append(Problem(key((name,)), None, f"must be {kind}", fix))
                del parsed[name]
    return parsed, problems


def _hidden_by(error: ValidationError, values: Mapping[str, Any], context: dict[str, Any]) -> list[Problem]:
    """What else is wrong. Rules between settings are asked only where each of them is right, so the wrong ones are left out and all is
    asked again, some times over. What is then said of an object that lacks one comes of leaving it out, and is dropped."""
    rest, lacking, found = copy.deepcopy(dict(values)), set[str](), list[Problem]()
    for _ in range(_ROUNDS):
        for location, owner in wrong_places(error):
            lacking.add(key(owner))
            _leave_out(rest, location)
        try:
            Settings.model_validate({**_DEFAULTS, **rest}, context=context)
            break
        except ValidationError as again:
            error = again
        found += [
            problem
            for problem in from_pydantic(error, Settings)
            if not any(problem.key.startswith(one) for one in lacking)
        ]
    return found


def _leave_out(values: Any, location: Sequence[str | int]) -> None:
    """Take out the value at a location that is in objects alone: in a list, those after it would get other places."""
    *way, last = location or ("",)
    for step in way:
        values = values.get(step) if isinstance(values, dict) else None
    if isinstance(values, dict):
        values.pop(last, None)


def _doubled_devices(devices: Any) -> Iterator[Problem]:
    """Checked on what was given, so that a bad device elsewhere in the list does not hide it."""
    ids = [device.get("id") for device in devices if isinstance(device, dict)] if isinstance(devices, list) else []
    for device_id, count in Counter(item for item in ids if isinstance(item, str)).items():
        if count > 1:
            yield Problem(
                key(("devices",)),
                None,
                f"{count} devices have the id {device_id!r}",
                "give every device an id of its own",
            )
