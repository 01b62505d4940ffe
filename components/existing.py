"""What the stack file says that somebody else has made: looked up before any resource is registered, never changed, never deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pulumi

from components.services import azure, lookup
from components.services import hub as hubs
from components.services.aml import client
from components.services.errors import DeniedError, NotFoundError, ServiceError
from components.settings import NAMESPACE, Settings

T = TypeVar("T")


@dataclass(frozen=True)
class ExistingModel:
    """A model that is registered already."""

    id: str
    """`name:version`."""
    content: str
    """The hash of its content; where somebody else registered it without one, what it is registered as."""


@dataclass(frozen=True)
class Existing:
    """ARM ids of what exists, None where the stack makes it; the models that are registered already, by name."""

    workspace_id: str | None = None
    registry_id: str | None = None
    hub_id: str | None = None
    models: Mapping[str, ExistingModel] = field(default_factory=dict)

    @property
    def everything(self) -> bool:
        """Nothing is left to be made in a resource group of the stack's own."""
        return None not in (self.workspace_id, self.registry_id, self.hub_id)


def look_up(settings: Settings) -> Existing:
    """Read from Azure what the settings call existing; no request where they do not.

    Raises:
        pulumi.RunError: what is not there or cannot be used, all of it, with its key and where it was looked for; before any
            resource.
    """
    problems: list[str] = []

    def tried(key: str, look: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return look(*arguments)
        except ServiceError as error:
            problems.append(f"{NAMESPACE}:{key}: {error}")
            return None

    workspace = tried("workspace.existing", _named, lookup.WORKSPACE, settings.workspace.existing)
    registry = tried("registry.existing", _named, lookup.REGISTRY, settings.registry.existing)
    hub = tried("hub.existing", _named, lookup.HUB, settings.hub.existing)
    if workspace:
        registry = tried("workspace.existing", _registry_of, workspace, registry)
    if registry:
        tried("registry.enableAdminUser", _check_admin_user, registry, settings.registry.enable_admin_user)
    named = [(place, model.existing) for place, model in settings.placed_models if model.existing]
    models = [tried(f"{place}.existing", _model, workspace, name) for place, name in named] if workspace else []
    if hub:
        for device in settings.devices:
            if device.existing:
                tried("devices", _check_device, hub, device.id)
    if problems:
        raise pulumi.RunError("\n".join(problems))
    return Existing(
        workspace_id=workspace["id"] if workspace else None,
        registry_id=registry["id"] if registry else None,
        hub_id=hub["id"] if hub else None,
        models={model.id.rpartition(":")[0]: model for model in models if model},
    )


def _check_admin_user(registry: dict[str, Any], enable: bool) -> None:
    if not registry["properties"].get("adminUserEnabled") and not enable:
        raise ServiceError(
            "use the container registry",
            repr(registry["name"]),
            "its admin user is off; Azure ML pushes with it and IoT Edge devices pull with it",
            "pulumi config set --path aml-edge:registry.enableAdminUser true",
        )


def _check_device(hub: dict[str, Any], device_id: str) -> None:
    """Asked with the login itself, since a preview lists no keys. One that may not read the hub's devices is no reason to stop."""
    try:
        identity = hubs.as_oneself(hub).device(device_id)
    except NotFoundError as error:
        advice = "Correct the id in aml-edge:devices, or leave `existing` out to make the device."
        raise NotFoundError(
            "find the existing device", repr(device_id), f"{error.answer} ({hub['name']})", advice
        ) from None
    except DeniedError as error:
        if pulumi.runtime.is_dry_run():
            pulumi.log.warn(
                f"whether the hub {hub['name']} has the device {device_id} was not checked: {error.answer}. `pulumi up` looks it up "
                "with the hub's own key; the role IoT Hub Data Reader lets previews do it"
            )
        return
    if not identity.iot_edge:
        advice = "Deployments need an IoT Edge identity: `az iot hub device-identity create --edge-enabled`."
        raise ServiceError("use the existing device", repr(device_id), "it is not an IoT Edge device", advice)


def _named(kind: str, name: str | None) -> dict[str, Any] | None:
    return lookup.find(kind, name) if name else None


def _registry_of(workspace: dict[str, Any], named: dict[str, Any] | None) -> dict[str, Any]:
    """The registry that the workspace pushes to; a stack file that names another one is refused."""
    attached = lookup.registry_of(workspace)
    if named and named["id"].casefold() != attached.casefold():
        raise ServiceError(
            "use the container registry",
            repr(named["name"]),
            f"the workspace {workspace['name']} is attached to {azure.name_of(attached)}",
            "Leave aml-edge:registry.existing out, or attach the workspace to that registry.",
        )
    return named or azure.get(attached)


def _model(workspace: dict[str, Any], existing: str) -> ExistingModel:
    name, _, version = existing.partition(":")
    arguments = {"model_name": name, "version": int(version) if version else None}
    try:
        found: dict[str, Any] = client.call(client.workspace_config(workspace["id"]), "find_model", arguments)
    except NotFoundError as error:
        where = f"the workspace {workspace['name']} has no such model"
        advice = "Correct the name or the version, or leave `existing` out to register the file."
        raise NotFoundError("find the registered model", repr(existing), where, advice) from error
    return ExistingModel(found["id"], found["contentHash"] or f"registered as {found['id']}")
