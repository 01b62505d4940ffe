from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cloud import Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One daemon with a group, a hub, a registry and a workspace; each test leaves it without faults and not strict."""
    running = Cloud(tmp_path_factory.mktemp("faults") / "azure")
    running.up()
    running.fill()
    yield running
    running("remove")


@pytest.fixture(autouse=True)
def tidy(cloud: Cloud) -> Iterator[None]:
    yield
    cloud.up()
    cloud("fault", "clear")
    cloud("rbac", "off")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path
