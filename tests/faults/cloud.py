"""A local Azure as its user has it: the daemon in a process of its own, its command line, and HTTP clients of every service."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
from azure.iot.hub import IoTHubRegistryManager

from localazure import control
from localazure.__main__ import main
from localazure.identity import Tokens
from localazure.instance import load_or_create
from tests.waiting import PATIENCE, until

LOCATION = "westeurope"
HUB, REGISTRY, WORKSPACE = "faulty-hub", "faultyregistry", "faulty-ws"
VERSIONS = {
    "microsoft.devices": "2023-06-30",
    "microsoft.containerregistry": "2023-01-01-preview",
    "microsoft.machinelearningservices": "2025-12-01",
    "microsoft.storage": "2024-01-01",
    "microsoft.keyvault": "2024-11-01",
    "microsoft.insights": "2020-02-02",
    "microsoft.authorization": "2022-04-01",
}


class Cloud:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance = load_or_create(folder)
        self.tokens = Tokens(self.instance)
        self.subscription = f"/subscriptions/{self.instance.subscription_id}"
        self.group = f"{self.subscription}/resourceGroups/rg"
        self.host = self.login_server = ""
        self.password = ""

    # --- the daemon

    def up(self) -> int:
        """Its process id."""
        return int(control.start(self.folder, lambda line: None)[0]["pid"])

    def down(self) -> None:
        control.stop(self.folder, lambda line: None)

    def kill(self) -> None:
        pid = control.running(self.folder)
        assert pid
        os.kill(pid, signal.SIGKILL)
        self.wait_dead(pid)

    def wait_dead(self, pid: int) -> None:
        """With its last thread: a process is a zombie before its others have let go of the lock."""
        until(lambda: not _lives(pid) and control.running(self.folder) != pid)

    def __call__(self, *arguments: str, ok: bool = True) -> str:
        """`python -m localazure ...`: its output, or with `ok` False what it says on stderr while failing. Without a process for it."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = main([*arguments, "--folder", str(self.folder)])
        assert (code == 0) is ok, output.getvalue() + errors.getvalue()
        return output.getvalue() if ok else errors.getvalue()

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "requests.jsonl").read_text().splitlines()]

    # --- clients

    def client(self, **more: Any) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.instance.ca))
        return httpx.Client(verify=trust, trust_env=False, timeout=PATIENCE, **more)

    def arm(self, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
        namespace = path.rpartition("/providers/")[2].split("/")[0].lower()
        version = VERSIONS.get(namespace, "2024-03-01")
        bearer = token or self.tokens.issue("https://management.azure.com/")
        with self.client(headers={"Authorization": f"Bearer {bearer}"}) as client:
            url = f"{self.instance.arm_url}{path}"
            return client.request(method, url, params={"api-version": version}, json=body)

    def id(self, kind: str, name: str) -> str:
        return f"{self.group}/providers/{kind}/{name}"

    def hub(self, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.tokens.issue('https://iothubs.azure.net')}"}
        with self.client(headers=headers) as client:
            return client.request(method, f"https://{self.host}{path}", params={"api-version": "2021-04-12"}, json=body)

    def ml(self, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
        """`path` is below the workspace, e.g. `models`."""
        workspace = self.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
        bearer = token or self.tokens.issue("https://management.azure.com/")
        with self.client(headers={"Authorization": f"Bearer {bearer}"}) as client:
            url = f"{self.instance.arm_url}/modelmanagement/v1.0{workspace}/{path}"
            return client.request(method, url, json=body)

    def pull(self, path: str = "/v2/_catalog") -> httpx.Response:
        with self.client(auth=(REGISTRY, self.password)) as client:
            return client.get(f"https://{self.login_server}{path}")

    def service(self) -> IoTHubRegistryManager:
        manager = IoTHubRegistryManager.from_connection_string(self("connection-string", HUB).strip())
        manager.protocol.config.connection.verify = str(self.instance.ca)
        return manager

    # --- what the tests use

    def fill(self) -> None:
        assert self.arm("PUT", self.group, {"location": LOCATION}).status_code == 201
        registry = self.id("Microsoft.ContainerRegistry/registries", REGISTRY)
        hub = self.id("Microsoft.Devices/IotHubs", HUB)
        self.make(registry, {"sku": {"name": "Basic"}, "properties": {"adminUserEnabled": True}})
        self.make(hub, {"sku": {"name": "S1", "capacity": 1}})
        linked: dict[str, tuple[str, dict[str, Any]]] = {
            "storageAccount": (
                "Microsoft.Storage/storageAccounts/faultystorage",
                {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}},
            ),
            "keyVault": (
                "Microsoft.KeyVault/vaults/faulty-vault",
                {
                    "properties": {
                        "tenantId": self.instance.tenant_id,
                        "sku": {"family": "A", "name": "standard"},
                        "accessPolicies": [],
                    }
                },
            ),
            "applicationInsights": (
                "Microsoft.Insights/components/faulty-insights",
                {"kind": "web", "properties": {"Application_Type": "web"}},
            ),
        }
        properties = {"containerRegistry": registry}
        for name, (path, body) in linked.items():
            properties[name] = f"{self.group}/providers/{path}"
            self.make(properties[name], body)
        workspace = self.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
        self.make(workspace, {"identity": {"type": "SystemAssigned"}, "properties": properties})
        self.host = self.arm("GET", hub).json()["properties"]["hostName"]
        self.login_server = self.arm("GET", registry).json()["properties"]["loginServer"]
        self.password = self.arm("POST", f"{registry}/listCredentials").json()["passwords"][0]["value"]

    def make(self, resource_id: str, body: dict[str, Any]) -> None:
        made = self.arm("PUT", resource_id, {"location": LOCATION} | body)
        assert made.status_code in (200, 201, 202), made.text
        until(lambda: self.arm("GET", resource_id).json()["properties"].get("provisioningState") == "Succeeded")


def device_path(device: str) -> str:
    return f"/devices/{quote(device, safe='')}"


def device_body(device: str, **more: Any) -> dict[str, Any]:
    key = base64.b64encode(b"k" * 32).decode()
    keys = {"primaryKey": key, "secondaryKey": key}
    return {"deviceId": device, "authentication": {"type": "sas", "symmetricKey": keys}, **more}


@contextlib.contextmanager
def broken_connection() -> Any:
    """The request inside must end with a connection that the server broke."""
    try:
        yield
    except (httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError):
        return
    raise AssertionError("the request got an answer")


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
