"""Microsoft.Authorization: role assignments at any scope (Azure REST API, authorization 2022-04-01;
learn.microsoft.com/azure/role-based-access-control/troubleshooting). `arm.rbac` enforces them."""

from __future__ import annotations

import re
from types import MappingProxyType

from localazure.arm import operations
from localazure.arm.errors import ArmError
from localazure.arm.identities import kind_of
from localazure.arm.ids import parse
from localazure.arm.model import Context, NameRule, ResourceType, properties
from localazure.arm.resources import Json, Resource

_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_DEFINITION = re.compile(
    rf"(?:/subscriptions/{_GUID})?/providers/Microsoft\.Authorization/roleDefinitions/{_GUID}", re.I
)


class RoleAssignment(ResourceType):
    type = "Microsoft.Authorization/roleAssignments"
    name = NameRule(
        _GUID,
        "InvalidRoleAssignmentId",
        "The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",
    )
    api_versions = ("2022-04-01",)
    top = ()
    writable = properties(
        text="roleDefinitionId principalId principalType description condition conditionVersion "
        "delegatedManagedIdentityResourceId",
    )
    required = ("properties.roleDefinitionId", "properties.principalId")
    choices = MappingProxyType(
        {"properties.principalType": ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")}
    )
    invalid_code = "BadRequestFormat"
    patchable = ()
    system_data = False
    delete_shows = True

    def derived(self, context: Context, resource: Resource) -> Json:
        return {"properties": {"scope": parse(resource.id).scope}}

    def present(self, context: Context, resource: Resource) -> Json:
        body = super().present(context, resource)
        body["properties"].pop("provisioningState", None)
        body["properties"].setdefault("condition", None)
        body["properties"].setdefault("conditionVersion", None)
        return body

    def born(self, context: Context, resource: Resource) -> None:
        now = operations.now()
        resource.decide(
            createdOn=now, updatedOn=now, createdBy=context.tokens.object_id, updatedBy=context.tokens.object_id
        )

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        wanted = new.properties
        if not _DEFINITION.fullmatch(wanted["roleDefinitionId"]):
            raise ArmError(
                400, "InvalidRoleDefinitionId", f"The role definition ID '{wanted['roleDefinitionId']}' is not valid."
            )
        if old and _essence(new) != _essence(old):
            raise ArmError(
                400,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )
        self._check_principal(context, new)
        for other in context.resources.below(parse(new.id).scope, self.type):
            if other.key != new.key and _essence(other) == _essence(new):
                existing = other.name.replace("-", "")
                raise ArmError(
                    409,
                    "RoleAssignmentExists",
                    f"The role assignment already exists. The ID of the existing role assignment is {existing}.",
                )

    def _check_principal(self, context: Context, new: Resource) -> None:
        principal, wanted = new.properties["principalId"], new.properties.get("principalType")
        actual = kind_of(context, principal)
        if actual is None:
            raise ArmError(
                400,
                "PrincipalNotFound",
                f"Principal {principal.replace('-', '')} does not exist in the directory {context.instance.tenant_id}. Check that you "
                "have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error "
                "might be related to a replication delay. In this case, set the role assignment principalType property to a value, "
                "such as ServicePrincipal, User, or Group.",
            )
        if wanted and wanted != actual:
            raise ArmError(
                400,
                "UnmatchedPrincipalType",
                f"The PrincipalId '{principal.replace('-', '')}' has type '{actual}', which is different from specified PrinciaplType "
                f"'{wanted}'.",
            )
        new.properties["principalType"] = actual


def _essence(resource: Resource) -> tuple[str, ...]:
    """What makes two assignments the same: scope, role (the GUID counts, not how it is addressed) and principal."""
    properties = resource.properties
    role = properties["roleDefinitionId"].rpartition("/")[2]
    return tuple(part.casefold() for part in (parse(resource.id).scope, role, properties["principalId"]))
