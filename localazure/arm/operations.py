"""Long-running operations: rows in the database, worked off by tasks, taken up again after a restart.

Polling contract: learn.microsoft.com/azure/azure-resource-manager/management/async-operations. `Retry-After` is 1: azure-core and azcore
take 0 for "no header" and wait their 30 seconds.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from localazure.arm.errors import ArmError
from localazure.arm.ids import parse
from localazure.arm.model import Call, LongRunning
from localazure.arm.resources import Json, Resource
from localazure.store import Store, dump

Work = Literal["provision", "delete", "delete-group", "purge", "import"]
RETRY_AFTER = {"Retry-After": "1"}
_KEPT_DAYS = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS arm_operations (
  id TEXT PRIMARY KEY, work TEXT NOT NULL, resource TEXT NOT NULL, status TEXT NOT NULL, running TEXT NOT NULL, error TEXT,
  started TEXT NOT NULL, ended TEXT);
CREATE INDEX IF NOT EXISTS arm_operations_running ON arm_operations (status, resource);
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operation:
    """`status` is Running, Succeeded or Failed; `resource` the id it works on; `error` ARM's error object of a failed one."""

    id: str
    work: Work
    resource: str
    status: str
    running: str
    error: Json | None
    started: str
    ended: str | None

    def monitored(self, path: str) -> Json:
        """What the Azure-AsyncOperation URL answers."""
        answer: Json = {"id": path, "name": self.id, "startTime": self.started}
        answer["status"] = self.running if self.status == "Running" else self.status
        if self.ended:
            answer["endTime"] = self.ended
        if self.error:
            answer["error"] = {key: value for key, value in self.error.items() if key != "status"}
        return answer


class Operations:
    def __init__(self, store: Store, delay: float) -> None:
        self._store, self._delay = store, delay
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.workers: dict[Work, Callable[[str], Awaitable[None]]] = {}
        """Work -> what does it, given the resource's id. Set by the engine."""
        store.script(_TABLE)

    def begin(self, work: Work, resource_id: str, rules: LongRunning) -> Operation:
        """Write the operation down; call inside the transaction that changes the resource, then `launch`."""
        operation = Operation(
            rules.prefix + str(uuid.uuid4()), work, resource_id, "Running", rules.running, None, now(), None
        )
        self._store.execute(
            "INSERT INTO arm_operations VALUES (?, ?, ?, 'Running', ?, NULL, ?, NULL)",
            operation.id,
            work,
            resource_id,
            rules.running,
            operation.started,
        )
        return operation

    def launch(self, operation: Operation) -> None:
        task = asyncio.create_task(self._run(operation), name=f"arm {operation.work} {operation.id}")
        self._tasks[operation.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation.id, None))

    def running(self, resource_id: str) -> Operation | None:
        """What works on this resource right now."""
        row = self._store.one(
            "SELECT * FROM arm_operations WHERE status = 'Running' AND resource = ? COLLATE NOCASE", resource_id
        )
        return _operation(row) if row else None

    def find(self, operation_id: str) -> Operation | None:
        row = self._store.one("SELECT * FROM arm_operations WHERE id = ?", operation_id)
        return _operation(row) if row else None

    def start(self) -> None:
        """Take up what a former process left running; forget what ended long ago."""
        horizon = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=_KEPT_DAYS)
        self._store.execute("DELETE FROM arm_operations WHERE ended < ?", stamp(horizon))
        for row in self._store.all("SELECT * FROM arm_operations WHERE status = 'Running' ORDER BY started"):
            self.launch(_operation(row))

    async def stop(self) -> None:
        """Cancel the tasks; their rows stay Running for the next process."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, operation: Operation) -> None:
        await asyncio.sleep(self._delay)
        try:
            await self.workers[operation.work](operation.resource)
        except ArmError as error:
            _log.warning("%s of %s failed: %s", operation.work, operation.resource, error)
            self._end(operation, error.error | {"status": error.status})
        except Exception as error:
            _log.exception("%s of %s failed", operation.work, operation.resource)
            message = f"{operation.work} of '{operation.resource}' failed: {type(error).__name__}: {error}"
            self._end(operation, {"code": "InternalServerError", "message": message, "status": 500})
        else:
            self._end(operation, None)

    def _end(self, operation: Operation, error: Json | None) -> None:
        self._store.execute(
            "UPDATE arm_operations SET status = ?, error = ?, ended = ? WHERE id = ?",
            "Failed" if error else "Succeeded",
            dump(error) if error else None,
            now(),
            operation.id,
        )


def headers(rules: LongRunning, operation: Operation, resource: Resource, call: Call, base: str) -> dict[str, str]:
    """The polling headers of the first answer: absolute URLs with the request's api-version."""
    target = parse(resource.id)
    words = {
        "subscription": target.subscription,
        "group": target.group,
        "name": resource.name,
        "location": resource.location,
        "operation": operation.id,
    }

    def url(template: str) -> str:
        path = template.format(**words)
        return f"{base}{path}{'&' if '?' in path else '?'}api-version={call.api_version}"

    result: dict[str, str] = {}
    if rules.monitor:
        result["Azure-AsyncOperation"] = url(rules.monitor)
    if rules.result:
        result["Location"] = url(rules.result)
    return result | (RETRY_AFTER if result else {})


def now() -> str:
    return stamp(datetime.datetime.now(datetime.UTC))


def stamp(moment: datetime.datetime) -> str:
    """Seven digits of a second, as .NET writes them."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _operation(row: Any) -> Operation:
    error = json.loads(row["error"]) if row["error"] else None
    return Operation(
        row["id"], row["work"], row["resource"], row["status"], row["running"], error, row["started"], row["ended"]
    )
