"""`checkNameAvailability` of the providers whose names are unique in the whole cloud."""

from __future__ import annotations

from localazure.arm.engine import Engine
from localazure.arm.errors import invalid_content
from localazure.arm.model import Answer, Call, Context, ResourceType
from localazure.arm.resources import Json, Resource

_TYPES = {
    "microsoft.storage": "Microsoft.Storage/storageAccounts",
    "microsoft.keyvault": "Microsoft.KeyVault/vaults",
    "microsoft.containerregistry": "Microsoft.ContainerRegistry/registries",
    "microsoft.devices": "Microsoft.Devices/IotHubs",
}
_INVALID = {"microsoft.storage": "AccountNameInvalid", "microsoft.keyvault": "AccountNameInvalid"}


class NameChecks:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def check(self, call: Call) -> Answer:
        namespace = (call.target.namespace or "").casefold()
        name = (call.body or {}).get("name")
        if not isinstance(name, str):
            raise invalid_content("Required property 'name' not found in JSON")
        kind = self._engine.types[_TYPES[namespace].casefold()]
        return Answer(200, self._verdict(namespace, kind, name))

    def _verdict(self, namespace: str, kind: ResourceType, name: str) -> Json:
        if not kind.name.allows(name):
            problem = kind.name.message.format(name=name)
            return {"nameAvailable": False, "reason": _INVALID.get(namespace, "Invalid"), "message": problem}
        context: Context = self._engine.context
        holder = context.resources.named(kind.type, name)
        if holder is None and not context.resources.tombstones(kind.type, name=name):
            # Microsoft.Devices gives a reason even then.
            return {"nameAvailable": True} | (
                {"reason": "Invalid", "message": None} if namespace == "microsoft.devices" else {}
            )
        refusal = kind.taken(Resource("", kind.type, name, {}), holder or Resource("", kind.type, name, {}))
        return {"nameAvailable": False, "reason": "AlreadyExists", "message": refusal.message}
