"""Microsoft.Resources: resource groups (Azure REST API, resources 2024-03-01)."""

from __future__ import annotations

from localazure.arm.errors import ArmError
from localazure.arm.model import Context, LongRunning, NameRule, ResourceType
from localazure.arm.resources import Resource


class ResourceGroup(ResourceType):
    type = "Microsoft.Resources/resourceGroups"
    name = NameRule(
        r"(?=.{1,90}$)[-\w._()]*[-\w_()]",
        "InvalidResourceGroup",
        "The provided resource group name '{name}' has these invalid characters or is too long or ends with a period: "
        "1 to 90 of alphanumerics, '-', '_', '.', '(' and ')' are allowed.",
    )
    api_versions = ("2024-03-01", "2021-04-01", "2020-10-01")
    top = ("location", "tags", "managedBy")
    system_data = False
    delete = LongRunning(
        status=202, state="Deleting", result="/subscriptions/{subscription}/operationresults/{operation}", body=False
    )

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        if old and old.location != new.location:
            raise ArmError(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{new.location}'. The Resource group already exists in location '{old.location}'.",
            )
