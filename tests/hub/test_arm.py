"""The SKU and the units that ARM gives a hub are those of its limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from localazure.hub.plan import Operation
from tests.arm.bodies import HUB, hub
from tests.arm.test_backends import RealCloud


def test_the_sku_reaches_the_hub(tmp_path: Path) -> None:
    real = RealCloud(tmp_path / "azure")
    real.start()
    try:
        real.make_group()
        body = hub()
        real.make(HUB, "hub-1", {**body, "sku": {"name": "S1", "capacity": 1}})
        running = real.real_hubs._get("hub-1")
        assert (running.plan.sku, running.plan.units) == ("S1", 1)
        real.make(HUB, "hub-1", {**body, "sku": {"name": "S2", "capacity": 3}})
        assert (running.plan.sku, running.plan.units) == ("S2", 3)
        assert running.plan.rate(Operation.QUERY).per_second == pytest.approx(1)
        real.make(HUB, "free", {**body, "sku": {"name": "F1", "capacity": 1}})
        assert real.real_hubs._get("free").plan.edge_deployments == 10
    finally:
        real.stop()
        real.http.close()
