"""Runs image builds in threads, two at a time, keeps their state in the database, and takes them up again after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread

from localazure.builds.engine import Engine
from localazure.builds.log import BuildError, BuildLog, BuildStopped
from localazure.instance import Instance
from localazure.ml.build import image as image_build
from localazure.ml.build.request import BuildRequest
from localazure.ml.gate import Gate, Workspace
from localazure.ml.tables import timestamp
from localazure.ml.uploads import Uploads
from localazure.storage.blobstore import BlobStore
from localazure.store import Store, dump

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""A build that was under way when the process died is taken up again; one that kills the process must not do so for ever."""
_PARALLEL = 2


class Registries(Protocol):
    def passwords(self, name: str) -> tuple[str, str]: ...


class BuildQueue:
    """States: NotStarted -> Running -> Succeeded or Failed. A stop in between leaves the state; `start` builds again."""

    def __init__(
        self, instance: Instance, store: Store, blobs: BlobStore, uploads: Uploads, gate: Gate, registries: Registries
    ) -> None:
        self._store, self._blobs, self._uploads, self._gate = store, blobs, uploads, gate
        self._registries = registries
        self._work = instance.folder / "builds" / "ml"
        self._owner = instance.subscription_id
        self._engine = Engine(self._owner)
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Take up what the database says is not done."""
        self._engine = Engine(self._owner)
        rows = self._store.all("SELECT id, attempts FROM ml_operations WHERE state IN ('NotStarted', 'Running')")
        for row in rows:
            if row["attempts"] >= MAX_ATTEMPTS:
                message = (
                    f"the build was interrupted {row['attempts']} times by a stop of the service and is given up; "
                    "create the image again"
                )
                self._finish(row["id"], message)
            else:
                self.submit(row["id"])

    async def stop(self) -> None:
        self._engine.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await anyio.to_thread.run_sync(self._engine.end)

    def submit(self, operation: str) -> None:
        """Build the image of a stored operation, as soon as there is room."""
        task = asyncio.create_task(self._run(operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, operation: str) -> None:
        async with self._slots:
            row = self._store.one("SELECT * FROM ml_operations WHERE id = ?", operation)
            blob = self._blobs.find(row["workspace"], log_name(operation)) if row else None
            if not row or not blob:
                return  # the workspace was deleted for good
            self._mark(operation, "Running", attempts=row["attempts"] + 1)
            try:
                with contextlib.closing(BuildLog(blob.path)) as log:
                    location = await self._attempt(row, log)
            except (BuildStopped, asyncio.CancelledError):
                raise  # `start` takes it up
            except BuildError as error:
                self._finish(operation, str(error))
            except Exception as error:
                _log.exception("the build of image %s failed unexpectedly", row["image"])
                self._finish(operation, f"internal error while building: {type(error).__name__}: {error}")
            else:
                self._finish(operation, None, location)

    async def _attempt(self, row: sqlite3.Row, log: BuildLog) -> str:
        """Build and push, with the end in the log; the image's location."""
        if row["attempts"]:
            log.line("The service was stopped during the build; building again.")
        try:
            location = await self._build(row, log)
        except (BuildStopped, asyncio.CancelledError):
            log.line("The service is being stopped.")
            raise
        except BuildError as error:
            log.line(f"Image build failed: {error}")
            raise
        except Exception as error:
            log.line(f"Image build failed: {type(error).__name__}: {error}")
            raise
        log.line(f"Image {location} built and pushed")
        return location

    async def _build(self, row: sqlite3.Row, log: BuildLog) -> str:
        operation, arm_id, packaged = row["id"], row["arm_id"], _is_package(row)
        name, version = row["image"].rsplit(":", 1)
        workspace = self._gate.find(arm_id, {})
        if not workspace:
            raise BuildError(f"the workspace {arm_id} does not exist any more")
        login_server, registry = self._registry(workspace)
        location = f"{login_server}/{name}:{version}"
        if packaged:
            request = self._uploads.package(workspace.key, operation, location)
        else:
            request = self._uploads.request(workspace.key, name, int(version), operation, location)
        work = self._work / uuid.uuid4().hex  # an abandoned thread of an earlier attempt may still hold its own
        try:
            dockerfile = await self._in_thread(image_build.build, request, work, log)
            self._keep_dockerfile(workspace.key, operation, dockerfile)
            username, password = self._credentials(registry)
            await self._in_thread(image_build.push, request.location, username, password, log)
        finally:
            await self._discard(request)
        return request.location

    async def _discard(self, request: BuildRequest) -> None:
        try:
            await self._in_thread(image_build.discard, request.location)
        except Exception:
            _log.warning("cannot remove the image %s from the Docker engine", request.location, exc_info=True)

    def _registry(self, workspace: Workspace) -> tuple[str, str]:
        """Login server and name of the workspace's container registry. Raises BuildError."""
        if not workspace.registry_id:
            raise BuildError(
                "the workspace has no container registry. Azure ML would create one with the first image; the local "
                "Azure does not: set the workspace's containerRegistry"
            )
        resource = self._gate.registry(workspace.registry_id)
        if not resource:
            raise BuildError(f"the workspace's container registry {workspace.registry_id} does not exist")
        return str(resource["properties"]["loginServer"]), str(resource["name"])

    def _credentials(self, registry: str) -> tuple[str, str]:
        try:
            return registry, self._registries.passwords(registry)[0]
        except KeyError as error:
            raise BuildError(f"the container registry {registry} has no admin credentials") from error

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        engine = self._engine

        def work() -> Any:
            with engine.working():
                return function(engine, *arguments)

        # Abandoned at a stop: the engine's `end` ends what the thread waits for.
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    def _keep_dockerfile(self, workspace: str, operation: str, text: str) -> None:
        file = self._blobs.draft(workspace)
        file.write_text(text)
        self._blobs.commit(workspace, dockerfile_name(operation), file, content_type="text/plain")

    def _mark(self, operation: str, state: str, *, attempts: int) -> None:
        self._store.execute(
            "UPDATE ml_operations SET state = ?, attempts = ?, body = json_set(body, '$.state', ?) WHERE id = ?",
            state, attempts, state, operation,
        )  # fmt: skip

    def _finish(self, operation: str, failure: str | None, location: str | None = None) -> None:
        """Operation and image end together."""
        row = self._store.one("SELECT * FROM ml_operations WHERE id = ?", operation)
        if not row:
            return  # the workspace was deleted for good
        state = "Failed" if failure else "Succeeded"
        body = {**json.loads(row["body"]), "state": state, "endTime": timestamp()}
        if failure:
            body["error"] = {
                "code": "ImageBuildFailed",
                "statusCode": 400,
                "message": f"Image build failed: {failure}",
                "details": [{"code": "ImageBuildFailed", "message": failure}],
            }
        packaged = _is_package(row)
        if packaged and location:
            body["resourceLocation"] = location
        name, version = row["image"].rsplit(":", 1)
        self._blobs.seal(row["workspace"], log_name(operation))
        with self._store.transaction():
            self._store.execute(
                "UPDATE ml_operations SET state = ?, body = ? WHERE id = ?", state, dump(body), operation
            )
            if packaged:  # the request may hold a password
                self._store.execute("DELETE FROM ml_packages WHERE operation = ?", operation)
                return
            self._store.execute(
                "UPDATE ml_images SET modified = ?, body = json_set(body, '$.creationState', ?, '$.imageLocation', ?) "
                "WHERE workspace = ? AND name = ? AND version = ?",
                time.time(), state, location, row["workspace"], name, int(version),
            )  # fmt: skip


def _is_package(row: sqlite3.Row) -> bool:
    """Of Model.package; else the operation is an image's."""
    return str(json.loads(row["body"])["operationType"]).startswith("Package")


def log_name(operation: str) -> str:
    return f"ImageLogs/{operation}/build.log"


def dockerfile_name(operation: str) -> str:
    return f"ImageLogs/{operation}/Dockerfile"


def clean(folder: Path) -> None:
    """Working folders that a kill left behind."""
    shutil.rmtree(folder / "builds" / "ml", ignore_errors=True)
