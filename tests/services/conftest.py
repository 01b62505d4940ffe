"""One local Azure for the room; what a test breaks it makes for itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.cloud import Cloud, cloud


@pytest.fixture(scope="package")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("services")) as made:
        yield made


@pytest.fixture(scope="package")
def registry_id(azure: Cloud) -> str:
    return azure.registry("servicesregistry")


@pytest.fixture(scope="package")
def hub_id(azure: Cloud) -> str:
    return azure.hub("serviceshub")


@pytest.fixture(scope="package")
def workspace_id(azure: Cloud, registry_id: str) -> str:
    return azure.workspace("servicesml", registry_id)
