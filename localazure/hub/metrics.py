"""The numbers of a configuration: how many devices it targets, applies to, and what they report; and its custom metrics.

System metrics count the same devices as their queries do (`configurations.py`), from one small record for each device instead of its twins.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from localazure.hub.identities import Key
from localazure.hub.queries import Queries
from localazure.hub.query_tree import QuerySyntaxError
from localazure.hub.slices import Slices
from localazure.hub.twin_documents import START, TwinDocuments

SYSTEM = ("targetedCount", "appliedCount", "reportedSuccessfulCount", "reportedFailedCount")
_KEEP_SECONDS = 1.0

Json = dict[str, Any]


@dataclass(frozen=True)
class _Device:
    """`reported` is the metric that its agent counts for, if it has reported on what it should run now."""

    targeted: tuple[str, ...]
    applied: tuple[str, ...]
    reported: str | None


class Metrics:
    """Custom metrics are at most a second old; Azure's lag by minutes."""

    def __init__(self, documents: TwinDocuments, queries: Queries) -> None:
        self._documents = documents
        self._queries = queries
        self._devices: dict[str, _Device] = {}
        self._stale: dict[str, None] = {}
        self._loaded = False
        self._generation = 0
        self._counted: tuple[int, dict[str, Counter[str]]] = (-1, {})
        self._custom: dict[str, tuple[int, float, int]] = {}

    def changed(self, device_id: str) -> None:
        """An identity or a twin of the device, or what is assigned to it, changed."""
        self._generation += 1
        self._stale[device_id] = None

    async def with_results(self, configurations: list[Json]) -> list[Json]:
        """The documents with `systemMetrics.results` and `metrics.results`."""
        counts = await self._system()
        result = []
        for document in configurations:
            edge = "modulesContent" in document["content"]
            own = counts.get(document["id"], Counter())
            system = {name: own[name] for name in SYSTEM} if edge else {}
            custom = {name: await self._value(query) for name, query in document["metrics"]["queries"].items()}
            result.append(
                {
                    **document,
                    "systemMetrics": {**document["systemMetrics"], "results": system},
                    "metrics": {**document["metrics"], "results": custom},
                }
            )
        return result

    async def _system(self) -> dict[str, Counter[str]]:
        slices = Slices()
        if not self._loaded:
            after = START
            while batch := self._documents.following(False, after, 50):
                self._stale.update((key.device_id, None) for key, _ in batch)
                after = batch[-1][0]
                await slices.breathe()
            self._loaded = True
        while self._stale:
            device_id = next(iter(self._stale))
            device = self._read(device_id)
            del self._stale[device_id]
            if device:
                self._devices[device_id] = device
            else:
                self._devices.pop(device_id, None)
            await slices.breathe()
        if self._counted[0] != self._generation:
            self._counted = (self._generation, self._count())
        return self._counted[1]

    def _count(self) -> dict[str, Counter[str]]:
        counts: dict[str, Counter[str]] = {}
        for device in self._devices.values():
            for name in device.targeted:
                counts.setdefault(name, Counter())["targetedCount"] += 1
            for name in device.applied:
                counts[name]["appliedCount"] += 1
                if device.reported:
                    counts[name][device.reported] += 1
        return counts

    def _read(self, device_id: str) -> _Device | None:
        agent = self._documents.get(Key(device_id, "$edgeAgent"))
        if agent is None or not agent.get("configurations"):
            return None
        statuses = agent["configurations"]
        reported = agent["properties"]["reported"]
        status = reported.get("lastDesiredStatus")
        code = status.get("code") if isinstance(status, dict) else None
        outcome = None
        if agent["properties"]["desired"]["$version"] == reported.get("lastDesiredVersion") and isinstance(code, int):
            outcome = "reportedSuccessfulCount" if code == 200 else "reportedFailedCount"
        applied = tuple(name for name, one in statuses.items() if one["status"] == "Applied")
        return _Device(tuple(statuses), applied, outcome)

    async def _value(self, query: str) -> int:
        kept = self._custom.get(query)
        if kept and (kept[0] == self._generation or time.monotonic() - kept[1] < _KEEP_SECONDS):
            return kept[2]
        generation = self._generation
        try:
            value = await self._queries.count(query)
        except QuerySyntaxError:  # stored before metrics were checked
            value = 0
        if len(self._custom) > 1000:
            self._custom.clear()
        self._custom[query] = (generation, time.monotonic(), value)
        return value
