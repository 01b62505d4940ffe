"""Microsoft.MachineLearningServices: workspaces (Azure REST API, machinelearningservices 2024-04-01 and 2025-12-01) with their soft delete
(learn.microsoft.com/azure/machine-learning/concept-soft-delete). The ML room serves what `discoveryUrl` leads to."""

from __future__ import annotations

import uuid
from types import MappingProxyType

from localazure.arm import admission, operations
from localazure.arm.errors import ArmError, not_implemented
from localazure.arm.ids import parse
from localazure.arm.model import Action, Answer, Call, Context, LongRunning, NameRule, ResourceType, lookup, properties
from localazure.arm.providers.containerregistry import credentials
from localazure.arm.resources import Json, Resource, Tombstone

_MOST_DAYS, _DAY = 14, 24 * 3600.0
_STATUS = (
    "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
    "/workspaceOperationsStatus/{operation}?type="
)
_DEPENDENCIES = {
    "storageAccount": "Microsoft.Storage/storageAccounts",
    "keyVault": "Microsoft.KeyVault/vaults",
    "applicationInsights": "Microsoft.Insights/components",
    "containerRegistry": "Microsoft.ContainerRegistry/registries",
}


class MlWorkspace(ResourceType):
    type = "Microsoft.MachineLearningServices/workspaces"
    name = NameRule(
        r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
        "BadRequest",
        "The workspace name '{name}' is invalid: 3 to 33 letters, digits, '-' and '_', the first a letter or digit.",
    )
    api_versions = ("2025-12-01", "2024-04-01", "2022-05-01", "2020-01-01")
    top = ("location", "tags", "sku", "kind", "identity")
    writable = properties(
        text="allowRecoverSoftDeletedWorkspace applicationInsights containerRegistry description discoveryUrl friendlyName "
        "imageBuildCompute "
        "keyVault primaryUserAssignedIdentity publicNetworkAccess storageAccount systemDatastoresAuthMode",
        flag="allowPublicAccessWhenBehindVnet enableDataIsolation hbiWorkspace v1LegacyMode",
        number="softDeleteRetentionInDays",
        objects="encryption featureStoreSettings managedNetwork serviceManagedResourcesSettings",
        lists="sharedPrivateLinkResources",
    )
    choices = MappingProxyType(
        {
            "sku.name": ("Basic", "Free", "Standard", "Premium"),
            "properties.publicNetworkAccess": ("Enabled", "Disabled"),
            "properties.allowRecoverSoftDeletedWorkspace": ("True", "False"),
        }
    )
    immutable = ("properties.keyVault", "properties.storageAccount", "properties.hbiWorkspace")
    immutable_error = (400, "BadRequest")
    invalid_code = "ValidationError"
    create = LongRunning(
        status=202, state="Creating", monitor=_STATUS + "async", result=_STATUS + "location", body=False
    )
    update = LongRunning(
        status=202, state="Updating", monitor=_STATUS + "async", result=_STATUS + "location", body=False
    )
    delete = LongRunning(
        status=202, state="Deleting", monitor=_STATUS + "async", result=_STATUS + "location", body=False
    )

    def actions(self) -> dict[str, Action]:
        return {
            "listkeys": self._list_keys,
            "liststorageaccountkeys": self._list_storage_keys,
            "resynckeys": self._resync_keys,
        }

    def defaults(self, resource: Resource) -> Json:
        return {
            "kind": "Default",
            "sku": {"name": "Basic"},
            "tags": {},
            "properties": {
                "friendlyName": resource.name,
                "description": "",
                "hbiWorkspace": False,
                "imageBuildCompute": "",
                "publicNetworkAccess": "Enabled",
                "v1LegacyMode": False,
                "enableDataIsolation": False,
                "systemDatastoresAuthMode": "accesskey",
                "allowPublicAccessWhenBehindVnet": False,
            },
        }

    def derived(self, context: Context, resource: Resource) -> Json:
        workspace_id = resource.state["properties"]["workspaceId"]
        host = context.instance.arm_url.removeprefix("https://")
        sku = resource.inputs.get("sku", {}).get("name", "Basic")
        return {
            "sku": {"name": sku, "tier": sku},
            "properties": {
                "discoveryUrl": f"{context.instance.arm_url}/discovery/workspaces/{workspace_id}",
                "mlFlowTrackingUri": f"azureml://{host}/mlflow/v1.0{resource.id}",
                "tenantId": context.instance.tenant_id,
                "storageHnsEnabled": False,
                "privateLinkCount": 0,
                "privateEndpointConnections": None,
            },
        }

    def born(self, context: Context, resource: Resource) -> None:
        workspace_id = str(uuid.uuid4())
        resource.decide(
            workspaceId=workspace_id,
            creationTime=operations.now(),
            notebookInfo={
                "fqdn": f"ml-{resource.name.lower()}-{resource.location}-{workspace_id}.notebooks.local",
                "resourceId": workspace_id.replace("-", ""),
                "notebookPreparationError": None,
                "isPrivateLinkEnabled": False,
            },
        )

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        if new.inputs.get("kind", "Default").casefold() != "default":
            raise not_implemented("workspaces of kind", new.inputs["kind"])
        new.properties.pop("discoveryUrl", None)  # writable in the contract, decided by the service
        new.properties.pop("allowRecoverSoftDeletedWorkspace", None)  # says something about a tombstone only
        days = new.properties.get("softDeleteRetentionInDays", _MOST_DAYS)
        if not isinstance(days, int) or not 1 <= days <= _MOST_DAYS:
            raise _invalid(f"softDeleteRetentionInDays is {days}: it must be 1 to {_MOST_DAYS}.")
        if old and "containerRegistry" in old.properties:
            new.properties.setdefault("containerRegistry", old.properties["containerRegistry"])
        if lookup(new.inputs, "identity.type") in (None, "None"):
            raise _invalid(
                "The workspace has no identity: 'identity.type' must be SystemAssigned, UserAssigned or both."
            )
        if any(name not in new.properties for name in ("storageAccount", "keyVault", "applicationInsights")):
            raise _invalid("Missing dependent resources in workspace json")
        for name, kind in _DEPENDENCIES.items():
            if name in new.properties:
                self._check_dependency(context, new, name, kind)

    def _check_dependency(self, context: Context, new: Resource, name: str, kind: str) -> None:
        wanted = new.properties[name]
        held = context.resources.get(wanted)
        if parse(wanted).type.casefold() != kind.casefold() or held is None:
            raise _invalid(
                f"The {name} '{wanted}' of workspace '{new.name}' was not found; it must be the id of a {kind} that exists."
            )
        if held.provisioning_state == "Failed":
            raise _invalid(f"The {name} '{wanted}' of workspace '{new.name}' is in state Failed.")
        # learn.microsoft.com/azure/machine-learning/how-to-manage-workspace: neither premium nor with a hierarchical namespace
        premium = name == "storageAccount" and held.inputs["sku"]["name"].startswith("Premium")
        if premium or (name == "storageAccount" and held.properties.get("isHnsEnabled")):
            raise _invalid(
                f"The storage account '{wanted}' cannot be a workspace's default storage: premium accounts and accounts with a "
                "hierarchical namespace are not supported."
            )

    def revive(self, tombstone: Tombstone, new: Resource) -> Json:
        """`allowRecoverSoftDeletedWorkspace` ("Allow a soft deleted workspace to be recovered") is in the API description of
        2022-01-01-preview; a workspace comes back with its id, and so with its models."""
        if new.properties.pop("allowRecoverSoftDeletedWorkspace", None) != "True":
            message = "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete"
            raise ArmError(400, "BadRequest", message)
        admission.check_immutable(self, new, tombstone.resource)
        return new.inputs

    def retention(self, resource: Resource, call: Call | None) -> float | None:
        """Never soft: with a key of the customer's, with user-assigned identities only (concept-soft-delete)."""
        purged = call is not None and call.query.get("forcetopurge", "").lower() == "true"
        own_key = lookup(resource.inputs, "properties.encryption.status") == "Enabled"
        if purged or own_key or lookup(resource.inputs, "identity.type") == "UserAssigned":
            return None
        return resource.properties.get("softDeleteRetentionInDays", _MOST_DAYS) * _DAY

    async def _list_keys(self, context: Context, resource: Resource, call: Call) -> Answer:
        properties = resource.properties
        component = context.resources.get(properties["applicationInsights"])
        body: Json = {
            "userStorageKey": _storage_key(context, resource),
            # One value under two names: the contract renamed it, and clients of either age ask.
            "userStorageResourceId": properties["storageAccount"],
            "userStorageArmId": properties["storageAccount"],
            "appInsightsInstrumentationKey": lookup(component.state, "properties.InstrumentationKey")
            if component
            else None,
            "notebookAccessKeys": {"primaryAccessKey": None, "secondaryAccessKey": None},
        }
        registry = context.resources.get(properties.get("containerRegistry", ""))
        if registry and registry.properties.get("adminUserEnabled"):
            body["containerRegistryCredentials"] = {"location": registry.location} | credentials(context, registry)
        return Answer(200, body)

    async def _resync_keys(self, context: Context, resource: Resource, call: Call) -> Answer:
        """Keys of storage and registry are asked for when they are needed: there is no copy that could be stale."""
        return Answer(200)

    async def _list_storage_keys(self, context: Context, resource: Resource, call: Call) -> Answer:
        return Answer(200, {"userStorageKey": _storage_key(context, resource)})


def _storage_key(context: Context, resource: Resource) -> str:
    account = context.resources.get(resource.properties["storageAccount"])
    if account is None:
        raise ArmError(
            400,
            "BadRequest",
            f"The storage account '{resource.properties['storageAccount']}' of workspace '{resource.name}' is gone.",
        )
    return context.resources.secrets(account)["key1"]


def _invalid(message: str) -> ArmError:
    return ArmError(
        400,
        "ValidationError",
        message,
        target="workspace",
        details=[{"code": "Invalid", "message": message, "target": "workspace"}],
    )
