from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arm.cloud import Cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A running ARM with the empty resource group `rg`."""
    running = Cloud(tmp_path / "azure")
    running.start()
    try:
        running.make_group()
        yield running
    finally:
        running.stop()
        running.http.close()
