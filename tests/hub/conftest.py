"""One live hub for a test module; tests use identities of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.live import Live, live


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("azure")) as running:
        yield running
