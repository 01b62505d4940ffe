"""Listings of deleted resources and their purge: deleted vaults (keyvault 2024-11-01) and deleted Log Analytics workspaces
(operationalinsights 2023-09-01)."""

from __future__ import annotations

import datetime

from localazure.arm import operations
from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError
from localazure.arm.model import Answer, Call, LongRunning
from localazure.arm.resources import Json, Tombstone

_VAULTS, _LOGS = "Microsoft.KeyVault/vaults", "Microsoft.OperationalInsights/workspaces"
_PURGE = LongRunning(
    status=202,
    state="Purging",
    result="/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/operationResults/{operation}",
    body=False,
)


class SoftDelete:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._resources = engine, engine.resources
        engine.operations.workers["purge"] = self._purge

    async def vaults(self, call: Call) -> Answer:
        return Answer(200, {"value": [self._vault(one) for one in self._resources.tombstones(_VAULTS)]})

    async def vault(self, call: Call) -> Answer:
        return Answer(200, self._vault(self._find(call)))

    async def purge_vault(self, call: Call) -> Answer:
        one = self._find(call)
        if one.resource.properties.get("enablePurgeProtection"):
            raise ArmError(405, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
        operation = self._engine.operations.begin("purge", one.resource.id, _PURGE)
        self._engine.operations.launch(operation)
        base = self._engine.context.instance.arm_url
        return Answer(202, None, operations.headers(_PURGE, operation, one.resource, call, base))

    async def workspaces(self, call: Call) -> Answer:
        self._engine.require_scope(call.target)
        scope = f"{call.target.scope.casefold()}/"
        below = [one.resource for one in self._resources.tombstones(_LOGS) if one.resource.key.startswith(scope)]
        return Answer(200, {"value": [self._engine.present(one) for one in below]})

    def _find(self, call: Call) -> Tombstone:
        location, name = call.target.names
        for one in self._resources.tombstones(_VAULTS, name=name):
            if one.resource.location == location.casefold():
                return one
        raise ArmError(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")

    def _vault(self, one: Tombstone) -> Json:
        vault = one.resource
        subscription = self._engine.context.instance.subscription_id
        properties: Json = {
            "vaultId": vault.id,
            "location": vault.location,
            "tags": vault.inputs.get("tags", {}),
            "deletionDate": _date(one.deleted),
            "scheduledPurgeDate": _date(one.purge),
        }
        if vault.properties.get("enablePurgeProtection"):
            properties["purgeProtectionEnabled"] = True
        where = f"/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{vault.location}/deletedVaults/{vault.name}"
        return {"id": where, "name": vault.name, "type": "Microsoft.KeyVault/deletedVaults", "properties": properties}

    async def _purge(self, resource_id: str) -> None:
        for one in self._resources.tombstones(_VAULTS, key=resource_id.casefold()):
            with self._resources.store.transaction():
                self._resources.purge(one)


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
