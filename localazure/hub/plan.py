"""What a hub's SKU and units allow (learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from localazure.hub.errors import HubError


class Operation(enum.Enum):
    """The classes of operations that are throttled one by one."""

    REGISTRY = "Registry"
    TWIN_READ = "TwinRead"
    TWIN_WRITE = "TwinWrite"
    QUERY = "Query"
    METHOD = "DirectMethod"
    CONFIGURATION = "Configuration"


@dataclass(frozen=True)
class Rate:
    """`burst` is how many may come at once before `per_second` counts."""

    per_second: float
    burst: float


@dataclass(frozen=True)
class Plan:
    """`sku` is F1, B1 to B3 or S1 to S3."""

    sku: str = "S1"
    units: int = 1

    @property
    def basic(self) -> bool:
        return self.sku.startswith("B")

    @property
    def edge_deployments(self) -> int:
        """The most there can be."""
        return 10 if self.sku == "F1" else 100

    @property
    def device_configurations(self) -> int:
        return 20 if self.sku == "F1" else 100

    def need_standard(self, feature: str) -> None:
        """Raises OperationNotAvailableInCurrentTier (Azure's name for it) in the Basic tier."""
        if self.basic:
            raise HubError(
                "OperationNotAvailableInCurrentTier",
                f"{feature} is not available in the Basic tier ({self.sku}); use a Standard or Free hub",
            )

    def rate(self, operation: Operation) -> Rate:
        """A minute's worth may come at once where Azure counts by the minute, ten seconds' worth where it counts by the second.

        How much of a burst Azure takes is not published ("a limited time").
        """
        large, middle, units = self.sku.endswith("3"), self.sku.endswith("2"), self.units
        match operation:
            case Operation.REGISTRY:
                return _per_minute((5000 if large else 100) * units)
            case Operation.QUERY:
                return _per_minute((1000 if large else 20) * units)
            case Operation.CONFIGURATION:
                return _per_minute(20 * units)
            case Operation.TWIN_READ:
                return _per_second(500 * units if large else max(100, 10 * units if middle else 0))
            case Operation.TWIN_WRITE:
                return _per_second(250 * units if large else max(50, 5 * units if middle else 0))
            case Operation.METHOD:  # of 4 KB each
                return _per_second((6144 if large else 120 if middle else 40) * units)


def _per_minute(number: float) -> Rate:
    return Rate(number / 60, number)


def _per_second(number: float) -> Rate:
    return Rate(number, 10 * number)
