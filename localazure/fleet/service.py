"""The daemon's side of a simulated fleet: which IoT Edge identities are its, and the processes that play them.

An identity that is the fleet's once stays so, over restarts and after the fleet is stopped: it never becomes a device with containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from localazure.instance import MQTT_PORT, Instance
from localazure.store import Store

log = logging.getLogger("localazure.fleet")

PER_PROCESS = 500
MOST = 10_000
_STOP_SECONDS = 10.0
_PAUSE_SECONDS = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS fleet_settings (
    one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, match TEXT NOT NULL, fail REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS fleet_devices (host TEXT NOT NULL, device_id TEXT NOT NULL, PRIMARY KEY (host, device_id));
"""


class FleetError(Exception):
    """The fleet cannot be set so; the message says why."""


class Hubs(Protocol):
    def agent_key(self, host: str, device_id: str) -> str | None: ...


@dataclass
class _Worker:
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    devices: set[tuple[str, str]] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)


class FleetService:
    """`on_edge_device` is the listener for the hubs: what is not the fleet's goes on to `others`, the supervisor of devices with
    containers. `size` 0 is no fleet: its identities are then offline."""

    def __init__(
        self, instance: Instance, store: Store, hubs: Hubs, others: Callable[[str, str, str | None], None]
    ) -> None:
        store.script(_SCHEMA)
        self._instance, self._store, self._hubs, self._others = instance, store, hubs, others
        row = store.one("SELECT size, match, fail FROM fleet_settings")
        self._size: int = row["size"] if row else 0
        self._match: str = row["match"] if row else ""
        self._fail: float = row["fail"] if row else 0.0
        self._ours = {(one["host"], one["device_id"]) for one in store.all("SELECT host, device_id FROM fleet_devices")}
        self._others_devices: dict[tuple[str, str], str] = {}
        self._workers: list[_Worker] = []
        self._running = False

    async def start(self) -> None:
        self._running = True
        self._settle()

    async def stop(self) -> None:
        self._running = False
        await asyncio.gather(*(self._end(worker) for worker in self._workers))
        self._workers = []

    def on_edge_device(self, host: str, device_id: str, primary_key: str | None) -> None:
        """A new identity is the fleet's while it has room and the id matches. Those told before `start` are from an earlier run."""
        key = (host, device_id)
        if primary_key is None:
            self._gone(key)
        elif key in self._ours or (self._running and key not in self._others_devices and self._wants(device_id)):
            self._keep(key)
            self._settle(again=key)
        else:
            self._others_devices[key] = primary_key
        if key not in self._ours:
            self._others(host, device_id, primary_key)

    async def change(self, size: int | None, match: str | None, fail: float | None) -> None:
        """What is None stays. A `match` that is given takes devices over that have containers now. Raises FleetError."""
        size = self._size if size is None else size
        if not 0 <= size <= MOST:
            raise FleetError(f"a fleet has 0 to {MOST} devices")
        if fail is not None and not 0 <= fail <= 1:
            raise FleetError("the share that fails is from 0% to 100%")
        try:
            re.compile(match or "")
        except re.error as error:
            raise FleetError(f"{match!r} is no regular expression: {error}") from None
        self._size, self._fail = size, self._fail if fail is None else fail
        if match is not None:
            self._match = match
        self._store.execute(
            "INSERT OR REPLACE INTO fleet_settings VALUES (1, ?, ?, ?)", self._size, self._match, self._fail
        )
        if match:
            for key in [key for key in self._others_devices if self._wants(key[1])]:
                del self._others_devices[key]
                self._others(*key, None)
                self._keep(key)
        self._settle()
        for worker in self._workers:
            self._tell(worker, {"fail": self._fail})

    def describe(self) -> dict[str, Any]:
        """Counts are a second old at most."""
        totals = {
            name: sum(worker.counts.get(name, 0) for worker in self._workers) for name in ("connected", "failing")
        }
        running = [worker.process.pid for worker in self._workers if worker.process]
        return {
            "size": self._size,
            "match": self._match,
            "fail": self._fail,
            "devices": len(self._ours),
            **totals,
            "processes": running,
        }

    def _wants(self, device_id: str) -> bool:
        return len(self._ours) < self._size and bool(re.fullmatch(self._match or ".*", device_id))

    def _keep(self, key: tuple[str, str]) -> None:
        if key not in self._ours:
            self._ours.add(key)
            self._store.execute("INSERT OR IGNORE INTO fleet_devices VALUES (?, ?)", *key)

    def _gone(self, key: tuple[str, str]) -> None:
        self._others_devices.pop(key, None)
        if key not in self._ours:
            return
        self._ours.discard(key)
        self._store.execute("DELETE FROM fleet_devices WHERE host = ? AND device_id = ?", *key)
        for worker in self._workers:
            if key in worker.devices:
                worker.devices.discard(key)
                self._tell(worker, {"remove": list(key)})

    def _settle(self, again: tuple[str, str] | None = None) -> None:
        """Every device of the fleet with a worker, as many as its size says; `again` has another key."""
        if not self._running:
            return
        placed = {key for worker in self._workers for key in worker.devices}
        for key in sorted(self._ours - placed)[: max(self._size - len(placed), 0)]:
            worker = next((one for one in self._workers if len(one.devices) < PER_PROCESS), None)
            if worker is None:
                worker = _Worker()
                worker.task = asyncio.create_task(self._run(worker))
                self._workers.append(worker)
            worker.devices.add(key)
            self._add(worker, key)
        for worker in self._workers:
            if again in worker.devices and again in placed:
                assert again
                self._add(worker, again)
            while len(worker.devices) and sum(len(one.devices) for one in self._workers) > self._size:
                self._tell(worker, {"remove": list(worker.devices.pop())})

    def _add(self, worker: _Worker, key: tuple[str, str]) -> None:
        agent_key = self._hubs.agent_key(*key)
        if agent_key:
            self._tell(worker, {"add": [*key, agent_key]})

    def _tell(self, worker: _Worker, command: dict[str, Any]) -> None:
        """A worker that is not there (yet, any more) hears all of it when it starts."""
        if worker.process and worker.process.stdin and not worker.process.stdin.is_closing():
            worker.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _run(self, worker: _Worker) -> None:
        """A process, and another one when it ends."""
        while True:
            worker.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "localazure.fleet",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                cwd=Path(__file__).parents[2], start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            place = {"address": self._instance.address, "port": MQTT_PORT, "ca": str(self._instance.ca)}
            self._tell(worker, place)
            self._tell(worker, {"fail": self._fail})
            for key in sorted(worker.devices):
                self._add(worker, key)
            log.info("process %d plays %d devices", worker.process.pid, len(worker.devices))
            assert worker.process.stdout
            with contextlib.suppress(ValueError, OSError):
                while line := await worker.process.stdout.readline():
                    worker.counts = json.loads(line)
            code = await worker.process.wait()
            worker.counts = {}
            log.warning("a process of the simulated fleet ended with code %s: it is started again", code)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _end(self, worker: _Worker) -> None:
        if worker.task:
            worker.task.cancel()
            await asyncio.gather(worker.task, return_exceptions=True)
        process = worker.process
        if process is None or process.returncode is not None:
            return
        if process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
