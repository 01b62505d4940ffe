"""Azure Resource Manager of the local Azure, put together."""

from __future__ import annotations

from typing import Any

from localazure.arm.engine import Engine
from localazure.arm.front import Front
from localazure.arm.model import Context, Hubs, Registries
from localazure.arm.operations import Operations
from localazure.arm.providers import all_types
from localazure.arm.resources import Resources
from localazure.identity import Tokens
from localazure.instance import Instance
from localazure.store import Store

DELAY_SECONDS = 0.3


class ArmService:
    """`app` is an ASGI application for `/subscriptions...`, `/tenants` and `/metadata/endpoints` of the instance's ARM address.

    `registries` and `hubs` make what stands behind a container registry and an IoT hub. Long-running operations work for `delay` seconds
    and whatever the backend needs.
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
    ) -> None:
        self._resources = Resources(store)
        self._operations = Operations(store, delay)
        context = Context(instance, self._resources, tokens, registries, hubs)
        self._engine = Engine(context, self._operations, all_types())
        self.app = Front(self._engine).app

    async def start(self) -> None:
        """Take up the operations that the database says are running; forget what is past its retention."""
        self._resources.purge_expired()
        self._operations.start()

    async def stop(self) -> None:
        """Leave running operations to the next start."""
        await self._operations.stop()

    def get(self, resource_id: str) -> dict[str, Any] | None:
        """The resource as GET would answer it (id in any case), or None."""
        resource = self._resources.get(resource_id)
        return self._engine.present(resource) if resource else None
