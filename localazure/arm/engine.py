"""What every resource type shares: PUT, PATCH, GET, DELETE, lists and actions over the rules of `model.ResourceType`.

ARM's rules: Azure/azure-resource-manager-rpc, v1.0/resource-api-reference.md and Addendum.md (preconditions).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import defaultdict
from collections.abc import Iterable

from localazure.arm import admission, identities, operations
from localazure.arm.errors import ArmError, busy, group_not_found, not_implemented, resource_not_found
from localazure.arm.ids import Target, parse
from localazure.arm.model import Answer, Call, Context, LongRunning, ResourceType, merge
from localazure.arm.operations import Operations
from localazure.arm.resources import Json, Resource

GROUP = "Microsoft.Resources/resourceGroups"
_IN_PLACE = LongRunning(status=200, state="Updating")


class Engine:
    def __init__(self, context: Context, operations_: Operations, types: Iterable[ResourceType]) -> None:
        self.context, self.operations, self.resources = context, operations_, context.resources
        self.types = {kind.type.casefold(): kind for kind in types}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        operations_.workers |= {
            "provision": self._provision,
            "delete": self._delete,
            "delete-group": self._delete_group,
        }

    # --- reading

    def type_of(self, call: Call, target: Target | None = None) -> ResourceType:
        """The rules of the type that a path names; 501 for what this cloud does not have."""
        target = target or call.target
        kind = self.types.get(GROUP.casefold() if target.is_group else target.type.casefold())
        if kind is None:
            raise not_implemented(call.method, call.target.path)
        return kind

    def present(self, resource: Resource) -> Json:
        return self.types[resource.type.casefold()].present(self.context, resource)

    def require_scope(self, target: Target) -> None:
        """ARM answers for a resource group, or for the resource that an extension hangs on, before it looks further."""
        scope = parse(target.scope)
        if scope.group:
            group_id = f"/subscriptions/{scope.subscription}/resourceGroups/{scope.group}"
            if self.resources.get(group_id) is None:
                raise group_not_found(scope.group)
        if scope.namespace and self.resources.get(scope.path) is None:
            raise resource_not_found(scope.type, scope.name, scope.group)

    def require(self, call: Call, target: Target | None = None) -> Resource:
        target = target or call.target
        kind = self.type_of(call, target)
        self.require_scope(target)
        resource = self.resources.get(target.path)
        if resource is None:
            if kind.type == GROUP:
                raise group_not_found(target.group or "")
            raise resource_not_found(kind.type, target.name, target.group)
        return resource

    def get(self, call: Call) -> Answer:
        body = self.present(self.require(call))
        return Answer(200, body, {"ETag": body["etag"]} if "etag" in body else {})

    def collection(self, call: Call) -> list[Json]:
        """A collection below a subscription or resource group: empty, never 404, when the parent exists."""
        kind = self.type_of(call)
        self.require_scope(call.target)
        return [self.present(one) for one in self.resources.below(call.target.scope, kind.type)]

    # --- PUT and PATCH

    async def put(self, call: Call) -> Answer:
        kind, target = self.type_of(call), call.target
        async with self._locks[target.key]:
            self._open_for_writing(target)
            old = self.resources.get(target.path)
            self._preconditions(kind, call, old)
            kind.name.check(target.name or target.group or "", kind.error)
            inputs = admission.admit_put(kind, call.body or {})
            if old:
                return await self._change(kind, call, old, inputs)
            return await self._bring_up(kind, call, inputs)

    async def patch(self, call: Call) -> Answer:
        kind = self.type_of(call)
        async with self._locks[call.target.key]:
            old = self.require(call)
            self._open_for_writing(call.target)
            self._preconditions(kind, call, old)
            return await self._change(kind, call, old, admission.admit_patch(kind, call.body or {}, old.inputs))

    async def _bring_up(self, kind: ResourceType, call: Call, inputs: Json) -> Answer:
        target = call.target
        new = Resource(self._canonical_id(kind, target), kind.type, target.name or target.group or "", inputs)
        holder = self.resources.named(kind.type, new.name) if kind.cloud_wide else None
        if holder:
            raise kind.taken(new, holder)
        tombstone = next(iter(self.resources.tombstones(kind.type, key=new.key)), None)
        if tombstone:
            new = Resource(new.id, kind.type, new.name, kind.revive(tombstone, new), tombstone.resource.state)
        kind.check(self.context, new, None)
        if not tombstone:
            kind.born(self.context, new)
        with self.resources.store.transaction():
            if tombstone:
                self.resources.exhume(tombstone)
            elif kind.secrets:
                self.resources.keep_secrets(new, {name: make() for name, make in kind.secrets.items()})
            return_later = self._record(kind, call, new, kind.create)
        return await self._proceed(kind, call, new, kind.create, return_later, kind.create_status)

    async def _change(self, kind: ResourceType, call: Call, old: Resource, inputs: Json) -> Answer:
        new = old.copy()
        new.inputs = inputs
        admission.check_immutable(kind, old.name, call.target.group, new.inputs, old.inputs)
        kind.check(self.context, new, old)
        with self.resources.store.transaction():
            return_later = self._record(kind, call, new, kind.update)
        return await self._proceed(kind, call, new, kind.update, return_later, 200)

    def _record(
        self, kind: ResourceType, call: Call, resource: Resource, rules: LongRunning | None
    ) -> operations.Operation | None:
        identities.assign(self.context, resource)
        if kind.system_data:
            resource.state["systemData"] = _system_data(call, resource.state.get("systemData"))
        if kind.etag:
            resource.state["etag"] = base64.b64encode(secrets.token_bytes(6)).decode()
        resource.decide(provisioningState=(rules or _IN_PLACE).state)
        self.resources.save(resource)
        return self.operations.begin("provision", resource.id, rules) if rules else None

    async def _proceed(
        self,
        kind: ResourceType,
        call: Call,
        resource: Resource,
        rules: LongRunning | None,
        operation: operations.Operation | None,
        status: int,
    ) -> Answer:
        if rules and operation:
            self.operations.launch(operation)
            polling = operations.headers(rules, operation, resource, call, self.context.instance.arm_url)
            return Answer(rules.status, self.present(resource) if rules.body else None, polling)
        await self._provision(resource.id)
        return Answer(status, self.present(self._still(resource.id)))

    async def _provision(self, resource_id: str) -> None:
        resource = self._still(resource_id)
        kind = self.types[resource.type.casefold()]
        try:
            additions = await kind.provision(self.context, resource)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._settle(resource_id, {}, "Failed")
            raise
        self._settle(resource_id, additions, "Succeeded")

    def _settle(self, resource_id: str, additions: Json, state: str) -> None:
        with self.resources.store.transaction():
            resource = self._still(resource_id)
            resource.state = merge(resource.state, additions)
            resource.decide(provisioningState=state)
            self.resources.save(resource)

    def _still(self, resource_id: str) -> Resource:
        resource = self.resources.get(resource_id)
        if resource is None:
            raise ArmError(404, "ResourceNotFound", f"'{resource_id}' was deleted while an operation worked on it.")
        return resource

    # --- DELETE

    async def delete(self, call: Call) -> Answer:
        kind, target = self.type_of(call), call.target
        async with self._locks[target.key]:
            self.require_scope(target)
            resource = self.resources.get(target.path)
            if resource is None:
                if kind.type == GROUP:
                    raise group_not_found(target.group or "")
                return await self._delete_buried(kind, call)
            self._preconditions(kind, call, resource)
            if self.operations.running(resource.id):
                raise busy(resource.id)
            shown = self.present(resource)
            rules = kind.delete
            if rules is None:
                await self._remove(kind, resource, call)
                return Answer(200, shown if kind.delete_shows else None)
            with self.resources.store.transaction():
                resource.decide(provisioningState=rules.state)
                resource.state["internal"] = {"retention": kind.retention(resource, call)}
                self.resources.save(resource)
                operation = self.operations.begin(
                    "delete-group" if kind.type == GROUP else "delete", resource.id, rules
                )
            self.operations.launch(operation)
            polling = operations.headers(rules, operation, resource, call, self.context.instance.arm_url)
            return Answer(rules.status, self.present(resource) if rules.body else None, polling)

    async def _delete_buried(self, kind: ResourceType, call: Call) -> Answer:
        """DELETE of what is not there: 204; with the type's word for it, the tombstone is purged."""
        for tombstone in self.resources.tombstones(kind.type, key=call.target.key):
            if kind.retention(tombstone.resource, call) is None:
                with self.resources.store.transaction():
                    self.resources.purge(tombstone)
                return Answer(200)
        return Answer(204)

    async def _delete(self, resource_id: str) -> None:
        resource = self._still(resource_id)
        await self._remove(self.types[resource.type.casefold()], resource, None)

    async def _remove(self, kind: ResourceType, resource: Resource, call: Call | None) -> None:
        try:
            await kind.deprovision(self.context, resource)
        except Exception:
            self._settle(resource.id, {}, "Failed")
            raise
        decided = resource.state.pop("internal", None)
        retention = decided["retention"] if decided else kind.retention(resource, call)
        with self.resources.store.transaction():
            if retention is None:
                self.resources.remove(resource)
            else:
                self.resources.bury(resource, retention)

    async def _delete_group(self, group_id: str) -> None:
        """ARM's way: delete the members in any order, come back to those that refuse, give up when nothing moves any more."""
        group = self._still(group_id)
        while members := [one for one in self.resources.below(group_id) if not _is_extension(one)]:
            refusals: dict[str, Exception] = {}
            waiting = False
            for member in members:
                if self.operations.running(member.id):
                    waiting = True
                    continue
                try:
                    await self._remove(self.types[member.type.casefold()], member, None)
                except Exception as error:
                    refusals[member.id] = error
            if waiting:
                await asyncio.sleep(0.1)
            elif len(refusals) == len(members):
                self._settle(group_id, {}, "Succeeded")
                raise _blocked(group, refusals)
        await self._remove(self.types[GROUP.casefold()], group, None)

    # --- POST

    async def act(self, call: Call) -> Answer:
        target, word = call.target.parent()
        if not target.types or target.is_collection:
            raise not_implemented(call.method, call.target.path)
        owner, tail = target, word.casefold()
        if target.type.casefold() not in self.types and len(target.types) > 1:  # .../IotHubKeys/{name}/listkeys
            path = target.path.rsplit("/", 2)[0]
            owner, tail = parse(path), f"{target.types[-1].casefold()}/*/{tail}"
        action = self.type_of(call, owner).actions().get(tail)
        if action is None:
            raise not_implemented(call.method, call.target.path)
        resource = self.require(call, owner)
        if resource.provisioning_state not in ("Succeeded", "Updating"):
            raise self.type_of(call, owner).error(
                409,
                "Conflict",
                f"'{resource.id}' is in state '{resource.provisioning_state}' and cannot perform '{word}'.",
            )
        return await action(self.context, resource, call)

    # --- helpers

    def _open_for_writing(self, target: Target) -> None:
        self.require_scope(target)
        group = target.group and self.resources.get(
            f"/subscriptions/{target.subscription}/resourceGroups/{target.group}"
        )
        if group and group.provisioning_state == "Deleting":
            raise ArmError(
                409,
                "ResourceGroupBeingDeleted",
                f"The resource group '{group.name}' is in deprovisioning state and cannot perform this operation.",
            )
        if self.operations.running(target.path):
            raise busy(target.path)

    def _preconditions(self, kind: ResourceType, call: Call, held: Resource | None) -> None:
        if not kind.etag:
            return
        wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
        etag = held.state.get("etag") if held else None
        if (wanted and (etag is None or wanted.strip('"') not in ("*", etag))) or (unwanted == "*" and held):
            raise ArmError(412, "PreconditionFailed", f"The condition on the ETag of '{call.target.path}' is not met.")

    def _canonical_id(self, kind: ResourceType, target: Target) -> str:
        """The type in its own case; names, also the resource group's, as the first PUT gave them."""
        if kind.type == GROUP:
            return f"/subscriptions/{self.context.instance.subscription_id}/resourceGroups/{target.group}"
        namespace, *types = kind.type.split("/")
        pairs = "".join(f"/{type_}/{name}" for type_, name in zip(types, target.names, strict=True))
        scope = parse(target.scope)
        holder = self.resources.get(target.scope) if scope.namespace else None
        if holder:
            where = holder.id
        else:
            where = f"/subscriptions/{self.context.instance.subscription_id}"
            where += f"/resourceGroups/{scope.group}" if scope.group else ""
        return f"{where}/providers/{namespace}{pairs}"


def _system_data(call: Call, held: Json | None) -> Json:
    who = {"By": call.claims["appid"], "ByType": "Application", "At": operations.now()}
    created = held or {f"created{key}": value for key, value in who.items()}
    return created | {f"lastModified{key}": value for key, value in who.items()}


def _is_extension(resource: Resource) -> bool:
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
