"""What the identity of a pull request's preview needs: the role Reader, and no secret but the one of the state."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import run
from tests.support import LocalAzure, Project, changes
from tools import environment

pytestmark = [pytest.mark.engine, pytest.mark.docker]

NEEDED = re.compile(r"PATH|HOME|LANG|TMPDIR|PULUMI_.*|ARM_.*|AZURE.*|MSI_ENDPOINT|SSL_CERT_FILE|REQUESTS_CA_BUNDLE")
"""No engine, no folder of the local Azure, nothing else of a developer's machine."""


@pytest.fixture(scope="module")
def login(azure: LocalAzure, project: Project) -> Iterator[Callable[..., Project]]:
    """The project on a machine with another identity; roles count."""
    project.up()
    azure.command("rbac", "strict")

    def logged_in(name: str, *role: str) -> Project:
        told = azure.command("principal", "add", name, *role).stdout
        found = re.search(r"AZURE_CLIENT_ID='?([0-9a-f-]{36})", told)
        assert found
        env = {key: value for key, value in azure.env.items() if NEEDED.fullmatch(key)}
        env["MSI_ENDPOINT"] += f"?client_id={found[1]}"
        return replace(project, azure=replace(azure, env=env))

    yield logged_in
    for name in ("ci", "nobody"):
        azure.command("principal", "remove", name, check=False)
    azure.command("rbac", "off")


@pytest.fixture(scope="module")
def reader(login: Callable[..., Project]) -> Project:
    return login("ci", "--role", "Reader")


@pytest.fixture
def edited(reader: Project) -> Iterator[Project]:
    """A pull request that changes the script, the hub and the devices."""
    script, stack = reader.folder / "scoring" / "score.py", reader.folder / "Pulumi.dev.yaml"
    kept = {file: file.read_text() for file in (script, stack)}
    script.write_text(kept[script] + "\n# read only\n")
    stack.write_text(
        kept[stack].replace("sku: S1", "sku: S2").replace("- id: edge-1", "- id: edge-2\n    - id: edge-1")
    )
    yield reader
    for file, text in kept.items():
        file.write_text(text)


def test_the_only_secret_is_the_states(reader: Project) -> None:
    secret = [name for name in reader.azure.env if re.search("KEY|PASS|SECRET|TOKEN(?!_CREDENTIALS)", name)]
    assert secret == ["PULUMI_CONFIG_PASSPHRASE"]


def test_a_preview_and_its_comment_change_nothing_and_list_no_key(edited: Project) -> None:
    before = _backend(edited)
    with edited.azure.traffic() as seen:
        text, code = run.preview("dev", edited.folder, None, edited.azure.env)
    assert code == 0, text
    assert _backend(edited) == before, "reading the state is enough too, not even a lock is written"
    for row in ("| 🟡 update | `image` |", "| 🟡 update | `hub` |", "| 🟢 create | `edge-2-identity` |"):
        assert row in text
    assert [line for line in seen[0].changes if "/msi/token" not in line] == []
    assert [line for line in seen[0].reading_posts if "/msi/token" not in line] == []


def _backend(project: Project) -> dict[Path, int]:
    """Files and folders of the state backend, and when they were last written."""
    return {path: path.stat().st_mtime_ns for path in environment.state(project.azure.env).rglob("*")}


def test_what_exists_is_looked_up_with_the_role_and_not_without(reader: Project, login: Callable[..., Project]) -> None:
    """The preview that asks Azure most: workspace, registry, hub and model by name."""
    outputs = reader.outputs()
    settings = {
        "workspace": {"existing": json.loads(outputs["workspaceConfig"])["workspace_name"]},
        "registry": {"existing": outputs["registryUsername"]},
        "hub": {"existing": outputs["hubId"].rpartition("/")[2]},
        "model": {"existing": "best_model"},
        "devices": [{"id": "read-1"}],
    }
    config = {"azure-native:location": "westeurope", **{f"aml-edge:{key}": value for key, value in settings.items()}}
    (reader.folder / "Pulumi.seen.yaml").write_text(yaml.safe_dump({"config": config}))
    there = replace(reader, stack="seen")
    there.pulumi("stack", "select", "--create", "seen")
    try:
        assert set(changes(there.preview()).values()) == {"create"}
        nobody = replace(login("nobody", "--role", "AcrPull"), stack="seen")
        refused = nobody.pulumi("preview", "--stack", "seen", check=False)
        assert refused.returncode != 0
        assert "could not find the Azure ML workspace" in refused.stdout
    finally:
        there.pulumi("stack", "rm", "--yes", "--stack", "seen", "--preserve-config")
        there.pulumi("stack", "select", "dev")


def test_a_reader_cannot_bring_it_up(edited: Project) -> None:
    """The control of the tests above: the role is what it says."""
    before = _in_azure(edited)
    done = edited.up(check=False)
    assert done.returncode != 0
    assert "AuthorizationFailed" in done.stdout
    assert _in_azure(edited) == before


def _in_azure(project: Project) -> dict[str, Any]:
    """The state without components, which exist in Pulumi only."""
    return {urn: state for urn, state in project.resources().items() if state[0]}
