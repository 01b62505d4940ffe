"""What the stack file says that somebody else has made: looked up before any resource is registered, never changed, never deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.services import azure, lookup
from components.services.aml import client
from components.services.errors import ServiceError
from components.settings import Settings


@dataclass(frozen=True)
class Existing:
    """ARM ids of what exists, None where the stack makes it; the model's id and content hash where it is registered already."""

    workspace_id: str | None = None
    registry_id: str | None = None
    hub_id: str | None = None
    model_id: str | None = None
    model_hash: str | None = None

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
    model = _model(workspace, settings.model.existing)
    return Existing(
        workspace_id=workspace["id"] if workspace else None,
        registry_id=registry["id"] if registry else None,
        hub_id=hub["id"] if hub else None,
        model_id=model["id"] if model else None,
        model_hash=(model["contentHash"] or f"registered as {model['id']}") if model else None,
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


def _model(workspace: dict[str, Any] | None, existing: str | None) -> dict[str, Any] | None:
    if not (workspace and existing):
        return None
    name, _, version = existing.partition(":")
    arguments = {"model_name": name, "version": int(version) if version else None}
    found: dict[str, Any] = client.call(client.workspace_config(workspace["id"]), "find_model", arguments)
    return found
