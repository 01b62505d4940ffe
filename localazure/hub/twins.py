"""The twins of one hub: what is stored of them and how they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from localazure.hub import twin_rules as rules
from localazure.hub.etags import counter_etag
from localazure.hub.tables import now
from localazure.store import Store, dump

Json = dict[str, Any]
TwinKey = tuple[str, str]
"""(device id, module id or '')."""


@dataclass
class Section:
    content: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    version: int = 1

    def wire(self, metadata: bool) -> Json:
        """With `$version`, and for the service side with `$metadata`."""
        extra = {"$metadata": self.metadata} if metadata else {}
        return {**self.content, **extra, "$version": self.version}


@dataclass
class Twin:
    """`version` counts every change, `tag` only those of the back end: reported properties do not spoil an etag."""

    tags: Json = field(default_factory=dict)
    desired: Section = field(default_factory=Section)
    reported: Section = field(default_factory=Section)
    version: int = 2
    tag: int = 1

    @property
    def etag(self) -> str:
        return counter_etag(self.tag)


@dataclass(frozen=True)
class DesiredChange:
    """What a connected client is told: `patch` as a merge patch with `$version`."""

    key: TwinKey
    patch: Json


class Twins:
    """All methods expect that the identity exists, and write in the caller's transaction."""

    def __init__(self, store: Store, hub: str) -> None:
        self._store = store
        self._hub = hub

    def create(self, key: TwinKey) -> None:
        time = now()
        twin = Twin()
        twin.desired.metadata = {"$lastUpdated": time}
        twin.reported.metadata = {"$lastUpdated": time}
        self._store.execute("INSERT INTO hub_twins VALUES (?, ?, ?, ?)", self._hub, *key, dump(_stored(twin)))

    def get(self, key: TwinKey) -> Twin:
        row = self._store.one(
            "SELECT document FROM hub_twins WHERE hub = ? AND device_id = ? AND module_id = ?", self._hub, *key
        )
        assert row, f"identity {key} has no twin"
        return read_twin(row["document"])

    def write(self, key: TwinKey, tags: Json | None, desired: Json | None, replace: bool) -> DesiredChange | None:
        """The back end's write: merge (PATCH) or `replace` the sections that are not None. Raises HubError for what is not allowed."""
        twin = self.get(key)
        change = None
        if tags is not None:
            twin.tags = rules.merge({} if replace else twin.tags, rules.without_system(tags))
            rules.check("tags", twin.tags)
        if desired is not None:
            patch = rules.without_system(desired)
            if replace:
                patch = rules.replacement_patch(twin.desired.content, rules.merge({}, patch))
            self._update("properties.desired", twin.desired, patch, versioned=True)
            change = DesiredChange(key, {**patch, "$version": twin.desired.version})
        if tags is not None or desired is not None:
            twin.tag += 1
            twin.version += 1
            self._save(key, twin)
        return change

    def report(self, key: TwinKey, patch: Json) -> int:
        """The client's write. Returns the new `$version`; raises HubError."""
        twin = self.get(key)
        self._update("properties.reported", twin.reported, rules.without_system(patch), versioned=False)
        twin.version += 1
        self._save(key, twin)
        return twin.reported.version

    def _update(self, name: str, section: Section, patch: Json, versioned: bool) -> None:
        section.content = rules.merge(section.content, patch)
        rules.check(name, section.content)
        section.version += 1
        section.metadata = rules.stamp(section.metadata, patch, now(), section.version if versioned else None)

    def _save(self, key: TwinKey, twin: Twin) -> None:
        self._store.execute(
            "UPDATE hub_twins SET document = ? WHERE hub = ? AND device_id = ? AND module_id = ?",
            dump(_stored(twin)), self._hub, *key,
        )  # fmt: skip


def read_twin(text: str) -> Twin:
    """From the column `document`."""
    stored = json.loads(text)
    return Twin(
        tags=stored["tags"],
        desired=Section(**stored["desired"]),
        reported=Section(**stored["reported"]),
        version=stored["version"],
        tag=stored["tag"],
    )


def _stored(twin: Twin) -> Json:
    """As dataclasses.asdict, which would copy every leaf: that is a third of the time of a large deployment."""
    return {**vars(twin), "desired": vars(twin.desired), "reported": vars(twin.reported)}
