"""The content of IoT Edge deployments: what is valid, which of several applies to a device, and what they are together. Pure.

Source: learn.microsoft.com/azure/iot-edge/module-deployment-monitoring ("Priority", "Layered deployment"). A deployment is layered when
one of its modules has a key `properties.desired.<path>` (as the CLI extension classifies them).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localazure.hub.errors import HubError

SYSTEM_MODULES = ("$edgeAgent", "$edgeHub")
MAX_MODULES = 50
_DESIRED = "properties.desired"
_MODULE_NAME = re.compile(r"\$edgeAgent|\$edgeHub|[A-Za-z0-9_-]{1,128}")

Json = dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A configuration with `modulesContent`, as far as it matters for choosing. `created` also tells two of the same id apart."""

    id: str
    priority: int
    created: str
    modules: dict[str, Json]
    matches: Callable[[Mapping[str, Any]], bool]

    @property
    def layered(self) -> bool:
        return is_layered(self.modules)

    @property
    def rank(self) -> tuple[int, str]:
        return self.priority, self.created


def bad_content(detail: str) -> HubError:
    """The service says only the first sentence (Azure/azure-iot-sdk-csharp#2419); the detail is ours."""
    return HubError(
        "InvalidConfigurationContent",
        f"The content provided for configuration is invalid. Please check and try again. ({detail})",
    )


def is_layered(modules: Mapping[str, Json]) -> bool:
    return any(key.startswith(f"{_DESIRED}.") for part in modules.values() for key in part)


def full_content(content: Any) -> dict[str, Json]:
    """The modules of a manifest for one device or of a base deployment. Raises InvalidConfigurationContent."""
    modules = _modules(content)
    for name, part in modules.items():
        if set(part) != {_DESIRED}:
            raise bad_content(f"{name} holds something else than one object {_DESIRED}")
    for name in SYSTEM_MODULES:
        if name not in modules:
            raise bad_content(f"{name} is missing")
    if len({*modules, *listed_modules(modules)} - set(SYSTEM_MODULES)) > MAX_MODULES:
        raise bad_content(f"there are more than {MAX_MODULES} modules")
    return modules


def deployment_content(content: Any) -> dict[str, Json]:
    """The modules of a base or a layered deployment. Raises InvalidConfigurationContent."""
    modules = _modules(content)
    if not is_layered(modules):
        return full_content(content)
    if "$edgeAgent" not in modules:
        raise bad_content("$edgeAgent is missing")
    for name, part in modules.items():
        if not part or not all(key == _DESIRED or key.startswith(f"{_DESIRED}.") for key in part):
            raise bad_content(f"{name} holds something else than {_DESIRED} and {_DESIRED}.<path>")
        if name in SYSTEM_MODULES and _DESIRED in part:
            raise bad_content(f"{name}: a layered deployment adds to the system modules by {_DESIRED}.<path>")
        if any(not segment for key in part for segment in key.split(".")):
            raise bad_content(f"{name} has a key with an empty part")
    return modules


def listed_modules(modules: Mapping[str, Json]) -> Iterator[str]:
    """The names that a full `$edgeAgent` starts. Raises InvalidConfigurationContent."""
    listed = modules["$edgeAgent"][_DESIRED].get("modules") or {}
    if not isinstance(listed, dict):
        raise bad_content("$edgeAgent: modules is not an object")
    for name in listed:
        if not _MODULE_NAME.fullmatch(name) or name in SYSTEM_MODULES:
            raise bad_content(f"'{name}' is not a module's name")
        yield name


def chosen(targeting: Iterable[Deployment]) -> list[Deployment]:
    """Of the deployments that target a device those that apply: the base, then layers in the order in which they are laid over it.

    The base is the one of the highest priority, of equal ones the newest. A layer needs a base and a higher priority than it.
    """
    ranked = sorted(targeting, key=lambda deployment: deployment.rank)
    base = next((deployment for deployment in reversed(ranked) if not deployment.layered), None)
    if base is None:
        return []
    return [base, *(one for one in ranked if one.layered and one.priority > base.priority)]


def merged(deployments: Iterable[Deployment]) -> Json:
    """The content for a device, `{"modulesContent": ...}`. A layer's `properties.desired` replaces all of that module's, a
    `properties.desired.<path>` what is at the path."""
    result: dict[str, Json] = {}
    for deployment in deployments:
        for name, part in deployment.modules.items():
            for key in sorted(part, key=len):  # the whole before its parts
                whole = result.setdefault(name, {_DESIRED: {}})
                _put(whole, [_DESIRED, *key.removeprefix(_DESIRED).split(".")[1:]], copy.deepcopy(part[key]))
    return {"modulesContent": result}


def _put(target: Json, path: list[str], value: Any) -> None:
    for segment in path[:-1]:
        inner = target.get(segment)
        if not isinstance(inner, dict):
            inner = target[segment] = {}
        target = inner
    target[path[-1]] = value


def _modules(content: Any) -> dict[str, Json]:
    modules = content.get("modulesContent") if isinstance(content, dict) else None
    if not isinstance(modules, dict) or not modules:
        raise bad_content("modulesContent is missing or empty")
    for name, part in modules.items():
        if not _MODULE_NAME.fullmatch(name):
            raise bad_content(f"'{name}' is not a module's name")
        if not isinstance(part, dict) or not isinstance(part.get(_DESIRED, {}), dict):
            raise bad_content(f"{name} holds something else than objects")
    return modules
