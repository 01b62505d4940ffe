"""What the stack file says that somebody else has made: looked up before any resource is registered, never changed, never deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.services import azure, lookup
from components.services.aml import client
from components.services.errors import ServiceError
from components.settings import Settings


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
        pulumi.RunError: one of them is not there or cannot be used, with what was looked for and where; before any resource.
    """
    try:
        return _look_up(settings)
    except ServiceError as error:
        raise pulumi.RunError(str(error)) from None


def _look_up(settings: Settings) -> Existing:
    workspace = _named(lookup.WORKSPACE, settings.workspace.existing)
    registry = _named(lookup.REGISTRY, settings.registry.existing)
    hub = _named(lookup.HUB, settings.hub.existing)
    if workspace:
        registry = _registry_of(workspace, registry)
    if registry and not registry["properties"].get("adminUserEnabled") and not settings.registry.enable_admin_user:
        raise ServiceError(
            "use the container registry",
            repr(registry["name"]),
            "its admin user is off; Azure ML pushes with it and IoT Edge devices pull with it",
            "pulumi config set --path aml-edge:registry.enableAdminUser true",
        )
    named = [model.existing for model in settings.all_models if model.existing]
    models = [_model(workspace, existing) for existing in named] if workspace else []
    return Existing(
        workspace_id=workspace["id"] if workspace else None,
        registry_id=registry["id"] if registry else None,
        hub_id=hub["id"] if hub else None,
        models={model.id.rpartition(":")[0]: model for model in models},
    )


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
    found: dict[str, Any] = client.call(client.workspace_config(workspace["id"]), "find_model", arguments)
    return ExistingModel(found["id"], found["contentHash"] or f"registered as {found['id']}")
