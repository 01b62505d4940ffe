from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ml.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Without a registry: its workspaces are per test."""
    running = Stack(tmp_path_factory.mktemp("azure"))
    yield running
    running.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "program"
