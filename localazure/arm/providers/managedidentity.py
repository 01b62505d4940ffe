"""Microsoft.ManagedIdentity: user-assigned identities (Azure REST API, msi 2023-01-31). Everything is synchronous."""

from __future__ import annotations

import uuid

from localazure.arm.identities import USER_ASSIGNED
from localazure.arm.model import Context, NameRule, ResourceType
from localazure.arm.resources import Resource


class UserAssignedIdentity(ResourceType):
    type = USER_ASSIGNED
    name = NameRule(
        r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
        "BadRequest",
        "Resource '{name}' is not a valid identity name: 3 to 128 letters, digits, '-' and '_', the first a letter or digit.",
    )
    api_versions = ("2023-01-31", "2018-11-30")

    def born(self, context: Context, resource: Resource) -> None:
        resource.decide(tenantId=context.instance.tenant_id, principalId=str(uuid.uuid4()), clientId=str(uuid.uuid4()))
