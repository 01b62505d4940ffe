"""A real local Azure and this process pointed at it: what the services and the dynamic providers are tested against.

Resources are made by ARM requests of the tests' own, so that nothing under test has made what it reads.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from components.services import azure as arm
from localazure.identity import Tokens
from tests.support import LocalAzure, local_azure
from tests.waiting import PATIENCE, until
from tools.environment import UNSET

REGISTRY, HUB = "Microsoft.ContainerRegistry/registries", "Microsoft.Devices/IotHubs"
WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
STORAGE, VAULT, INSIGHTS = (
    "Microsoft.Storage/storageAccounts",
    "Microsoft.KeyVault/vaults",
    "Microsoft.Insights/components",
)
_VERSIONS = {
    REGISTRY: "2023-07-01",
    HUB: "2023-06-30",
    WORKSPACE: "2024-04-01",
    STORAGE: "2024-01-01",
    VAULT: "2024-11-01",
    INSIGHTS: "2020-02-02",
}


@dataclass(frozen=True)
class Cloud:
    """One resource group of a running local Azure."""

    azure: LocalAzure

    @property
    def group(self) -> str:
        return f"/subscriptions/{self.azure.instance.subscription_id}/resourceGroups/rg"

    def id(self, kind: str, name: str) -> str:
        return f"{self.group}/providers/{kind}/{name}"

    def make(self, kind: str, name: str, body: dict[str, Any]) -> str:
        """PUT, wait until Azure is done; the resource's id."""
        resource_id = self.id(kind, name)
        self.request("PUT", resource_id, {"location": "westeurope", **body})
        until(lambda: self.properties(resource_id).get("provisioningState") == "Succeeded")
        return resource_id

    def registry(self, name: str, *, admin: bool = True) -> str:
        return self.make(REGISTRY, name, {"sku": {"name": "Basic"}, "properties": {"adminUserEnabled": admin}})

    def hub(self, name: str) -> str:
        return self.make(HUB, name, {"sku": {"name": "S1", "capacity": 1}})

    def workspace(self, name: str, registry_id: str | None) -> str:
        storage = self.make(STORAGE, f"{name}data", {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}})
        vault_properties = {
            "tenantId": self.azure.instance.tenant_id,
            "sku": {"family": "A", "name": "standard"},
            "accessPolicies": [],
        }
        properties = {
            "storageAccount": storage,
            "keyVault": self.make(VAULT, f"{name}vault", {"properties": vault_properties}),
            "applicationInsights": self.make(
                INSIGHTS, f"{name}insights", {"kind": "web", "properties": {"Application_Type": "web"}}
            ),
            "containerRegistry": registry_id,
        }
        return self.make(WORKSPACE, name, {"identity": {"type": "SystemAssigned"}, "properties": properties})

    def properties(self, resource_id: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.request("GET", resource_id).json()["properties"]
        return properties

    def delete(self, resource_id: str) -> None:
        self.request("DELETE", resource_id)
        until(lambda: self.request("GET", resource_id, expect=(200, 404)).status_code == 404)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        expect: tuple[int, ...] = (200, 201, 202, 204),
        kind: str | None = None,
    ) -> httpx.Response:
        version = _VERSIONS[kind or _kind(path)] if "/providers/" in path else "2024-03-01"
        answer = self._http.request(
            method, path, json=body, params={"api-version": version}, headers={"Authorization": f"Bearer {self.token}"}
        )
        assert answer.status_code in expect, f"{method} {path} -> {answer.status_code} {answer.text}"
        return answer

    @property
    def token(self) -> str:
        return Tokens(self.azure.instance).issue("https://management.azure.com/")

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.azure.instance.arm_url,
            verify=ssl.create_default_context(cafile=self.azure.instance.ca),
            timeout=PATIENCE,
        )


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """A local Azure with an empty resource group; the services of this process talk to it."""
    with local_azure(folder) as azure, environment(azure.env):
        made = Cloud(azure)
        made.request("PUT", made.group, {"location": "westeurope"})
        yield made


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """This process's variables changed for a while, and what the services keep of them forgotten before and after."""
    before = dict(os.environ)
    for name in UNSET:
        os.environ.pop(name, None)
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    forget()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        forget()


def forget() -> None:
    """What the services cache for the life of a process."""
    for cached in (arm.cloud, arm.credential, arm._client):
        cached.cache_clear()
    arm._tokens.clear()


def _kind(path: str) -> str:
    parts = path.partition("/providers/")[2].split("/")
    return f"{parts[0]}/{parts[1]}"
