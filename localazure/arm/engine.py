"""What every resource type shares: GET, PUT, PATCH, lists and actions over the rules of `model.ResourceType`. DELETE is in `deletion`.

ARM's rules: Azure/azure-resource-manager-rpc, v1.0/resource-api-reference.md and Addendum.md (preconditions).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable

from localazure.arm import admission, identities, operations
from localazure.arm.errors import (
    ArmError,
    busy,
    group_not_found,
    not_implemented,
    parent_not_found,
    resource_not_found,
)
from localazure.arm.ids import Target, parse
from localazure.arm.model import Answer, Call, Context, LongRunning, ResourceType, merge
from localazure.arm.operations import Operations
from localazure.arm.pages import page
from localazure.arm.resources import Json, Resource

GROUP = "Microsoft.Resources/resourceGroups"
_SETTLED = ("Succeeded", "Failed", "Canceled")


class Engine:
    def __init__(self, context: Context, operations_: Operations, types: Iterable[ResourceType]) -> None:
        self.context, self.operations, self.resources = context, operations_, context.resources
        self.types = {kind.type.casefold(): kind for kind in types}
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        operations_.workers["provision"] = self._provision

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
        owner = f"{target.namespace}/{target.types[0]}".casefold() if len(target.types) > 1 else ""
        if owner in self.types and self.parent(target) is None:
            raise parent_not_found(target.names[0])

    def parent(self, target: Target) -> Resource | None:
        """The resource to which a nested one belongs."""
        return self.resources.get(target.top.path)

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

    async def get(self, call: Call) -> Answer:
        resource = self.require(call)
        body = self.present(resource)
        # Who watches provisioningState waits as long as the answer says, 10 or 30 seconds when it says nothing.
        again = operations.RETRY_AFTER if resource.provisioning_state not in _SETTLED else {}
        return Answer(200, body, ({"ETag": body["etag"]} if "etag" in body else {}) | again)

    async def head(self, call: Call) -> Answer:
        self.require(call)
        return Answer(204)

    async def collection(self, call: Call) -> Answer:
        """A collection below a subscription or resource group: empty, never 404, when the parent exists."""
        kind = self.type_of(call)
        self.require_scope(call.target)
        holder = call.target.path.rpartition("/")[0] if call.target.names else call.target.scope
        found = [self.present(one) for one in self.resources.below(holder, kind.type)]
        return Answer(200, page(call, found, self.context.instance.arm_url))

    # --- PUT and PATCH

    async def put(self, call: Call) -> Answer:
        kind, target = self.type_of(call), call.target
        async with self.locks[target.key]:
            self._open_for_writing(target)
            old = self.resources.get(target.path)
            self.preconditions(kind, call, old)
            self._check_fixed(kind, target)
            kind.name.check(target.name or target.group or "", kind.error)
            inputs = admission.admit_put(kind, call.body or {})
            if old:
                return await self._change(kind, call, old, inputs)
            return await self._bring_up(kind, call, inputs)

    async def patch(self, call: Call) -> Answer:
        kind = self.type_of(call)
        async with self.locks[call.target.key]:
            old = self.require(call)
            self._open_for_writing(call.target)
            self.preconditions(kind, call, old)
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

        def also() -> None:
            if tombstone:
                self.resources.exhume(tombstone)
            elif kind.secrets:
                self.resources.keep_secrets(new, {name: make() for name, make in kind.secrets.items()})

        return await self._apply(kind, call, new, kind.create, kind.create_status, also)

    async def _change(self, kind: ResourceType, call: Call, old: Resource, inputs: Json) -> Answer:
        new = old.copy()
        new.inputs = inputs
        kind.check(self.context, new, old)
        admission.check_immutable(kind, new, old)
        return await self._apply(kind, call, new, kind.update, 200, lambda: None)

    async def _apply(
        self,
        kind: ResourceType,
        call: Call,
        resource: Resource,
        rules: LongRunning | None,
        status: int,
        also: Callable[[], None],
    ) -> Answer:
        """Keep the resource and have the work done: in an operation, or (nothing is kept if it fails) before the answer."""
        identities.assign(self.context, resource)
        if kind.system_data:
            resource.state["systemData"] = _system_data(call, resource.state.get("systemData"))
        if kind.etag:
            resource.state["etag"] = base64.b64encode(secrets.token_bytes(6)).decode()
        if rules is None:
            resource.state = merge(resource.state, await kind.provision(self.context, resource))
            resource.decide(provisioningState="Succeeded")
            with self.resources.store.transaction():
                also()
                self.resources.save(resource)
            return Answer(status, self.present(resource))
        resource.decide(provisioningState=rules.state)
        with self.resources.store.transaction():
            also()
            self.resources.save(resource)
            operation = self.operations.begin("provision", resource.id, rules)
        self.operations.launch(operation)
        polling = operations.headers(rules, operation, resource, call, self.context.instance.arm_url)
        shown = self.present(resource) if rules.body else None
        return Answer(rules.status, shown, polling or operations.RETRY_AFTER)

    async def _provision(self, resource_id: str) -> None:
        resource = self.still(resource_id)
        kind = self.types[resource.type.casefold()]
        try:
            additions = await kind.provision(self.context, resource)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self.settle(resource_id, {}, "Failed")
            raise
        self.settle(resource_id, additions, "Succeeded")

    def settle(self, resource_id: str, additions: Json, state: str) -> None:
        with self.resources.store.transaction():
            resource = self.still(resource_id)
            resource.state = merge(resource.state, additions)
            resource.decide(provisioningState=state)
            self.resources.save(resource)

    def still(self, resource_id: str) -> Resource:
        resource = self.resources.get(resource_id)
        if resource is None:
            raise ArmError(404, "ResourceNotFound", f"'{resource_id}' was deleted while an operation worked on it.")
        return resource

    # --- POST

    async def act(self, call: Call) -> Answer:
        target, word = call.target.parent()
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

    def _check_fixed(self, kind: ResourceType, target: Target) -> None:
        for type_, name in zip(kind.type.split("/")[1:], target.names, strict=False):
            only = kind.fixed.get(type_, name)
            if only.casefold() != name.casefold():
                raise kind.error(400, "InvalidResourceName", f"'{type_}' has one member, '{only}', and none '{name}'.")

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

    def preconditions(self, kind: ResourceType, call: Call, held: Resource | None) -> None:
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
        names = [kind.fixed.get(type_, name) for type_, name in zip(types, target.names, strict=True)]
        pairs = "".join(f"/{type_}/{name}" for type_, name in zip(types, names, strict=True))
        parent = self.parent(target) if len(types) > 1 else None
        if parent:
            return parent.id + "/" + pairs.split("/", 3)[3]
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
