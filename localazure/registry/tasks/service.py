"""The service: schedules runs, works them off two at a time, takes them up after a restart, and imports images.

A run that a stop or a kill of the service interrupted is built again, three times at most, then it is an Error: who polls it sees one
run that takes longer, as when ACR moves a run to another agent. Nothing is pushed before the build is done, so that doing it again is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from localazure.builds.log import BuildError, BuildLog
from localazure.instance import Instance
from localazure.registry.service import RegistryService
from localazure.registry.tasks import importing, names
from localazure.registry.tasks.build import Attempt, build
from localazure.registry.tasks.engine import leave_nothing
from localazure.registry.tasks.errors import TaskError, invalid
from localazure.registry.tasks.importing import ImportRequest
from localazure.registry.tasks.interrupt import BuildEnded, Interrupt, Reason
from localazure.registry.tasks.request import admit
from localazure.registry.tasks.runs import FINAL, Json, Run, Runs, Status, now
from localazure.storage import BlobService
from localazure.storage.service import ACR_TASKS
from localazure.store import Store

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
_PARALLEL = 2
_LINK_LIFETIME = datetime.timedelta(hours=1)
_SOURCE_LIFETIME = datetime.timedelta(days=1)
_STOP_SECONDS = 10.0
# What the log's metadata says at the end; azure-cli (acr/_stream_utils.py) knows failed, timedout, canceled and internalerror.
_COMPLETE = {
    "Succeeded": "successful",
    "Failed": "failed",
    "Canceled": "canceled",
    "Timeout": "timedout",
    "Error": "internalerror",
}
_ENDINGS: dict[Reason, tuple[Status, str]] = {
    "canceled": ("Canceled", "the run was canceled"),
    "timedout": ("Timeout", "the run took longer than its timeout"),
}
T = TypeVar("T")


class TaskService:
    """Registries are named without case; their existence is the caller's to check. Methods raise TaskError for what is refused."""

    def __init__(self, instance: Instance, store: Store, blobs: BlobService, registries: RegistryService) -> None:
        self._blobs, self._registries, self._runs = blobs, registries, Runs(store)
        self._work = instance.folder / "builds" / "acr"
        self.owner = hashlib.sha256(instance.subscription_id.encode()).hexdigest()[:12]
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._tasks: dict[tuple[str, int], tuple[asyncio.Task[None], Interrupt]] = {}

    async def start(self) -> None:
        """Take up what the database says is not done."""
        shutil.rmtree(self._work, ignore_errors=True)
        if self._runs.unfinished():
            await _in_thread(leave_nothing, self.owner)
        for run in self._runs.unfinished():
            if run.attempts >= MAX_ATTEMPTS:
                problem = f"the run was interrupted {run.attempts} times by a stop of the service and is given up"
                self._finish(run, "Error", problem)
            else:
                self._submit(run)

    async def stop(self) -> None:
        """Builds that run are ended; they start again with the next `start`."""
        await self._end(list(self._tasks), "stopped")

    # --- runs

    def upload_url(self, registry: str) -> Json:
        """`{uploadUrl, relativePath}`: where a source may be put, by Put Blob or in blocks."""
        self._sweep(registry)
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d0000")
        path = f"source/{stamp}/{uuid.uuid4().hex}.tar.gz"
        url = self._blobs.url(ACR_TASKS, _owner(registry), path, "rw", _LINK_LIFETIME)
        return {"uploadUrl": url, "relativePath": path}

    def schedule(self, registry: str, resource: str, body: Json | None) -> Json:
        """The new run, queued. `resource` is the registry's ARM id."""
        request = admit(body)
        host = self._registries.login_server(registry)
        for template in request.imageNames:  # refused now rather than after the build
            names.render(
                template,
                run="cf0",
                registry=registry,
                login_server=host,
                when=datetime.datetime.now(datetime.UTC),
                platform=request.platform.docker,
            )
        run = self._runs.add(registry.lower(), resource, request)
        log = self._blobs.files.draft(_owner(registry))
        log.touch()
        self._blobs.files.commit(_owner(registry), _log_name(run), log, content_type="text/plain", growing=True)
        self._submit(run)
        return run.present()

    def runs(self, registry: str) -> list[Json]:
        """Newest first."""
        return [run.present() for run in self._runs.of(registry.lower())]

    def run(self, registry: str, run_id: str) -> Json:
        return self._find(registry, run_id).present()

    def archive(self, registry: str, run_id: str, enabled: Any) -> Json:
        """PATCH knows one property."""
        if not isinstance(enabled, bool):
            raise invalid("isArchiveEnabled must be true or false.")
        run = self._find(registry, run_id)
        self._runs.update(run, run.status, isArchiveEnabled=enabled)
        return self.run(registry, run_id)

    def cancel(self, registry: str, run_id: str) -> None:
        """Ends soon; the run's status tells. Raises TaskError 409 for a run that has ended."""
        run = self._find(registry, run_id)
        if run.status in FINAL:
            raise TaskError(409, "Conflict", f"The run {run.id} has ended ({run.status}) and cannot be canceled.")
        task = self._tasks.get((run.registry, run.number))
        if task:
            task[1].end("canceled")
        if run.status == "Queued":
            self._finish(run, *_ENDINGS["canceled"])

    def log_url(self, registry: str, run_id: str) -> Json:
        """`{logLink}`: a blob that grows; its metadata `Complete` comes with the end."""
        run = self._find(registry, run_id)
        return {"logLink": self._blobs.url(ACR_TASKS, _owner(registry), _log_name(run), "r", _LINK_LIFETIME)}

    def usages(self, registry: str) -> int:
        """Bytes that the registry holds."""
        return self._registries.size(registry)

    async def forget(self, registry: str) -> None:
        """The registry is being deleted: its running builds end, its runs, sources and logs go."""
        key = registry.lower()
        await self._end([held for held in self._tasks if held[0] == key], "canceled")
        self._runs.forget(key)
        self._blobs.files.forget(_owner(registry))

    # --- imports

    def admit_import(self, body: Json | None) -> ImportRequest:
        request = importing.admit(body)
        host = request.source.registryUri
        if host and not self._registries.is_login_server(host):
            raise TaskError(
                501, "NotImplemented", f"The local Azure imports from its own registries only, not '{host}'."
            )
        return request

    async def import_image(self, target: str, request: ImportRequest, source: str | None) -> None:
        """Copy; `source` is the name of the registry that `resourceId` names, None with `registryUri`."""
        if source is None:
            held = request.source.credentials
            user, password = (held.username or "", held.password) if held else ("", "")
            source = self._registries.opens(request.source.registryUri or "", user, password)
        if source is None:
            raise TaskError(
                401,
                "Unauthorized",
                f"{request.source.sourceImage} UNAUTHORIZED: authentication required at the source.",
            )
        async with self._registries.distribution(source) as origin, self._registries.distribution(target) as goal:
            await importing.copy(request, origin, goal)

    # --- inside

    def _find(self, registry: str, run_id: str) -> Run:
        number = run_id[2:] if run_id.startswith("cf") else ""
        run = self._runs.get(registry.lower(), int(number)) if number.isdecimal() and len(number) < 10 else None
        if run is None or run.id != run_id:
            raise TaskError(404, "ResourceNotFound", f"The resource {run_id} could not be found.")
        return run

    def _submit(self, run: Run) -> None:
        key, interrupt = (run.registry, run.number), Interrupt()
        task = asyncio.create_task(self._execute(run, interrupt), name=f"acr run {run.registry}/{run.id}")
        self._tasks[key] = task, interrupt
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _end(self, keys: list[tuple[str, int]], reason: Reason) -> None:
        ending = [self._tasks[key] for key in keys]
        for _, interrupt in ending:
            interrupt.end(reason)
        if not ending:
            return
        _, late = await asyncio.wait([task for task, _ in ending], timeout=_STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _execute(self, run: Run, interrupt: Interrupt) -> None:
        try:
            async with self._slots:
                interrupt.check()
                held = self._runs.get(run.registry, run.number)
                if held is None or held.status in FINAL:
                    return
                self._runs.update(run, "Started", attempts=held.attempts + 1, startTime=now())
                await self._attempt(held, interrupt)
        except BuildEnded as ended:
            if ended.reason in _ENDINGS:  # else the service stops: `start` takes it up
                self._finish(run, *_ENDINGS[ended.reason])
        except BuildError as error:
            self._finish(run, "Failed", str(error))
        except Exception as error:
            _log.exception("the run %s of container registry '%s' failed unexpectedly", run.id, run.registry)
            self._finish(run, "Error", f"internal error: {type(error).__name__}: {error}")

    async def _attempt(self, run: Run, interrupt: Interrupt) -> None:
        request = run.request
        assert request, "kept until the run has ended"
        owner = _owner(run.registry)
        log_blob = self._blobs.files.find(owner, _log_name(run))
        if log_blob is None:
            return  # the registry is being deleted
        login = self._registries.task_login(run.registry)
        host = self._registries.login_server(run.registry)
        timer = asyncio.get_running_loop().call_later(request.timeout, interrupt.end, "timedout")
        work = self._work / uuid.uuid4().hex
        with contextlib.closing(_open_log(log_blob.path, [*request.secrets(), login[1]])) as log:
            if run.attempts:
                log.line("The service was stopped during the build; building again.")
            source = self._blobs.files.find(owner, request.sourceLocation or "")
            created = datetime.datetime.fromisoformat(run.body["createTime"])
            images = [
                names.render(
                    template,
                    run=run.id,
                    registry=run.resource.rsplit("/", 1)[-1],
                    login_server=host,
                    when=created,
                    platform=request.platform.docker,
                )
                for template in request.imageNames
            ]
            attempt = Attempt(
                run.id,
                request,
                host,
                login,
                list(dict.fromkeys(images)),
                source.path if source else None,
                work,
                self.owner,
            )
            try:
                self._runs.update(run, "Running")
                outputs = await build(
                    attempt, log, interrupt, lambda: self._registries.distribution(run.registry), _in_thread
                )
            except BuildError as error:
                log.line(f"failed to run step ID: build: {error}")
                log.line("")
                log.line(f"Run ID: {run.id} failed. Error: {error}")
                raise
            except BuildEnded as ended:
                log.line(
                    "The service is being stopped."
                    if ended.reason == "stopped"
                    else f"Run ID: {run.id} {ended.reason}."
                )
                raise
            finally:
                timer.cancel()
                shutil.rmtree(work, ignore_errors=True)
            log.line(f"Run ID: {run.id} was successful")
        self._finish(run, "Succeeded", None, outputImages=outputs)

    def _finish(self, run: Run, status: Status, problem: str | None, **changes: Any) -> None:
        if problem:
            changes["runErrorMessage"] = problem
        self._runs.update(run, status, finishTime=now(), **changes)
        self._blobs.files.seal(_owner(run.registry), _log_name(run), {"Complete": _COMPLETE[status]})

    def _sweep(self, registry: str) -> None:
        """Sources are kept for a day, as they are uploaded for one run."""
        waiting = {run.request.sourceLocation for run in self._runs.unfinished() if run.request}
        before = datetime.datetime.now(datetime.UTC) - _SOURCE_LIFETIME
        for blob in self._blobs.files.older(_owner(registry), "source/", before.timestamp()):
            if blob not in waiting:
                self._blobs.files.remove(_owner(registry), blob)


def _open_log(path: Path, secrets: list[str]) -> BuildLog:
    return BuildLog(path, newline="\r\n", secrets=secrets)


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


def _owner(registry: str) -> str:
    """Of the blobs; no workspace's id begins so."""
    return f"acr-{registry.lower()}"


def _log_name(run: Run) -> str:
    return f"logs/{run.id}/rawtext.log"
