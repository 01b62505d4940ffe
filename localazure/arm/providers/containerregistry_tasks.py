"""What a container registry does by itself: quick builds (Azure REST API, containerregistry 2019-06-01-preview), importImage and
listUsages (2023-01-01-preview). The registry room does the work behind `Tasks`."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from localazure.arm import operations
from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError, not_implemented, resource_not_found
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call, LongRunning
from localazure.arm.pages import page
from localazure.arm.resources import Json, Resource
from localazure.registry.tasks.errors import TaskError
from localazure.registry.tasks.importing import ImportRequest
from localazure.store import dump

_REGISTRY = "microsoft.containerregistry/registries"
_IMPORT = LongRunning(
    status=202,
    state="Importing",
    result="/subscriptions/{subscription}/providers/Microsoft.ContainerRegistry/locations/{location}/operationResults/{operation}",
    prefix="registries-",
    body=False,
)
_FILTER = re.compile(r"\s*(RunId|Status|RunType)\s+eq\s+'([^']*)'\s*", re.IGNORECASE)
_GIB = 2**30
# learn.microsoft.com/azure/container-registry/container-registry-skus: included storage and webhooks.
_LIMITS = {"Basic": (10 * _GIB, 2), "Standard": (100 * _GIB, 10), "Premium": (500 * _GIB, 500)}
_TABLE = """
CREATE TABLE IF NOT EXISTS arm_registry_imports (id TEXT PRIMARY KEY, operation TEXT NOT NULL, request TEXT NOT NULL);
"""


class Tasks(Protocol):
    """The registry room's door for what this page needs; all raise TaskError."""

    def upload_url(self, registry: str) -> Json: ...
    def schedule(self, registry: str, resource: str, body: Json | None) -> Json: ...
    def runs(self, registry: str) -> list[Json]: ...
    def run(self, registry: str, run_id: str) -> Json: ...
    def archive(self, registry: str, run_id: str, enabled: Any) -> Json: ...
    def cancel(self, registry: str, run_id: str) -> None: ...
    def log_url(self, registry: str, run_id: str) -> Json: ...
    def usages(self, registry: str) -> int: ...
    async def forget(self, registry: str) -> None: ...
    def admit_import(self, body: Json | None) -> ImportRequest: ...
    async def import_image(self, target: str, request: ImportRequest, source: str | None) -> None: ...


def _of_registry(
    work: Callable[[RegistryTasks, Call, Resource], Answer],
) -> Callable[[RegistryTasks, Call], Awaitable[Answer]]:
    """Hand in the registry that the path names, ready for work; TaskError becomes ARM's."""

    async def handler(self: RegistryTasks, call: Call) -> Answer:
        registry = self._engine.require(call, call.target.top)
        if registry.provisioning_state not in ("Succeeded", "Updating"):
            raise ArmError(409, "Conflict", f"'{registry.id}' is in state '{registry.provisioning_state}'.")
        try:
            return work(self, call, registry)
        except TaskError as error:
            raise ArmError(error.status, error.code, error.message) from error

    return handler


class RegistryTasks:
    def __init__(self, engine: Engine, tasks: Tasks) -> None:
        self._engine, self._tasks = engine, tasks
        self._store = engine.resources.store
        self._store.script(_TABLE)
        engine.operations.workers["import"] = self._import

    # --- quick builds

    @_of_registry
    def upload_url(self, call: Call, registry: Resource) -> Answer:
        return Answer(200, self._tasks.upload_url(registry.name))

    @_of_registry
    def schedule(self, call: Call, registry: Resource) -> Answer:
        return Answer(200, self._tasks.schedule(registry.name, registry.id, call.body))

    @_of_registry
    def runs(self, call: Call, registry: Resource) -> Answer:
        wanted: dict[str, str] = {}
        for term in filter(str.strip, re.split(r"\s+and\s+", call.query.get("$filter", ""), flags=re.IGNORECASE)):
            found = _FILTER.fullmatch(term)
            if not found:
                raise not_implemented("GET", f"{call.target.path} with $filter={term!r}")
            wanted[found[1].casefold()] = found[2].casefold()

        def matches(run: Json) -> bool:
            held = {key.casefold(): str(value).casefold() for key, value in run["properties"].items()}
            return all(held[key] == value for key, value in wanted.items())

        found_runs = [run for run in self._tasks.runs(registry.name) if matches(run)]
        return Answer(200, page(call, found_runs, self._engine.context.instance.arm_url))

    @_of_registry
    def run(self, call: Call, registry: Resource) -> Answer:
        return Answer(200, self._tasks.run(registry.name, call.target.name))

    @_of_registry
    def archive_run(self, call: Call, registry: Resource) -> Answer:
        enabled = (call.body or {}).get("isArchiveEnabled")
        return Answer(200, self._tasks.archive(registry.name, call.target.name, enabled))

    @_of_registry
    def cancel_run(self, call: Call, registry: Resource) -> Answer:
        self._tasks.cancel(registry.name, call.target.name)
        return Answer(200)

    @_of_registry
    def log_url(self, call: Call, registry: Resource) -> Answer:
        return Answer(200, self._tasks.log_url(registry.name, call.target.name))

    @_of_registry
    def usages(self, call: Call, registry: Resource) -> Answer:
        size, webhooks = _LIMITS[registry.inputs["sku"]["name"]]
        value = [
            {"name": "Size", "limit": size, "currentValue": self._tasks.usages(registry.name), "unit": "Bytes"},
            {"name": "Webhooks", "limit": webhooks, "currentValue": 0, "unit": "Count"},
        ]
        return Answer(200, {"value": value})

    # --- imports

    @_of_registry
    def import_image(self, call: Call, registry: Resource) -> Answer:
        request = self._tasks.admit_import(call.body)
        if request.source.resourceId:
            self._source(request.source.resourceId)
        # Not the registry's own id: an import does not make a registry busy.
        job = f"{registry.id}/importImage/{uuid.uuid4()}"
        with self._store.transaction():
            operation = self._engine.operations.begin("import", job, _IMPORT)
            self._store.execute(
                "INSERT INTO arm_registry_imports VALUES (?, ?, ?)", job, operation.id, dump(request.model_dump())
            )
        self._engine.operations.launch(operation)
        base = self._engine.context.instance.arm_url
        return Answer(202, None, operations.headers(_IMPORT, operation, registry, call, base))

    async def _import(self, job: str) -> None:
        """Done again after a crash: what was copied is not copied twice."""
        row = self._store.one("SELECT * FROM arm_registry_imports WHERE id = ?", job)
        assert row, "written in the transaction that began the operation"
        registry = self._engine.still(job.rsplit("/", 2)[0])
        request = ImportRequest.model_validate(json.loads(row["request"]))
        try:
            source = self._source(request.source.resourceId).name if request.source.resourceId else None
            await self._tasks.import_image(registry.name, request, source)
        except asyncio.CancelledError:  # the service stops: the next start needs the request
            raise
        except TaskError as error:
            self._forget(job)
            message = f"Operation {row['operation']} failed. Resource {registry.id} {error.message}"
            raise ArmError(error.status, error.code, message) from error
        except BaseException:
            self._forget(job)
            raise
        self._forget(job)

    def _forget(self, job: str) -> None:
        """The request may hold a password."""
        self._store.execute("DELETE FROM arm_registry_imports WHERE id = ?", job)

    def _source(self, resource_id: str) -> Resource:
        target = parse(resource_id)
        resource = self._engine.resources.get(resource_id)
        if resource is None or resource.type.casefold() != _REGISTRY:
            raise resource_not_found("Microsoft.ContainerRegistry/registries", target.name, target.group)
        return resource
