"""The command line and the daemon as processes of their own: start, stop, kill, two at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from localazure import certs, control
from localazure.instance import ARM_PORT, Instance, load_or_create
from localazure.registry import RegistryService
from localazure.store import Store
from tests.waiting import until

ARM_VERSION = "2023-01-01-preview"


@dataclass
class Command:
    """`python -m localazure` for one folder."""

    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "localazure", *arguments, "--folder", str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: control.status(self.folder))
        return found

    def up(self) -> dict[str, Any]:
        """Without a process of its own for the command; the daemon is one all the same."""
        return control.start(self.folder, lambda line: None)[0]

    @property
    def instance(self) -> Instance:
        return load_or_create(self.folder)


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path / "azure")
    yield command
    control.stop(command.folder, lambda line: None)
    assert control.running(command.folder) is None


class Arm:
    """ARM as a program with the managed identity's token sees it."""

    def __init__(self, instance: Instance) -> None:
        self._base = f"{instance.arm_url}/subscriptions/{instance.subscription_id}"
        self._client = httpx.Client(
            verify=ssl.create_default_context(cafile=str(instance.ca)), trust_env=False, timeout=120
        )
        answer = self._client.post(
            instance.identity_url, data={"resource": "https://management.azure.com/"}, headers={"Metadata": "true"}
        )
        self._headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def __call__(self, method: str, path: str, body: object = None, version: str = ARM_VERSION) -> httpx.Response:
        return self._client.request(
            method, f"{self._base}{path}", params={"api-version": version}, json=body, headers=self._headers
        )

    def registry(self, name: str) -> dict[str, Any]:
        """Made with its admin user on, and waited for."""
        group = self("PUT", "/resourceGroups/rg", {"location": "westeurope"}, "2024-03-01")
        assert group.status_code in (200, 201), group.text
        path = f"/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/{name}"
        body = {"location": "westeurope", "sku": {"name": "Basic"}, "properties": {"adminUserEnabled": True}}
        made = self("PUT", path, body)
        assert made.status_code in (200, 201), made.text
        deadline = time.monotonic() + 120
        while (found := self("GET", path).json())["properties"]["provisioningState"] != "Succeeded":
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        credentials = self("POST", f"{path}/listCredentials").json()
        return {"loginServer": found["properties"]["loginServer"], **credentials}


def test_up_status_down(azure: Command) -> None:
    code, output, _ = azure("status")
    assert (code, "not running" in output) == (3, True)
    code, output, errors = azure("up")
    assert code == 0, errors
    assert azure.instance.arm_url in output
    assert str(azure.folder / "daemon.log") in output
    pid = azure.status()["pid"]
    code, output, _ = azure("up")
    assert (code, "already" in output) == (0, True)
    assert azure.status()["pid"] == pid
    code, output, _ = azure("down")
    assert code == 0
    assert output.startswith("stopped the local Azure")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert azure("status")[0] == 3
    code, output, _ = azure("down")
    assert (code, "not running" in output) == (0, True)


def test_two_at_once_start_one(azure: Command) -> None:
    processes = [azure.start("up") for _ in range(4)]
    outcomes = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outcomes
    assert sum("is up" in output for output, _ in outcomes) == 1
    daemons = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "run" in (process.info["cmdline"] or []) and str(azure.folder) in process.info["cmdline"]
    ]
    assert daemons == [azure.status()["pid"]]


def test_a_second_daemon_for_the_folder_gives_up(azure: Command) -> None:
    azure.up()
    code, _, errors = azure("run")
    assert code == 1
    assert "already running" in errors


def test_a_daemon_that_cannot_listen_says_so(azure: Command) -> None:
    with socket.create_server((azure.instance.address, ARM_PORT)):
        code, _, errors = azure("up")
    assert code == 1
    assert f"{azure.instance.address}:{ARM_PORT}" in errors
    assert "taken by another program" in errors
    assert azure.up()["failures"] == {}


def test_after_a_kill_everything_is_where_it_was(azure: Command) -> None:
    azure.up()
    made = Arm(azure.instance).registry("contoso01")
    before = azure.status()
    registry = psutil.Process(before["registries"][0]["pid"])
    os.kill(before["pid"], signal.SIGKILL)
    registry_gone = psutil.wait_procs([registry], timeout=120)[0]
    assert registry_gone, "docker-registry outlived its daemon"
    until(lambda: control.running(azure.folder) is None)  # the kernel takes a dying process apart step by step
    after = azure.up()
    assert after["pid"] != before["pid"]
    assert [found["loginServer"] for found in after["registries"]] == [made["loginServer"]]
    for password in made["passwords"]:
        answer = httpx.get(
            f"https://{made['loginServer']}/v2/",
            auth=(made["username"], password["value"]),
            verify=ssl.create_default_context(cafile=str(azure.instance.ca)),
            trust_env=False,
            timeout=120,
        )
        assert answer.status_code == 200


def test_a_service_that_does_not_start_is_named_and_the_rest_runs(azure: Command) -> None:
    async def seed() -> str:
        certs.ensure(azure.instance)
        registries = RegistryService(azure.instance, Store(azure.instance.database))
        await registries.start()
        login_server = await registries.create("contoso01")
        await registries.stop()
        return login_server

    login_server = asyncio.run(seed())
    address, _, port = login_server.partition(":")
    with socket.create_server((address, int(port))):
        code, _, errors = azure("up")
        assert code == 1
        assert "'registries' did not start" in errors
        assert login_server in errors
        code, output, errors = azure("status", "--json")
        assert code == 1
        assert [found["pid"] for found in json.loads(output)["registries"]] == [None]
        assert Arm(azure.instance)("GET", "/resourceGroups", version="2024-03-01").status_code == 200
    control.stop(azure.folder, lambda line: None)
    assert azure.up()["registries"][0]["pid"]


def test_the_logs_show_requests_and_no_secret(azure: Command) -> None:
    azure.up()
    made = Arm(azure.instance).registry("contoso01")
    code, output, _ = azure("logs", "--requests", "-n", "100000")
    assert code == 0
    entries = [json.loads(line) for line in output.splitlines()]
    assert {"POST /msi/token", "PUT"} <= {f"{entry['method']} {entry['path']}" for entry in entries} | {
        entry["method"] for entry in entries
    }
    everything = (azure.folder / "daemon.log").read_text() + output
    for password in made["passwords"]:
        assert password["value"] not in everything
    assert "Traceback" not in everything, everything[-3000:]
    assert [path.name for path in azure.folder.glob("*.log*") if path.stat().st_mode & 0o077] == []


def test_env_json_is_known_before_the_first_start(azure: Command) -> None:
    code, output, _ = azure("env", "--json")
    assert code == 0
    before = json.loads(output)
    assert Path(before["SSL_CERT_FILE"]).is_file()
    assert before["ARM_METADATA_HOSTNAME"] == f"{azure.up()['address']}:{ARM_PORT}"
    assert json.loads(azure("env", "--json")[1]) == before
