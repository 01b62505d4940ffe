"""Azure Resource Manager of the local Azure, put together."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from localazure.arm import throttle as throttling
from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError
from localazure.arm.front import Front
from localazure.arm.ids import parse
from localazure.arm.model import Call, Context, Hubs, Registries
from localazure.arm.operations import Operations
from localazure.arm.providers import all_types
from localazure.arm.providers.containerregistry_tasks import Tasks
from localazure.arm.rbac import Access, roles
from localazure.arm.resources import Resource, Resources
from localazure.arm.routes import Routes, table
from localazure.identity import Tokens
from localazure.instance import Instance
from localazure.principals import Principals
from localazure.store import Store

DELAY_SECONDS = 0.3


class ArmService:
    """`app` is an ASGI application for `/subscriptions...`, `/tenants` and `/metadata/endpoints` of the instance's ARM address.

    `registries` and `hubs` make what stands behind a container registry and an IoT hub. Long-running operations work for `delay` seconds
    and whatever the backend needs. `access` enforces role assignments where that is switched on; `principals` is the directory.
    Without `tasks`, quick builds and imports of registries answer 501.
    """

    def __init__(
        self,
        instance: Instance,
        store: Store,
        tokens: Tokens,
        registries: Registries,
        hubs: Hubs,
        *,
        delay: float = DELAY_SECONDS,
        principals: Principals | None = None,
        tasks: Tasks | None = None,
        throttle: throttling.Throttle | None = None,
    ) -> None:
        """`throttle` is that of the instance's settings if not given; InstanceError when they are wrong."""
        self._resources = Resources(store)
        self._operations = Operations(store, delay)
        self._instance = instance
        self.principals = principals or Principals(store, tokens)
        self.access = Access(store, self._resources, self.principals)
        context = Context(instance, self._resources, tokens, registries, hubs, self.principals, tasks)
        self._engine = Engine(context, self._operations, all_types())
        routes = Routes(table(self._engine, tasks))
        self.app = Front(self._engine, self.access, throttle or throttling.load(instance.folder), routes).app

    def on_gone(self, kind: str, callback: Callable[[dict[str, Any]], None]) -> None:
        """Call with the properties of each resource of a type that is deleted for good: not when it is soft-deleted, but when it
        is purged or its retention has passed. Inside the transaction that removes it."""

        def gone(resource: Resource) -> None:
            if resource.type.casefold() == kind.casefold():
                callback(resource.properties | resource.state.get("properties", {}))

        self._resources.gone.append(gone)

    async def start(self) -> None:
        """Take up the operations that the database says are running; forget what is past its retention."""
        self._resources.purge_expired()
        self._operations.start()

    async def stop(self) -> None:
        """Leave running operations to the next start."""
        await self._operations.stop()

    async def assign(self, object_id: str, role: str, scope: str | None = None) -> str:
        """Give a principal a built-in role (name or id) at a scope (None: the subscription), as a PUT of the role assignment would.

        Returns the assignment's id. Raises ArmError.
        """
        found = roles.find(role)
        if found is None:
            known = ", ".join(one.name for one in roles.ROLES)
            raise ArmError(400, "RoleDefinitionDoesNotExist", f"There is no role '{role}' here. There are: {known}.")
        where = (scope or f"/subscriptions/{self._instance.subscription_id}").rstrip("/")
        target = parse(f"{where}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}")
        if (target.subscription or "").casefold() != self._instance.subscription_id:
            raise ArmError(
                404, "SubscriptionNotFound", f"The scope '{where}' is not below this instance's subscription."
            )
        body = {"properties": {"roleDefinitionId": f"{roles.DEFINITIONS}{found.id}", "principalId": object_id}}
        default = self.principals.default
        claims = {"oid": default.object_id, "appid": default.client_id}
        await self._engine.put(Call("PUT", target, {"api-version": "2022-04-01"}, {}, body, claims))
        return target.path

    def named(self, kind: str, name: str) -> str | None:
        """The id of the resource that holds a cloud-wide name, or None."""
        resource = self._resources.named(kind, name)
        return resource.id if resource else None

    def get(self, resource_id: str) -> dict[str, Any] | None:
        """The resource as GET would answer it (id in any case), or None."""
        resource = self._resources.get(resource_id)
        return self._engine.present(resource) if resource else None
