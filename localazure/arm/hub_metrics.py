"""`GET .../IotHubs/{hub}/quotaMetrics` (iothub 2023-06-30); the quotas are those of
learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling."""

from __future__ import annotations

from localazure.arm.engine import Engine
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call

_MESSAGES = {"F1": 8_000, "1": 400_000, "2": 6_000_000, "3": 300_000_000}
"""A day and unit, by the SKU or its last letter."""


class HubMetrics:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def quotas(self, call: Call) -> Answer:
        hub = self._engine.require(call, parse(call.target.path.rpartition("/")[0]))
        sku, units = hub.inputs["sku"]["name"], hub.inputs["sku"]["capacity"]
        devices, messages = self._engine.context.hubs.usage(hub.name)
        daily = _MESSAGES.get(sku) or _MESSAGES[sku[-1]] * units
        rows = (("TotalMessages", messages, daily), ("TotalDeviceCount", devices, 500 if sku == "F1" else 1_000_000))
        value = [{"name": name, "currentValue": now, "maxValue": most} for name, now, most in rows]
        return Answer(200, {"value": value})
