"""The runs of registries: rows in the database, and a run as ARM shows it."""

from __future__ import annotations

import datetime
import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Literal

from localazure.registry.tasks.request import BuildRequest
from localazure.store import Store, dump

Json = dict[str, Any]
Status = Literal["Queued", "Started", "Running", "Succeeded", "Failed", "Canceled", "Error", "Timeout"]
FINAL = ("Succeeded", "Failed", "Canceled", "Error", "Timeout")

_TABLES = """
CREATE TABLE IF NOT EXISTS registry_runs (
    registry TEXT NOT NULL,            -- lower-case name
    number INTEGER NOT NULL,           -- counts up for each registry
    resource TEXT NOT NULL,            -- the registry's ARM id
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    request TEXT,                      -- gone when the run has ended: it may hold secrets
    body TEXT NOT NULL,                -- the properties that ARM shows, without status
    PRIMARY KEY (registry, number)
);
"""


@dataclass(frozen=True)
class Run:
    registry: str
    number: int
    resource: str
    status: Status
    attempts: int
    request: BuildRequest | None
    body: Json

    @property
    def id(self) -> str:
        """Short and counted for each registry, as ACR's are."""
        return f"cf{self.number}"

    def present(self) -> Json:
        """Azure REST API, containerregistry 2019-06-01-preview, `Run`. `provisioningState` is of the record, not of the build."""
        properties = {"runId": self.id, "status": self.status, "provisioningState": "Succeeded", **self.body}
        return {
            "id": f"{self.resource}/runs/{self.id}",
            "name": self.id,
            "type": "Microsoft.ContainerRegistry/registries/runs",
            "properties": properties,
        }


class Runs:
    def __init__(self, store: Store) -> None:
        self._store = store
        store.script(_TABLES)

    def add(self, registry: str, resource: str, request: BuildRequest) -> Run:
        with self._store.transaction():
            row = self._store.one("SELECT MAX(number) AS last FROM registry_runs WHERE registry = ?", registry)
            number = (row["last"] if row and row["last"] else 0) + 1
            body = {
                "runType": "QuickBuild",
                "createTime": now(),
                "lastUpdatedTime": now(),
                "platform": _platform(request),
                "agentConfiguration": {"cpu": request.agentConfiguration.cpu},
                "isArchiveEnabled": request.isArchiveEnabled,
            }
            self._store.execute(
                "INSERT INTO registry_runs VALUES (?, ?, ?, 'Queued', 0, ?, ?)",
                registry, number, resource, request.model_dump_json(), dump(body),
            )  # fmt: skip
        run = self.get(registry, number)
        assert run
        return run

    def get(self, registry: str, number: int) -> Run | None:
        row = self._store.one("SELECT * FROM registry_runs WHERE registry = ? AND number = ?", registry, number)
        return _run(row) if row else None

    def of(self, registry: str) -> list[Run]:
        """Newest first."""
        rows = self._store.all("SELECT * FROM registry_runs WHERE registry = ? ORDER BY number DESC", registry)
        return [_run(row) for row in rows]

    def unfinished(self) -> list[Run]:
        """Oldest first."""
        rows = self._store.all(
            "SELECT * FROM registry_runs WHERE status IN ('Queued', 'Started', 'Running') "
            "ORDER BY json_extract(body, '$.createTime'), number"
        )
        return [_run(row) for row in rows]

    def update(self, run: Run, status: Status, *, attempts: int | None = None, **changes: Any) -> None:
        """Set the status and properties of a run; nothing when it is gone. The request goes with the end."""
        held = self.get(run.registry, run.number)
        if held is None:
            return
        self._store.execute(
            "UPDATE registry_runs SET status = ?, attempts = ?, body = ?, request = CASE WHEN ? THEN NULL ELSE request END "
            "WHERE registry = ? AND number = ?",
            status,
            held.attempts if attempts is None else attempts,
            dump(held.body | {"lastUpdatedTime": now()} | changes),
            status in FINAL,
            run.registry,
            run.number,
        )

    def forget(self, registry: str) -> None:
        self._store.execute("DELETE FROM registry_runs WHERE registry = ?", registry)


def now() -> str:
    """Seven digits of a second, as .NET writes them."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


def _platform(request: BuildRequest) -> Json:
    system, _, architecture = request.platform.docker.partition("/")
    variant = {"variant": request.platform.variant} if request.platform.variant else {}
    return {"os": system, "architecture": architecture, **variant}


def _run(row: sqlite3.Row) -> Run:
    request = BuildRequest.model_validate_json(row["request"]) if row["request"] else None
    return Run(
        row["registry"],
        row["number"],
        row["resource"],
        row["status"],
        row["attempts"],
        request,
        json.loads(row["body"]),
    )
