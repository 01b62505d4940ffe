"""The plugin under the real Pulumi engine, with the unmodified SDK, against the real local Azure."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from localazure import instance
from localazure.environment import variables
from localazure.identity import Tokens
from localazure.provider import VERSION
from localazure.provider.launcher import write_launcher
from localazure.requests import mark, since

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not (shutil.which("pulumi") and shutil.which("pulumi-language-python")),
        reason="the Pulumi CLI and its Python language host are not on PATH ('make up' installs them)",
    ),
]

ROOT = Path(__file__).parents[2]
_OUTSIDE = dict(os.environ)  # read when tests are collected: the package's fixtures point proxies at nobody
PROGRAM = Path(__file__).parent / "program"


@dataclass(frozen=True)
class Stack:
    folder: Path
    azure: Path
    env: dict[str, str]

    def pulumi(self, *arguments: str, fails: bool = False) -> str:
        done = _run(["pulumi", *arguments, "--non-interactive", "--color", "never"], self.folder, self.env)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self, *arguments: str, fails: bool = False) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, fails=fails)

    def preview(self) -> dict[str, str]:
        """Logical name -> operation, of all that would change."""
        done = _run(["pulumi", "preview", "--json", "--non-interactive"], self.folder, self.env)
        assert done.returncode == 0, done.stdout + done.stderr
        steps = json.loads(done.stdout)["steps"]
        return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] != "same"}

    def resources(self) -> dict[str, dict[str, Any]]:
        """Logical name -> its state."""
        state = json.loads(_run(["pulumi", "stack", "export"], self.folder, self.env).stdout)
        return {one["urn"].rpartition("::")[2]: one for one in state["deployment"].get("resources", [])}

    def arm(self, method: str, path: str, body: Any = None) -> Any:
        """A request of somebody else's, past Pulumi."""
        made = instance.load(self.azure)
        assert made
        token = Tokens(made).issue("https://management.azure.com/")
        answer = httpx.request(
            method,
            made.arm_url + path,
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=str(made.ca)),
            trust_env=False,  # see _OUTSIDE
            timeout=120,
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("engine")
    made = instance.load_or_create(folder / "azure")
    project = folder / "project"
    shutil.copytree(PROGRAM, project, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("home", "state"):
        (folder / name).mkdir()
    env = {
        **{name: value for name, value in _OUTSIDE.items() if not name.startswith(("PULUMI_", "ARM_", "AZURE_"))},
        **variables(made),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    running = Stack(project, folder / "azure", env)
    _local_azure("up", env)
    try:
        write_launcher(folder / "plugin", Path(sys.executable), ROOT)
        running.pulumi("plugin", "install", "resource", "azure-native", VERSION, "--file", str(folder / "plugin"))
        running.pulumi("stack", "init", "dev")
        yield running
    finally:
        _local_azure("down", env)


def test_a_stacks_life(stack: Stack) -> None:
    """One test, since each step needs the one before, and each command of the CLI takes its seconds."""
    stack.up()
    made = stack.resources()
    registry = made["registry"]
    assert registry["inputs"]["azureApiVersion"] == "2023-01-01-preview"
    assert registry["inputs"]["__createBeforeDelete"] is True
    assert registry["inputs"]["location"] == "westeurope"
    assert registry["inputs"]["registryName"].startswith("registry")
    assert registry["outputs"]["azureApiVersion"] == "2023-01-01-preview"
    assert "__inputs" not in registry["outputs"]
    assert all(one["id"].startswith("/subscriptions/") for one in made.values() if one["type"].startswith("azure-"))

    _nothing_to_do(stack)
    _changes_inside_and_outside(stack, registry["id"], made["identity"]["id"])
    _import_finds_the_inputs(stack, registry["id"])
    _refresh_without_azure_keeps_the_state(stack)

    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert stack.resources() == {}


def _nothing_to_do(stack: Stack) -> None:
    before = mark(stack.azure)
    stack.up("--expect-no-changes")
    assert since(stack.azure, before).changes == []


def _changes_inside_and_outside(stack: Stack, registry: str, identity: str) -> None:
    """The program changes the hub; somebody else tags the registry and deletes the identity."""
    path = f"{registry}?api-version=2023-01-01-preview"
    stack.arm("PATCH", path, {"tags": {"by": "hand"}})
    stack.arm("DELETE", f"{identity}?api-version=2023-01-31")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    refreshed = stack.resources()
    assert refreshed["registry"]["inputs"]["tags"] == {"by": "hand"}
    assert "identity" not in refreshed

    stack.pulumi("config", "set", "hub", "S2")
    planned = stack.preview()
    assert planned.pop("role") in ("replace", "create")  # of another principal
    assert planned == {"hub": "update", "registry": "update", "identity": "create"}

    stack.up()
    assert stack.resources()["hub"]["outputs"]["sku"]["name"] == "S2"
    assert not stack.arm("GET", path).get("tags")


def _import_finds_the_inputs(stack: Stack, registry: str) -> None:
    answer = stack.pulumi(
        *("import", "azure-native:containerregistry:Registry", "twin", registry),
        *("--yes", "--protect=false", "--generate-code=false", "--skip-preview"),
    )
    assert "1 imported" in answer
    twin = stack.resources()["twin"]
    assert twin["inputs"]["sku"]["name"] == "Basic"
    stack.pulumi("state", "delete", twin["urn"], "--yes")


def _refresh_without_azure_keeps_the_state(stack: Stack) -> None:
    before = stack.resources()
    _local_azure("down", stack.env)
    try:
        assert "cannot reach the local Azure" in stack.pulumi("refresh", "--yes", "--skip-preview", fails=True)
        assert stack.resources().keys() == before.keys()
    finally:
        _local_azure("up", stack.env)


def _local_azure(what: str, env: dict[str, str]) -> None:
    done = _run([sys.executable, "-m", "localazure", what], ROOT, env)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False)
