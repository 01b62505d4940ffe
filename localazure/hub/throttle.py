"""Throttling: a bucket of tokens for each class of operations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from localazure.hub.errors import HubError
from localazure.hub.plan import Operation, Plan


class Throttle:
    """`factor` multiplies the plan's rates; None lets everything pass. `clock` gives seconds."""

    def __init__(self, plan: Plan, factor: float | None = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._factor = factor
        self._clock = clock
        self._buckets: dict[Operation, tuple[float, float]] = {}

    def change(self, plan: Plan) -> None:
        """Another SKU or number of units: the buckets start full."""
        self._plan = plan
        self._buckets.clear()

    def take(self, operation: Operation, amount: int = 1) -> None:
        """Raises ThrottlingException (429) with Retry-After when the bucket has less than `amount`; then nothing is taken."""
        if self._factor is None:
            return
        rate, now = self._plan.rate(operation), self._clock()
        per_second, burst = rate.per_second * self._factor, max(1.0, rate.burst * self._factor)
        left, since = self._buckets.get(operation, (burst, now))
        left = min(burst, left + (now - since) * per_second)
        if left < min(amount, burst):
            self._buckets[operation] = (left, now)
            seconds = max(1, math.ceil((amount - left) / per_second))
            raise HubError(
                "ThrottlingException",
                f"The request has been throttled. Wait {seconds} seconds and try again. Operation type: {operation.value}",
                {"Retry-After": str(seconds)},
            )
        self._buckets[operation] = (left - amount, now)
