"""Microsoft.OperationalInsights: Log Analytics workspaces (Azure REST API, operationalinsights 2023-09-01). Deleted ones keep their
name for 14 days and come back when they are put again (learn.microsoft.com/azure/azure-monitor/logs/delete-workspace)."""

from __future__ import annotations

import base64
import datetime
import secrets
import uuid
from types import MappingProxyType

from localazure.arm import operations
from localazure.arm.errors import ArmError
from localazure.arm.model import Action, Answer, Call, Context, LongRunning, NameRule, ResourceType, properties
from localazure.arm.resources import Json, Resource, Tombstone

_OPERATIONS = "/subscriptions/{subscription}/providers/Microsoft.OperationalInsights/locations/{location}"


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


class LogWorkspace(ResourceType):
    type = "Microsoft.OperationalInsights/workspaces"
    name = NameRule(
        r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
        "InvalidParameter",
        "'{name}' does not match the rule of a workspace's name: 4 to 63 letters, digits and '-', first and last not '-'.",
    )
    api_versions = ("2023-09-01", "2022-10-01", "2020-08-01")
    top = ("location", "tags", "identity")
    writable = properties(
        text="publicNetworkAccessForIngestion publicNetworkAccessForQuery defaultDataCollectionRuleResourceId",
        flag="forceCmkForQuery",
        number="retentionInDays",
        objects="sku workspaceCapping features",
    )
    choices = MappingProxyType(
        {
            "properties.sku.name": (
                "Free",
                "Standard",
                "Premium",
                "PerNode",
                "PerGB2018",
                "Standalone",
                "CapacityReservation",
                "LACluster",
            ),
            "properties.publicNetworkAccessForIngestion": ("Enabled", "Disabled", "SecuredByPerimeter"),
            "properties.publicNetworkAccessForQuery": ("Enabled", "Disabled", "SecuredByPerimeter"),
        }
    )
    system_data = False
    etag = True
    secrets = MappingProxyType({"primarySharedKey": _key, "secondarySharedKey": _key})
    create = LongRunning(status=201, state="Creating")
    delete = LongRunning(
        status=202,
        state="Deleting",
        monitor=_OPERATIONS + "/operationstatuses/{operation}",
        result=_OPERATIONS + "/operationresults/{operation}",
        body=False,
    )

    def actions(self) -> dict[str, Action]:
        return {"sharedkeys": self._shared_keys, "regeneratesharedkey": self._regenerate}

    def defaults(self, resource: Resource) -> Json:
        return {
            "properties": {
                "sku": {"name": "PerGB2018"},
                "retentionInDays": 30,
                "features": {"legacy": 0, "searchVersion": 1, "enableLogAccessUsingOnlyResourcePermissions": True},
                "workspaceCapping": {"dailyQuotaGb": -1.0, "dataIngestionStatus": "RespectQuota"},
                "publicNetworkAccessForIngestion": "Enabled",
                "publicNetworkAccessForQuery": "Enabled",
            }
        }

    def derived(self, context: Context, resource: Resource) -> Json:
        tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
        return {
            "properties": {
                "sku": {"lastSkuUpdate": resource.state["properties"]["createdDate"]},
                "workspaceCapping": {"quotaNextResetTime": f"{tomorrow}T00:00:00Z"},
            }
        }

    def born(self, context: Context, resource: Resource) -> None:
        now = operations.now()
        resource.decide(customerId=str(uuid.uuid4()), createdDate=now, modifiedDate=now)

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        days = new.properties.get("retentionInDays", 30)
        free = new.properties.get("sku", {}).get("name") == "Free"
        if (days != 7 and not 30 <= days <= 730) or (free and days != 7 and "retentionInDays" in new.properties):
            raise ArmError(
                400,
                "InvalidParameter",
                f"'RetentionInDays' property doesn't match the SKU limits: {days} is not allowed.",
            )
        if old:
            new.decide(modifiedDate=operations.now())

    def revive(self, tombstone: Tombstone, new: Resource) -> Json:
        if new.location != tombstone.resource.location:
            raise ArmError(
                409,
                "Conflict",
                f"The workspace '{new.name}' exists in deleted state in location '{tombstone.resource.location}': recover it there or "
                "delete it with force.",
            )
        return new.inputs

    def retention(self, resource: Resource, call: Call | None) -> float | None:
        return None if call and call.query.get("force", "").lower() == "true" else 14 * 24 * 3600.0

    async def _shared_keys(self, context: Context, resource: Resource, call: Call) -> Answer:
        return Answer(200, context.resources.secrets(resource))

    async def _regenerate(self, context: Context, resource: Resource, call: Call) -> Answer:
        with context.resources.store.transaction():
            context.resources.keep_secrets(resource, {name: _key() for name in self.secrets})
        return await self._shared_keys(context, resource, call)
