"""Twins as the service side sees them: one by one, and in the order of their keys for queries and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from sqlite3 import Row
from typing import Any

from localazure.hub.identities import Key
from localazure.hub.twins import read_twin
from localazure.store import Store

_SELECT = (
    "SELECT i.device_id, i.module_id, i.document AS identity, i.last_activity, t.document AS twin,"
    " d.document AS device, a.configurations"
    " FROM hub_identities i"
    " JOIN hub_twins t ON t.hub = i.hub AND t.device_id = i.device_id AND t.module_id = i.module_id"
    " JOIN hub_identities d ON d.hub = i.hub AND d.device_id = i.device_id AND d.module_id = ''"
    " LEFT JOIN hub_assignments a ON a.hub = i.hub AND a.device_id = i.device_id AND a.module_id = i.module_id"
    " WHERE i.hub = ?"
)
START = Key("", "")

Json = dict[str, Any]


class TwinDocuments:
    """`connected` says whether a client is there."""

    def __init__(self, store: Store, hub: str, connected: Callable[[Key], bool]) -> None:
        self._store = store
        self._hub = hub
        self._connected = connected

    def get(self, key: Key) -> Json | None:
        row = self._store.one(f"{_SELECT} AND i.device_id = ? AND i.module_id = ?", self._hub, *key)
        return self._document(row) if row else None

    def following(self, modules: bool, after: Key, limit: int) -> list[tuple[Key, Json]]:
        """The next `limit` twins of devices, or of modules, behind the key `after`; START begins."""
        kind = "i.module_id != ''" if modules else "i.module_id = ''"
        rows = self._store.all(
            f"{_SELECT} AND (i.device_id, i.module_id) > (?, ?) AND {kind} ORDER BY i.device_id, i.module_id LIMIT ?",
            self._hub, *after, limit,
        )  # fmt: skip
        return [(Key(row["device_id"], row["module_id"]), self._document(row)) for row in rows]

    def _document(self, row: Row) -> Json:
        key = Key(row["device_id"], row["module_id"])
        identity, device, twin = json.loads(row["identity"]), json.loads(row["device"]), read_twin(row["twin"])
        document = {
            "deviceId": key.device_id,
            **({"moduleId": key.module_id} if key.module_id else {}),
            "etag": twin.etag,
            "deviceEtag": identity["etag"],
            "status": device["status"],
            "statusReason": device["statusReason"],
            "statusUpdateTime": device["statusUpdatedTime"],
            "connectionState": "Connected" if self._connected(key) else "Disconnected",
            "lastActivityTime": row["last_activity"],
            "cloudToDeviceMessageCount": 0,
            "authenticationType": identity["authentication"]["type"],
            "x509Thumbprint": identity["authentication"]["x509Thumbprint"],
            "modelId": "",
            "version": twin.version,
            "properties": {"desired": twin.desired.wire(metadata=True), "reported": twin.reported.wire(metadata=True)},
        }
        if not key.module_id:
            document["capabilities"] = device["capabilities"]
            document.update({name: device[name] for name in ("deviceScope", "parentScopes") if name in device})
        if twin.tags or not key.module_id:
            document["tags"] = twin.tags
        if row["configurations"]:
            document["configurations"] = json.loads(row["configurations"])
        return document
