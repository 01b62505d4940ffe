"""Deployment manifests of IoT Edge, rendered from settings: `{"modulesContent": {"$edgeAgent": ..., "$edgeHub": ...}}`.

Shapes: "Properties of the IoT Edge agent and IoT Edge hub module twins"; schema 1.1 of both (route objects, startup order).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from components.edge import create_options
from components.edge.names import IMAGE_BY_DIGEST_RULE, MODULE_NAME_RULE, is_image_by_digest, is_module_name

RUNTIME_VERSION = "1.6"
"""The LTS release of the IoT Edge runtime that is deployed unless the settings name another (Azure/iotedge, CHANGELOG)."""

TIME_TO_LIVE_SECONDS = 7200
"""How long edgeHub keeps messages that it cannot deliver: the value that the portal and the samples use."""

SCHEMA_VERSION = "1.1"
INPUT, OUTPUT = "amlInput", "amlOutput"
_DESIRED, _LOGINS = "properties.desired", "runtime.settings.registryCredentials"

# What a gateway listens on for its leaf devices: HTTPS, AMQP, MQTT. The portal's own default.
_HUB_CREATE_OPTIONS = {
    "HostConfig": {"PortBindings": {f"{port}/tcp": [{"HostPort": str(port)}] for port in (443, 5671, 8883)}}
}


class RuntimeModule(TypedDict):
    """Overrides for edgeAgent or edgeHub."""

    image: NotRequired[str]
    env: NotRequired[Mapping[str, Any]]
    createOptions: NotRequired[Mapping[str, Any]]


class Runtime(TypedDict):
    """The runtime's own part of a deployment; every key has a default."""

    runtimeVersion: NotRequired[str]
    edgeAgent: NotRequired[RuntimeModule]
    edgeHub: NotRequired[RuntimeModule]
    timeToLiveSecs: NotRequired[int]


class Container(TypedDict):
    """How a module runs, ours or another."""

    image: str
    env: NotRequired[Mapping[str, Any]]
    createOptions: NotRequired[Mapping[str, Any]]
    status: NotRequired[str]
    restartPolicy: NotRequired[str]
    startupOrder: NotRequired[int]
    imagePullPolicy: NotRequired[str]
    desired: NotRequired[Mapping[str, Any]]
    """Desired properties of the module's own twin; left out, they stay as they are."""


class OtherModule(Container):
    """A module beside the scoring one: its createOptions are the user's alone, its image may have a tag."""


class Deployment(Runtime, Container):
    """What a scoring module is deployed with. `routes`: name -> route text or {route, priority, timeToLiveSecs}; left out, every
    message of a leaf device enters `amlInput` and what the module sends goes upstream."""

    module: str
    routes: NotRequired[Mapping[str, Any]]
    modules: NotRequired[Mapping[str, OtherModule]]
    manifest: NotRequired[Mapping[str, Any]]
    """Somebody's own `modulesContent`, in place of `modules` and the runtime's part."""

    addModule: NotRequired[bool]
    """Whether the scoring module joins that manifest."""


class Credential(TypedDict):
    """A registry login; `address` is the host that image references start with."""

    address: str
    username: str
    password: str


def render(deployment: Deployment, credentials: Mapping[str, Credential]) -> dict[str, Any]:
    """The manifest of a deployment with the registry logins the device needs.

    Raises:
        ValueError: the image is not named by digest, the module's name is not one, the createOptions cannot be written.
    """
    if deployment.get("manifest") is not None:
        return _joined(deployment, credentials)
    name, others = deployment["module"], deployment.get("modules") or {}
    if name in others:
        raise ValueError(
            f"cannot render the deployment: {name!r} is the scoring module, and one of the other modules too"
        )
    modules = {name: _module(deployment), **{other: _other(given) for other, given in others.items()}}
    routes = _whole(deployment["routes"]) if deployment.get("routes") is not None else default_routes(name)
    made = _manifest(deployment, credentials, modules=modules, routes=routes)
    made["modulesContent"].update(_twins(deployment))
    return made


def render_layer(deployment: Deployment, credentials: Mapping[str, Credential]) -> dict[str, Any]:
    """The content of a layered deployment: only what it lays over a base, the module, the routes that the settings name (it has none
    of its own: those of the base's module have the same names), the logins that its image needs.

    Raises:
        ValueError: as `render`.
    """
    agent: dict[str, Any] = {f"{_DESIRED}.modules.{deployment['module']}": _module(deployment)}
    for key, login in sorted(credentials.items()):
        agent[f"{_DESIRED}.{_LOGINS}.{key}"] = dict(login)
    if deployment.get("manifest") is not None:
        raise ValueError(
            "a manifest of your own is for one device and cannot be a layer; name its modules in the settings"
        )
    others = deployment.get("modules") or {}
    agent |= {f"{_DESIRED}.modules.{name}": _other(given) for name, given in others.items()}
    hub = {f"{_DESIRED}.routes.{name}": route for name, route in _whole(deployment.get("routes") or {}).items()}
    return {
        "modulesContent": {"$edgeAgent": agent, **({"$edgeHub": hub} if hub else {}), **_twins(deployment)},
    }


def _module(deployment: Deployment) -> dict[str, Any]:
    name, image = deployment["module"], deployment["image"]
    if not is_module_name(name):
        raise ValueError(f"cannot render the deployment of module {name!r}: {MODULE_NAME_RULE}")
    if not is_image_by_digest(image):
        raise ValueError(
            f"cannot render the deployment of module {name!r} with image {image!r}: {IMAGE_BY_DIGEST_RULE}"
        )
    return _entry(deployment, create_options.hardened(_whole(deployment.get("createOptions") or {})))


def _other(given: OtherModule) -> dict[str, Any]:
    return _entry(given, _whole(given.get("createOptions") or {}))


def _entry(given: Deployment | OtherModule, options: Mapping[str, Any]) -> dict[str, Any]:
    module: dict[str, Any] = {
        "type": "docker",
        "status": given.get("status", "running"),
        "restartPolicy": given.get("restartPolicy", "always"),
        "imagePullPolicy": given.get("imagePullPolicy", "on-create"),
        "settings": _settings(given["image"], options),
        "env": _env(given.get("env") or {}),
    }
    if "startupOrder" in given:
        module["startupOrder"] = _whole(given["startupOrder"])
    return module


def _joined(deployment: Deployment, credentials: Mapping[str, Credential]) -> dict[str, Any]:
    """Somebody's manifest with the registries' logins and, where it is to, the scoring module with its twin and its routes: those of
    the settings, else the usual ones unless the manifest already has one to or from the module."""
    content: dict[str, Any] = copy.deepcopy(_whole(deployment["manifest"]))
    agent, hub = content["$edgeAgent"][_DESIRED], content["$edgeHub"][_DESIRED]
    for key, login in sorted(credentials.items()):
        agent["runtime"].setdefault("settings", {}).setdefault("registryCredentials", {})[key] = dict(login)
    if not deployment.get("addModule", True):
        return {"modulesContent": content}
    name, there = deployment["module"], hub.setdefault("routes", {})
    if name in agent.setdefault("modules", {}):
        raise ValueError(f"cannot add the module {name!r}: the manifest has one of that name")
    agent["modules"][name] = _module(deployment)
    routes = deployment.get("routes")
    if routes is None:
        routes = {} if f"/modules/{name}/" in json.dumps(there) else default_routes(name)
    if doubled := sorted(set(routes) & set(there)):
        raise ValueError(f"cannot add the routes {', '.join(doubled)}: the manifest has routes of these names")
    there.update(_whole(routes))
    return {"modulesContent": {**content, **_twins(deployment)}}


def _twins(deployment: Deployment) -> dict[str, Any]:
    """The twins of the modules whose desired properties are given."""
    given: dict[str, Any] = {deployment["module"]: deployment, **(deployment.get("modules") or {})}
    return {
        name: {_DESIRED: _whole(module["desired"])}
        for name, module in given.items()
        if module.get("desired") is not None
    }


def base_manifest(runtime: Runtime | None = None) -> dict[str, Any]:
    """The manifest without modules, routes and credentials: what a device is left with when its deployment is destroyed."""
    return _manifest(runtime or {}, {}, modules={}, routes={})


def default_routes(module: str) -> dict[str, str]:
    """Readings of leaf devices into the module, what it answers to the cloud. Messages of other modules stay out: a module says
    where its output goes by a route of its own."""
    return {
        INPUT: (
            "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) "
            f'INTO BrokeredEndpoint("/modules/{module}/inputs/{INPUT}")'
        ),
        OUTPUT: f"FROM /messages/modules/{module}/outputs/* INTO $upstream",
    }


def credential_id(address: str) -> str:
    """A key for a registry in `registryCredentials`, made of its host: twin keys hold no dots, blanks, `$` or `#`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", address)


def without_credentials(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a manifest (in the `modulesContent` form) with no registry logins: to be shown, compared or hashed."""
    bare = copy.deepcopy(dict(manifest))
    agent = bare["modulesContent"]["$edgeAgent"]
    for key in [key for key in agent if key.startswith(f"{_DESIRED}.{_LOGINS}")]:
        del agent[key]
    agent.get(_DESIRED, {}).get("runtime", {}).get("settings", {}).pop("registryCredentials", None)
    return bare


def _manifest(
    runtime: Runtime | Deployment | dict[str, Any],
    credentials: Mapping[str, Credential],
    *,
    modules: dict[str, Any],
    routes: dict[str, Any],
) -> dict[str, Any]:
    version = runtime.get("runtimeVersion") or RUNTIME_VERSION
    agent, hub = runtime.get("edgeAgent") or {}, runtime.get("edgeHub") or {}
    docker: dict[str, Any] = {"minDockerVersion": "v1.25"}
    if credentials:
        docker["registryCredentials"] = {key: dict(login) for key, login in sorted(credentials.items())}
    edge_agent = {
        "schemaVersion": SCHEMA_VERSION,
        "runtime": {"type": "docker", "settings": docker},
        "systemModules": {
            "edgeAgent": _runtime_module(agent, f"mcr.microsoft.com/azureiotedge-agent:{version}", {}),
            "edgeHub": {
                **_runtime_module(hub, f"mcr.microsoft.com/azureiotedge-hub:{version}", _HUB_CREATE_OPTIONS),
                "status": "running",
                "restartPolicy": "always",
                "startupOrder": 0,  # before the modules that send through it
            },
        },
        "modules": modules,
    }
    edge_hub = {
        "schemaVersion": SCHEMA_VERSION,
        "routes": routes,
        "storeAndForwardConfiguration": {"timeToLiveSecs": _whole(runtime.get("timeToLiveSecs", TIME_TO_LIVE_SECONDS))},
    }
    return {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": edge_agent},
            "$edgeHub": {"properties.desired": edge_hub},
        }
    }


def _runtime_module(overrides: Mapping[str, Any], image: str, options: Mapping[str, Any]) -> dict[str, Any]:
    users = overrides.get("createOptions")
    module = {
        "type": "docker",
        "settings": _settings(overrides.get("image") or image, options if users is None else _whole(users)),
    }
    if overrides.get("env"):
        module["env"] = _env(overrides["env"])
    return module


def _settings(image: str, options: Mapping[str, Any]) -> dict[str, str]:
    return {"image": image, **create_options.render(options)}


def _env(env: Mapping[str, Any]) -> dict[str, Any]:
    return {key: {"value": _whole(value)} for key, value in sorted(env.items())}


def _whole(value: Any) -> Any:
    """Whole floats as integers, at any depth: Pulumi hands every number to a dynamic provider as a float, Docker refuses 1.0
    where it wants an integer, and a container would see "1.0" in its environment."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value
