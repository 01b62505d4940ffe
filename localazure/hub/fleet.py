"""At-scale deployments: which configuration applies to which device, and its content on the device.

A hub evaluates when a configuration is made, changed or deleted (all devices), and when an identity, its tags or reported properties
change (that device). What was done for a device is kept in its assignment, in one transaction with the content: after a restart nothing is
done twice. Azure takes up to five minutes for all this ("evaluated every 5 minutes",
learn.microsoft.com/azure/iot-hub/iot-hub-automatic-device-management-cli); here it starts at once, or after `delay` seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Row

from localazure.hub import deployments, layers
from localazure.hub.configurations import Configurations
from localazure.hub.errors import HubError
from localazure.hub.identities import Identities, Key
from localazure.hub.layers import Deployment
from localazure.hub.slices import Slices
from localazure.hub.twins import DesiredChange, Twins
from localazure.store import Store, dump

log = logging.getLogger("localazure.hub")

_AGENT = "$edgeAgent"
_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """What a device's evaluation changed, told after its transaction."""

    device_id: str
    changes: list[DesiredChange]
    gone: list[Key]


class Fleet:
    """`tell` is called after each device's transaction, if something changed."""

    def __init__(
        self,
        store: Store,
        hub: str,
        identities: Identities,
        twins: Twins,
        configurations: Configurations,
        tell: Callable[[Outcome], None],
        delay: float,
    ) -> None:
        self._store = store
        self._hub = hub
        self._identities = identities
        self._twins = twins
        self._configurations = configurations
        self._tell = tell
        self._delay = delay
        self._wake = asyncio.Event()
        self._all = True  # after a start: what was not finished before
        self._devices: set[str] = set()

    def device_changed(self, device_id: str) -> None:
        self._devices.add(device_id)
        self._wake.set()

    def configurations_changed(self) -> None:
        self._all = True
        self._wake.set()

    async def run(self) -> None:
        """Evaluate whatever changes, until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._delay)
            self._wake.clear()
            try:
                await self._evaluate()
            except Exception:  # a full disk, say: what is open is done later
                log.exception("%s: the deployments were not evaluated; trying again", self._hub)
                self._all = True
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    def applied(self, device_id: str) -> list[str]:
        """The deployments that are applied to the device."""
        row = self._assignment(device_id)
        statuses = json.loads(row["configurations"]) if row else {}
        return [name for name, status in statuses.items() if status["status"] == "Applied"]

    async def _evaluate(self) -> None:
        everything, self._all = self._all, False
        devices, self._devices = self._devices, set()
        slices = Slices()
        if everything:
            device = ""
            while device_id := self._following(device):
                self._evaluate_one(device_id)
                device = device_id
                await slices.breathe()
            return
        for device_id in sorted(devices):
            self._evaluate_one(device_id)
            await slices.breathe()

    def _following(self, device_id: str) -> str | None:
        row = self._store.one(
            "SELECT device_id FROM hub_identities WHERE hub = ? AND module_id = ? AND device_id > ?"
            " ORDER BY device_id LIMIT 1",
            self._hub, _AGENT, device_id,
        )  # fmt: skip
        return row["device_id"] if row else None

    def _evaluate_one(self, device_id: str) -> None:
        """One device, one transaction. Content that the device cannot take leaves it targeted only."""
        device = self._identities.find(Key(device_id))
        if device is None or not device["capabilities"]["iotEdge"]:
            return
        targeting = self._targeting(device_id)
        chosen = layers.chosen(targeting)
        try:
            outcome = self._assign(device_id, targeting, chosen)
        except HubError as error:
            log.warning("%s: %s cannot be applied to %s: %s", self._hub, [one.id for one in chosen], device_id, error)
            outcome = self._assign(device_id, targeting, [])
        if outcome:
            self._tell(outcome)

    def _targeting(self, device_id: str) -> list[Deployment]:
        twin = self._twins.get((device_id, ""))
        document = {"deviceId": device_id, "tags": twin.tags, "properties": {"reported": twin.reported.content}}
        return [deployment for deployment in self._configurations.deployments() if deployment.matches(document)]

    def _assign(self, device_id: str, targeting: list[Deployment], chosen: list[Deployment]) -> Outcome | None:
        """Without a base the modules stay as they are, as Azure says ("Deleting a deployment does not remove the modules")."""
        applied = {deployment.id for deployment in chosen}
        statuses = {
            one.id: {"status": "Applied" if one.id in applied else "Targeted"}
            for one in sorted(targeting, key=lambda deployment: deployment.id)
        }
        signature = " ".join(f"{deployment.id}@{deployment.created}" for deployment in chosen)
        before = self._assignment(device_id)
        old = (before["signature"], json.loads(before["configurations"])) if before else ("", {})
        if old == (signature, statuses):
            return None
        changes: list[DesiredChange] = []
        gone: list[Key] = []
        with self._store.transaction():
            if signature and signature != old[0]:
                content = layers.merged(chosen)
                changes, gone = deployments.apply(self._identities, self._twins, device_id, content)
            self._store.execute(
                "INSERT OR REPLACE INTO hub_assignments VALUES (?, ?, ?, ?, ?)",
                self._hub, device_id, _AGENT, signature, dump(statuses),
            )  # fmt: skip
        return Outcome(device_id, changes, gone)

    def _assignment(self, device_id: str) -> Row | None:
        return self._store.one(
            "SELECT signature, configurations FROM hub_assignments WHERE hub = ? AND device_id = ? AND module_id = ?",
            self._hub, device_id, _AGENT,
        )  # fmt: skip
