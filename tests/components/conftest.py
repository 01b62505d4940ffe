"""One local Azure for the room, with a registry, a hub and a workspace; what a test breaks it makes for itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager

from components.services import azure as arm
from components.services.hub import POLICY
from tests.services.cloud import Cloud, cloud


@pytest.fixture(scope="package")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("components")) as made:
        yield made


@pytest.fixture(scope="package")
def registry_id(azure: Cloud) -> str:
    return azure.registry("componentsregistry")


@pytest.fixture(scope="package")
def hub_id(azure: Cloud) -> str:
    return azure.hub("componentshub")


@pytest.fixture(scope="package")
def workspace_id(azure: Cloud, registry_id: str) -> str:
    return azure.workspace("componentsml", registry_id)


@pytest.fixture(scope="package")
def hub_connection(hub_id: str) -> str:
    """Of somebody else at the same hub."""
    key = arm.post(hub_id, f"IotHubKeys/{POLICY}/listkeys")["primaryKey"]
    host = arm.get(hub_id)["properties"]["hostName"]
    return f"HostName={host};SharedAccessKeyName={POLICY};SharedAccessKey={key}"


@pytest.fixture(scope="package")
def others(hub_connection: str) -> IoTHubRegistryManager:
    return IoTHubRegistryManager.from_connection_string(hub_connection)


@pytest.fixture(scope="package")
def others_deployments(hub_connection: str) -> IoTHubConfigurationManager:
    return IoTHubConfigurationManager.from_connection_string(hub_connection)
