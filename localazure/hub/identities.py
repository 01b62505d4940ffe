"""The identity registry of one hub: devices and modules."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Iterator
from sqlite3 import Row
from typing import Any, NamedTuple

from localazure.hub import etags
from localazure.hub.errors import HubError, invalid, not_implemented
from localazure.hub.layers import SYSTEM_MODULES
from localazure.hub.policies import new_key
from localazure.hub.tables import NEVER, now
from localazure.hub.twins import Twins
from localazure.store import Store, dump

MAX_MODULES = 50  # per device (learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling)
_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")
_SCOPE = "ms-azure-iot-edge://"

Json = dict[str, Any]


class Key(NamedTuple):
    """Who: a device, or a module of it. `module_id` is '' for the device itself."""

    device_id: str
    module_id: str = ""

    @property
    def path(self) -> str:
        """`devices/{id}[/modules/{id}]`, as in topics and in the resource of a token."""
        return f"devices/{self.device_id}" + (f"/modules/{self.module_id}" if self.module_id else "")

    def missing(self) -> HubError:
        if self.module_id:
            return HubError("ModuleNotFound", f"Module {self.module_id} on device {self.device_id} not registered")
        return HubError("DeviceNotFound", f"Device {self.device_id} not registered")


class Identities:
    """Documents as they are on the wire, without what belongs to the connection. All methods expect an open transaction or none."""

    def __init__(self, store: Store, hub: str, twins: Twins) -> None:
        self._store = store
        self._hub = hub
        self._twins = twins

    def find(self, key: Key) -> Json | None:
        """The identity with `connectionStateUpdatedTime` and `lastActivityTime`; `connectionState` is for the caller to add."""
        row = self._store.one(
            "SELECT * FROM hub_identities WHERE hub = ? AND device_id = ? AND module_id = ?", self._hub, *key
        )
        return _identity(row) if row else None

    def get(self, key: Key) -> Json:
        """Raises DeviceNotFound or ModuleNotFound."""
        identity = self.find(key)
        if identity is None:
            raise (key if not key.module_id or self.find(Key(key.device_id)) else Key(key.device_id)).missing()
        return identity

    def devices(self, top: int) -> list[Json]:
        return list(self._where("hub = ? AND module_id = '' ORDER BY device_id LIMIT ?", self._hub, top))

    def modules(self, device_id: str) -> list[Json]:
        """Raises DeviceNotFound."""
        self.get(Key(device_id))
        return list(self._modules(device_id))

    def children(self, scope: str) -> list[Json]:
        """The devices whose parent is the edge device with this `deviceScope`."""
        return [device for device in self.devices(-1) if scope in device["parentScopes"]]

    def put_device(self, device_id: str, body: Json, if_match: str | None) -> Json:
        """Create (no If-Match) or update (with one). An edge device gets its system modules."""
        current = self._precondition(Key(device_id), body.get("deviceId"), if_match, "DeviceAlreadyExists")
        generation = current["generationId"] if current else _generation()
        edge = bool(_object(body, "capabilities").get("iotEdge"))
        status = body.get("status") or "enabled"
        if status not in ("enabled", "disabled"):
            raise invalid(f"status '{status}' is neither enabled nor disabled")
        scope, parents = self._scopes(device_id, generation, edge, body)
        document = {
            "deviceId": device_id,
            "generationId": generation,
            "etag": etags.new_etag(),
            "status": status,
            "statusReason": body.get("statusReason"),
            "statusUpdatedTime": _status_time(current, status),
            "cloudToDeviceMessageCount": 0,
            "authentication": _authentication(body),
            "capabilities": {"iotEdge": edge},
            **({"deviceScope": scope} if scope else {}),
            "parentScopes": parents,
        }
        self._write(Key(device_id), document, new=current is None)
        if edge:
            for module_id in SYSTEM_MODULES:
                if self.find(Key(device_id, module_id)) is None:
                    self.add_module(Key(device_id, module_id))
        return self.get(Key(device_id))

    def put_module(self, key: Key, body: Json, if_match: str | None) -> Json:
        self.get(Key(key.device_id))
        if body.get("deviceId", key.device_id) != key.device_id:
            raise invalid(f"deviceId in the body is not {key.device_id}, the one of the path")
        current = self._precondition(key, body.get("moduleId"), if_match, "ModuleAlreadyExistsOnDevice")
        self._write_module(key, current, body.get("managedBy"), _authentication(body))
        return self.get(key)

    def add_module(self, key: Key) -> None:
        """A module identity that IoT Edge manages, with new keys."""
        self._write_module(key, None, "iotEdge", _authentication({}))

    def delete(self, key: Key, if_match: str | None) -> None:
        """With a device go its modules, and every twin."""
        identity = self.get(key)
        if key.module_id in SYSTEM_MODULES and self.get(Key(key.device_id))["capabilities"]["iotEdge"]:
            raise invalid(
                f"{key.module_id} is a system module of the IoT Edge device {key.device_id}: it cannot be deleted"
            )
        etags.require(etags.wanted(if_match), identity["etag"], key.path)
        self.remove(key)

    def remove(self, key: Key) -> None:
        where = "hub = ? AND device_id = ?" + (" AND module_id = ?" if key.module_id else "")
        values = key if key.module_id else (key.device_id,)
        self._store.execute(f"DELETE FROM hub_identities WHERE {where}", self._hub, *values)  # noqa: S608 - constants

    def touch(self, key: Key, connection: bool) -> None:
        """Note activity, and with `connection` that the connection state changed."""
        time_ = now()
        self._store.execute(
            "UPDATE hub_identities SET last_activity = ?, connection_updated = CASE WHEN ? THEN ? ELSE connection_updated END"
            " WHERE hub = ? AND device_id = ? AND module_id = ?",
            time_, connection, time_, self._hub, *key,
        )  # fmt: skip

    def subscriptions(self, key: Key) -> dict[str, int] | None:
        """What `keep_subscriptions` kept."""
        row = self._store.one(
            "SELECT subscriptions FROM hub_identities WHERE hub = ? AND device_id = ? AND module_id = ?",
            self._hub,
            *key,
        )
        return json.loads(row["subscriptions"]) if row and row["subscriptions"] else None

    def keep_subscriptions(self, key: Key, subscriptions: dict[str, int] | None) -> None:
        self._store.execute(
            "UPDATE hub_identities SET subscriptions = ? WHERE hub = ? AND device_id = ? AND module_id = ?",
            dump(subscriptions) if subscriptions is not None else None, self._hub, *key,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Devices by status."""
        statuses = [device["status"] for device in self.devices(-1)]
        return {status: statuses.count(status) for status in ("enabled", "disabled")}

    def _modules(self, device_id: str) -> Iterator[Json]:
        return self._where("hub = ? AND device_id = ? AND module_id != '' ORDER BY module_id", self._hub, device_id)

    def _where(self, condition: str, *values: Any) -> Iterator[Json]:
        return map(_identity, self._store.all(f"SELECT * FROM hub_identities WHERE {condition}", *values))  # noqa: S608

    def _precondition(self, key: Key, named: Any, if_match: str | None, exists: str) -> Json | None:
        """The identity that is to be updated, None for a creation."""
        name = key.module_id or key.device_id
        if named != name:
            raise invalid(f"the id in the body, {named!r}, is not {name!r}, the one of the path")
        if not _ID.fullmatch(name):
            raise invalid(f"the id {name!r} is not 1 to 128 letters, digits or -:.+%_#*?!(),=@;$'")
        current, tag = self.find(key), etags.wanted(if_match)
        if current is None and tag is not None:
            raise key.missing()
        if current is not None:
            if tag is None:
                raise HubError(exists, f"{key.path} is already registered; send If-Match to update it")
            etags.check(tag, current["etag"])
        return current

    def _write_module(self, key: Key, current: Json | None, managed_by: Any, authentication: Json) -> None:
        if current is None and sum(1 for _ in self._modules(key.device_id)) >= MAX_MODULES:
            raise HubError(
                "TooManyModulesOnDevice", f"Device {key.device_id} has {MAX_MODULES} modules, the most there can be"
            )
        document = {
            "moduleId": key.module_id,
            "managedBy": managed_by,
            "deviceId": key.device_id,
            "generationId": current["generationId"] if current else _generation(),
            "etag": etags.new_etag(),
            "cloudToDeviceMessageCount": 0,
            "authentication": authentication,
        }
        self._write(key, document, new=current is None)

    def _write(self, key: Key, document: Json, new: bool) -> None:
        if new:
            self._store.execute(
                "INSERT INTO hub_identities VALUES (?, ?, ?, ?, ?, ?, NULL)",
                self._hub,
                *key,
                dump(document),
                NEVER,
                NEVER,
            )
            self._twins.create(key)
        else:
            self._store.execute(
                "UPDATE hub_identities SET document = ? WHERE hub = ? AND device_id = ? AND module_id = ?",
                dump(document), self._hub, *key,
            )  # fmt: skip

    def _scopes(self, device_id: str, generation: str, edge: bool, body: Json) -> tuple[str | None, list[str]]:
        """(deviceScope, parentScopes): an edge device has a scope of its own, another one lies in its parent's."""
        parents = body.get("parentScopes") or []
        if not isinstance(parents, list) or len(parents) > 1:
            raise invalid("parentScopes is not a list of at most one scope")
        if not edge and body.get("deviceScope"):
            parents = [body["deviceScope"]]
        for parent in parents:
            self._check_parent(device_id, parent)
        own = f"{_SCOPE}{device_id}-{generation}"
        return own if edge else (parents[0] if parents else None), parents

    def _check_parent(self, device_id: str, parent: Any) -> None:
        parent_id = str(parent).removeprefix(_SCOPE).rpartition("-")[0]
        found = self.find(Key(parent_id))
        if (
            parent_id == device_id
            or found is None
            or found.get("deviceScope") != parent
            or not found["capabilities"]["iotEdge"]
        ):
            raise HubError("InvalidDeviceScope", f"'{parent}' is not the deviceScope of an IoT Edge device of this hub")


def _identity(row: Row) -> Json:
    times = {"connectionStateUpdatedTime": row["connection_updated"], "lastActivityTime": row["last_activity"]}
    return {**json.loads(row["document"]), **times}


def keys(identity: Json) -> list[str]:
    """The symmetric keys of an identity; empty without."""
    symmetric = identity["authentication"].get("symmetricKey") or {}
    return [key for key in (symmetric.get("primaryKey"), symmetric.get("secondaryKey")) if key]


def _status_time(current: Json | None, status: str) -> str:
    if current is None:
        return NEVER
    return current["statusUpdatedTime"] if current["status"] == status else now()


def _generation() -> str:
    return str(621355968000000000 + time.time_ns() // 100)  # .NET ticks, as the service's


def _authentication(body: Json) -> Json:
    authentication = _object(body, "authentication")
    kind = authentication.get("type") or "sas"
    thumbprints = {"primaryThumbprint": None, "secondaryThumbprint": None}
    if kind == "none":
        return {
            "type": "none",
            "symmetricKey": {"primaryKey": None, "secondaryKey": None},
            "x509Thumbprint": thumbprints,
        }
    if kind in ("selfSigned", "certificateAuthority"):
        raise not_implemented(f"authentication type {kind} (X.509)")
    if kind != "sas":
        raise invalid(f"authentication type '{kind}' is not one of sas, selfSigned, certificateAuthority, none")
    given = _object(authentication, "symmetricKey")
    primary, secondary = given.get("primaryKey") or "", given.get("secondaryKey") or ""
    if bool(primary) != bool(secondary):
        raise invalid("give both symmetric keys or none")
    for key in (primary, secondary):
        _check_key(key)
    symmetric = {"primaryKey": primary or new_key(), "secondaryKey": secondary or new_key()}
    return {"symmetricKey": symmetric, "x509Thumbprint": thumbprints, "type": "sas"}


def _check_key(key: Any) -> None:
    """16 to 64 bytes in base64 (learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry)."""
    if key == "":
        return
    try:
        length = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError, TypeError):
        length = 0
    if not 16 <= length <= 64:
        raise invalid("a symmetric key is not 16 to 64 bytes in base64")


def _object(body: Json, name: str) -> Json:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{name} is not an object")
    return value
