"""Running queries over the twins of a hub."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from localazure.hub.errors import invalid, not_implemented
from localazure.hub.identities import Key
from localazure.hub.query_parser import parse_query
from localazure.hub.query_tree import UNDEFINED, Aggregate, Column, Path, QuerySyntaxError, Select
from localazure.hub.query_values import condition, is_number, reader
from localazure.hub.slices import Slices
from localazure.hub.twin_documents import START, TwinDocuments
from localazure.store import dump

PAGE = 100
_BATCH = 20

Json = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """`kind` is for x-ms-item-type, `continuation` for x-ms-continuation: None after the last page."""

    items: list[Json]
    kind: str
    continuation: str | None


class Queries:
    """Changes during a query may show or not, as with the service, whose results lag."""

    def __init__(self, documents: TwinDocuments) -> None:
        self._documents = documents

    async def page(self, text: str, continuation: str | None, size: int) -> Page:
        """At most `size` items. Raises 400 for what is no query or no continuation of this one, 501 for jobs."""
        try:
            select = parse_query(text)
        except QuerySyntaxError as error:
            raise invalid(f"the query is not valid: {error}") from None
        if select.source == "devices.jobs":
            raise not_implemented("queries of jobs (FROM devices.jobs)")
        last, done = _read(continuation, text)
        if select.aggregated:
            rows = await self._rows(select)
            rest = _token(text, START, done + size) if done + size < len(rows) else None
            return Page(rows[done : done + size], "Raw", rest)
        left = size if select.top is None else min(size, select.top - done)
        items: list[Json] = []
        more = False
        if left > 0:
            async for key, document in self._matching(select, last):
                if len(items) == left:
                    more = True
                    break
                items.append(_row(select, document))
                last = key
        if select.top is not None and done + len(items) >= select.top:
            more = False
        token = _token(text, last, done + len(items)) if more else None
        return Page(items, "Raw" if select.columns else "Twin", token)

    async def count(self, text: str) -> int:
        """How many items a query has. Raises QuerySyntaxError."""
        select = parse_query(text)
        if select.aggregated:
            return len(await self._rows(select))
        found = 0
        async for _ in self._matching(select, START):
            found += 1
        return found if select.top is None else min(found, select.top)

    async def _matching(self, select: Select, after: Key) -> AsyncIterator[tuple[Key, Json]]:
        wanted, slices = condition(select.where), Slices()
        modules = select.source == "devices.modules"
        while batch := self._documents.following(modules, after, _BATCH):
            for key, document in batch:
                if wanted(document):
                    yield key, document
            after = batch[-1][0]
            await slices.breathe()

    async def _rows(self, select: Select) -> list[Json]:
        groups = _Groups(select)
        async for _, document in self._matching(select, START):
            groups.add(document)
        return groups.rows() if select.top is None else groups.rows()[: select.top]


def _row(select: Select, document: Json) -> Json:
    if not select.columns:
        return document
    values = {column.alias: reader(column.path)(document) for column in select.columns if column.path}
    return {alias: value for alias, value in values.items() if value is not UNDEFINED}


class _Numbers:
    """What the aggregations need of the numbers seen so far."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: float = 0
        self.min: float = math.inf
        self.max: float = -math.inf

    def add(self, number: float) -> None:
        self.count += 1
        self.sum += number
        self.min = min(self.min, number)
        self.max = max(self.max, number)

    def value(self, function: str) -> Any:
        """UNDEFINED when there was no number."""
        if not self.count:
            return UNDEFINED
        return {"avg": self.sum / self.count, "sum": self.sum, "min": self.min, "max": self.max}[function]


class _Groups:
    """One row for each combination of the grouping values, in the order of their first appearance; one row without GROUP BY."""

    def __init__(self, select: Select) -> None:
        self._columns = select.columns
        self._by = [(path, reader(path)) for path in select.group_by]
        self._sums = [
            (column.alias, reader(column.path))
            for column in select.columns
            if isinstance(column, Aggregate) and column.path
        ]
        self._groups: dict[str, tuple[dict[Path, Any], dict[str, _Numbers], list[int]]] = {}
        if not self._by:
            self._group({})

    def add(self, document: Json) -> None:
        _, sums, count = self._group({path: read(document) for path, read in self._by})
        count[0] += 1
        for alias, read in self._sums:
            value = read(document)
            if is_number(value):
                sums[alias].add(value)

    def rows(self) -> list[Json]:
        rows = []
        for values, sums, count in self._groups.values():
            row: Json = {}
            for column in self._columns:
                if isinstance(column, Column):
                    row[column.alias] = values[column.path]
                elif column.path is None:
                    row[column.alias] = count[0]
                else:
                    row[column.alias] = sums[column.alias].value(column.function)
            rows.append({alias: value for alias, value in row.items() if value is not UNDEFINED})
        return rows

    def _group(self, values: dict[Path, Any]) -> tuple[dict[Path, Any], dict[str, _Numbers], list[int]]:
        key = dump([[] if value is UNDEFINED else [value] for value in values.values()])
        if key not in self._groups:
            self._groups[key] = (values, {alias: _Numbers() for alias, _ in self._sums}, [0])
        return self._groups[key]


def _token(text: str, last: Key, done: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([_digest(text), *last, done]).encode()).decode()


def _read(token: str | None, text: str) -> tuple[Key, int]:
    """(the last key, how many items came before)."""
    if not token:
        return START, 0
    try:
        digest, device_id, module_id, done = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, TypeError, binascii.Error):
        raise invalid("x-ms-continuation is not a token that this hub gave") from None
    if digest != _digest(text) or not isinstance(device_id, str) or not isinstance(module_id, str):
        raise invalid("x-ms-continuation belongs to another query")
    if isinstance(done, bool) or not isinstance(done, int) or done < 0:
        raise invalid("x-ms-continuation is not a token that this hub gave")
    return Key(device_id, module_id), done


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
