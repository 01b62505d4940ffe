"""A hub's shared access policies and what their rights allow."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Mapping

from localazure.store import Store

# As IoT Hub makes them; `rights` in the words of ARM's listkeys. RegistryWrite includes RegistryRead.
DEFAULTS = (
    ("iothubowner", "RegistryWrite, ServiceConnect, DeviceConnect"),
    ("service", "ServiceConnect"),
    ("device", "DeviceConnect"),
    ("registryRead", "RegistryRead"),
    ("registryReadWrite", "RegistryWrite"),
)

ALL_RIGHTS = frozenset({"RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"})


def new_key() -> str:
    """32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Policies:
    """The policies of one hub."""

    def __init__(self, store: Store, hub: str) -> None:
        self._store = store
        self._hub = hub

    def create(self) -> None:
        for position, (name, rights) in enumerate(DEFAULTS):
            self._store.execute(
                "INSERT INTO hub_policies VALUES (?, ?, ?, ?, ?, ?)",
                self._hub, position, name, new_key(), new_key(), rights,
            )  # fmt: skip

    def all(self) -> list[dict[str, str]]:
        """`keyName`, `primaryKey`, `secondaryKey`, `rights`, in IoT Hub's order."""
        rows = self._store.all(
            "SELECT name AS keyName, primary_key AS primaryKey, secondary_key AS secondaryKey, rights"
            " FROM hub_policies WHERE hub = ? ORDER BY position",
            self._hub,
        )
        return [dict(row) for row in rows]

    def replace(self, policies: Iterable[Mapping[str, str]]) -> None:
        """Have just these (`keyName`, `rights`); one without keys keeps those that it has, or gets new ones. In one transaction."""
        held = {policy["keyName"]: policy for policy in self.all()}
        with self._store.transaction():
            self._store.execute("DELETE FROM hub_policies WHERE hub = ?", self._hub)
            for position, policy in enumerate(policies):
                old = held.get(policy["keyName"], {})
                keys = [policy.get(which) or old.get(which) or new_key() for which in ("primaryKey", "secondaryKey")]
                self._store.execute(
                    "INSERT INTO hub_policies VALUES (?, ?, ?, ?, ?, ?)",
                    self._hub, position, policy["keyName"], *keys, policy["rights"],
                )  # fmt: skip

    def regenerate(self, name: str, which: str) -> None:
        """A new `primary` or `secondary` key, or `swap` of the two. Raises KeyError for an unknown policy."""
        changes = {
            "primary": ("primary_key = ?", (new_key(),)),
            "secondary": ("secondary_key = ?", (new_key(),)),
            "swap": ("primary_key = secondary_key, secondary_key = primary_key", ()),
        }
        change, values = changes[which]
        statement = f"UPDATE hub_policies SET {change} WHERE hub = ? AND name = ?"  # noqa: S608 - one of three constants
        if not self._store.execute(statement, *values, self._hub, name).rowcount:
            raise KeyError(f"IoT Hub '{self._hub}' has no shared access policy '{name}'")

    def find(self, name: str) -> tuple[list[str], frozenset[str]] | None:
        """(both keys, rights) of the policy, None if there is none."""
        row = self._store.one(
            "SELECT primary_key, secondary_key, rights FROM hub_policies WHERE hub = ? AND name = ?", self._hub, name
        )
        if row is None:
            return None
        rights = set(row["rights"].split(", "))
        if "RegistryWrite" in rights:
            rights.add("RegistryRead")
        return [row["primary_key"], row["secondary_key"]], frozenset(rights)
