"""What a container registry does by itself: quick builds (Azure REST API, containerregistry 2019-06-01-preview), importImage and
listUsages (2023-01-01-preview). The registry room does the work behind `Tasks`."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from localazure.arm import operations
from localazure.arm.directory import page
from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError, not_implemented, resource_not_found
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call, LongRunning
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


Handler = Callable[[Call, Resource], Answer]


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


class RegistryTasks:
    """`answer` is None for a path that is none of these."""

    def __init__(self, engine: Engine, tasks: Tasks) -> None:
        self._engine, self._tasks = engine, tasks
        self._store = engine.resources.store
        self._store.script(_TABLE)
        engine.operations.workers["import"] = self._import
        self._table: dict[tuple[str, str, int], Handler] = {
            ("POST", "listbuildsourceuploadurl", 1): lambda call, acr: Answer(200, tasks.upload_url(acr.name)),
            ("POST", "schedulerun", 1): lambda call, acr: Answer(200, tasks.schedule(acr.name, acr.id, call.body)),
            ("POST", "importimage", 1): self._begin_import,
            ("GET", "listusages", 1): self._usages,
            ("GET", "runs", 1): self._runs,
            ("GET", "runs", 2): lambda call, acr: Answer(200, tasks.run(acr.name, call.target.name)),
            ("PATCH", "runs", 2): self._archive,
            ("POST", "runs/cancel", 2): self._cancel,
            ("POST", "runs/listlogsasurl", 2): lambda call, acr: Answer(200, tasks.log_url(acr.name, call.target.name)),
        }
        """Method, types below the registry, number of names."""

    def answer(self, call: Call) -> Answer | None:
        handler = self._handler(call)
        if handler is None:
            return None
        names = call.target.names
        owner = re.match(rf".*?/registries/{re.escape(names[0])}(?=/)", call.target.path, re.IGNORECASE)
        assert owner, "the handler knows such paths only"
        registry = self._engine.require(call, parse(owner[0]))
        if registry.provisioning_state not in ("Succeeded", "Updating"):
            raise ArmError(409, "Conflict", f"'{registry.id}' is in state '{registry.provisioning_state}'.")
        try:
            return handler(call, registry)
        except TaskError as error:
            raise ArmError(error.status, error.code, error.message) from error

    def _handler(self, call: Call) -> Handler | None:
        kind = call.target.type.casefold()
        if not kind.startswith(f"{_REGISTRY}/") or not call.target.names:
            return None
        return self._table.get((call.method, kind.removeprefix(f"{_REGISTRY}/"), len(call.target.names)))

    # --- runs

    def _runs(self, call: Call, registry: Resource) -> Answer:
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

    def _archive(self, call: Call, registry: Resource) -> Answer:
        enabled = (call.body or {}).get("isArchiveEnabled")
        return Answer(200, self._tasks.archive(registry.name, call.target.name, enabled))

    def _cancel(self, call: Call, registry: Resource) -> Answer:
        self._tasks.cancel(registry.name, call.target.name)
        return Answer(200)

    def _usages(self, call: Call, registry: Resource) -> Answer:
        size, webhooks = _LIMITS[registry.inputs["sku"]["name"]]
        value = [
            {"name": "Size", "limit": size, "currentValue": self._tasks.usages(registry.name), "unit": "Bytes"},
            {"name": "Webhooks", "limit": webhooks, "currentValue": 0, "unit": "Count"},
        ]
        return Answer(200, {"value": value})

    # --- imports

    def _begin_import(self, call: Call, registry: Resource) -> Answer:
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
