"""DELETE: of one resource, softly where its type says so, and of a resource group with all that is in it."""

from __future__ import annotations

import asyncio

from localazure.arm.engine import GROUP, Engine
from localazure.arm.errors import ArmError, busy, group_not_found
from localazure.arm.model import Answer, Call, LongRunning, ResourceType
from localazure.arm.operations import Operation, headers
from localazure.arm.resources import Resource


class Deletion:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._resources = engine, engine.resources
        engine.operations.workers |= {"delete": self._delete, "delete-group": self._delete_group}

    async def delete(self, call: Call) -> Answer:
        kind, target = self._engine.type_of(call), call.target
        async with self._engine.locks[target.key]:
            self._engine.require_scope(target)
            resource = self._resources.get(target.path)
            if resource is None:
                if kind.type == GROUP:
                    raise group_not_found(target.group or "")
                return await self._delete_buried(kind, call)
            self._engine.preconditions(kind, call, resource)
            rules = kind.delete
            running = self._engine.operations.running(resource.id)
            if running and rules and running.work.startswith("delete"):  # asked again: the same operation
                return self._accepted(call, resource, rules, running)
            if running:
                raise busy(resource.id)
            shown = self._engine.present(resource)
            if rules is None:
                await self._remove(kind, resource, call)
                return Answer(200, shown if kind.delete_shows else None)
            with self._resources.store.transaction():
                resource.decide(provisioningState=rules.state)
                resource.state["internal"] = {"retention": kind.retention(resource, call)}
                self._resources.save(resource)
                operation = self._engine.operations.begin(
                    "delete-group" if kind.type == GROUP else "delete", resource.id, rules
                )
            self._engine.operations.launch(operation)
            return self._accepted(call, resource, rules, operation)

    def _accepted(self, call: Call, resource: Resource, rules: LongRunning, operation: Operation) -> Answer:
        polling = headers(rules, operation, resource, call, self._engine.context.instance.arm_url)
        return Answer(rules.status, self._engine.present(resource) if rules.body else None, polling)

    async def _delete_buried(self, kind: ResourceType, call: Call) -> Answer:
        """DELETE of what is not there: 204; with the type's word for it, the tombstone is purged."""
        for tombstone in self._resources.tombstones(kind.type, key=call.target.key):
            if kind.retention(tombstone.resource, call) is None:
                with self._resources.store.transaction():
                    self._resources.purge(tombstone)
                return Answer(200)
        return Answer(204)

    async def _delete(self, resource_id: str) -> None:
        resource = self._engine.still(resource_id)
        await self._remove(self._engine.types[resource.type.casefold()], resource, None)

    async def _remove(self, kind: ResourceType, resource: Resource, call: Call | None) -> None:
        try:
            await kind.deprovision(self._engine.context, resource)
        except Exception:
            self._engine.settle(resource.id, {}, "Failed")
            raise
        decided = resource.state.pop("internal", None)
        retention = decided["retention"] if decided else kind.retention(resource, call)
        with self._resources.store.transaction():
            if retention is None:
                self._resources.remove(resource)
            else:
                self._resources.bury(resource, retention)

    async def _delete_group(self, group_id: str) -> None:
        """ARM's way: delete the members in any order, come back to those that refuse, give up when nothing moves any more."""
        group = self._engine.still(group_id)
        while members := [one for one in self._resources.below(group_id) if not _is_extension(one)]:
            refusals: dict[str, Exception] = {}
            waiting = False
            for member in members:
                if self._engine.operations.running(member.id):
                    waiting = True
                    continue
                try:
                    await self._remove(self._engine.types[member.type.casefold()], member, None)
                except Exception as error:
                    refusals[member.id] = error
            if waiting:
                await asyncio.sleep(0.1)
            elif len(refusals) == len(members):
                self._engine.settle(group_id, {}, "Succeeded")
                raise _blocked(group, refusals)
        await self._remove(self._engine.types[GROUP.casefold()], group, None)


def _is_extension(resource: Resource) -> bool:
    """Role assignments go with what they hang on."""
    return resource.type.startswith("Microsoft.Authorization/")


def _blocked(group: Resource, refusals: dict[str, Exception]) -> ArmError:
    ids = ", ".join(refusals)
    details = [
        {"code": getattr(error, "code", type(error).__name__), "message": str(error), "target": member}
        for member, error in refusals.items()
    ]
    return ArmError(
        409,
        "ResourceGroupDeletionBlocked",
        f"Deletion of resource group '{group.name}' failed as resources with identifiers '{ids}' could not be deleted. "
        "The provisioning state of the resource group will be rolled back.",
        details=details,
    )
