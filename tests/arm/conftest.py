from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arm.cloud import Cloud


@pytest.fixture(scope="session")
def stopping() -> Iterator[list[Cloud]]:
    """Clouds that go down while the next test, at an address of its own, has begun."""
    clouds: list[Cloud] = []
    yield clouds
    for cloud in clouds:
        cloud.wait_stopped()


@pytest.fixture
def cloud(tmp_path: Path, stopping: list[Cloud]) -> Iterator[Cloud]:
    """A running ARM with the empty resource group `rg`."""
    running = Cloud(tmp_path / "azure")
    running.start()
    try:
        running.make_group()
        yield running
    finally:
        running.begin_stop()
        stopping.append(running)
