"""Managed identities of resources, and who exists in the directory."""

from __future__ import annotations

import uuid

from localazure.arm.errors import ArmError
from localazure.arm.model import Context, lookup
from localazure.arm.resources import Json, Resource

USER_ASSIGNED = "Microsoft.ManagedIdentity/userAssignedIdentities"


def assign(context: Context, resource: Resource) -> None:
    """Give a resource the principals that its `identity` input asks for. A system-assigned one lives until it is switched off."""
    wanted = resource.inputs.get("identity") or {"type": "None"}
    held = resource.state.pop("identity", {})
    decided: Json = {}
    if "SystemAssigned" in wanted["type"]:
        decided = {
            "principalId": held.get("principalId") or str(uuid.uuid4()),
            "tenantId": context.instance.tenant_id,
        }
    assigned = {key: _user_assigned(context, resource, key) for key in wanted.get("userAssignedIdentities", {})}
    if assigned:
        decided["userAssignedIdentities"] = assigned
    if decided:
        resource.state["identity"] = decided


def kind_of(context: Context, principal: str) -> str | None:
    """The directory's type of a principal, or None when it does not exist: this cloud's directory holds only service principals."""
    wanted = principal.casefold()
    if context.principals.with_object_id(wanted):
        return "ServicePrincipal"
    for resource in context.resources.below(""):
        principals = (
            lookup(resource.state, "identity.principalId"),
            lookup(resource.state, "properties.principalId") if resource.type == USER_ASSIGNED else None,
        )
        if wanted in principals:
            return "ServicePrincipal"
    return None


def _user_assigned(context: Context, resource: Resource, identity_id: str) -> Json:
    identity = context.resources.get(identity_id)
    if identity is None or identity.type != USER_ASSIGNED:
        raise ArmError(
            400,
            "FailedIdentityOperation",
            f"Identity operation for resource '{resource.id}' failed with error 'Failed to perform resource identity operation. "
            f"Status: 'BadRequest'. The user-assigned identity '{identity_id}' was not found'.",
        )
    properties = identity.state["properties"]
    return {"principalId": properties["principalId"], "clientId": properties["clientId"]}
