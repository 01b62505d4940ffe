"""azureml-core's calls of a workspace as a whole, unmodified, against the daemon: which requests they are, and how a program logs in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from localazure import environment
from tests.faults.cloud import REGISTRY, WORKSPACE, Cloud
from tests.faults.test_rbac import add
from tests.waiting import PATIENCE, until


def azureml(cloud: Cloud, home: Path, program: str, **more: str) -> tuple[Any, list[str]]:
    """What the program hands to `answer`, and the requests it made of ARM and Azure ML."""
    (home / "config.json").write_text(
        json.dumps(
            {"subscription_id": cloud.instance.subscription_id, "resource_group": "rg", "workspace_name": WORKSPACE}
        )
    )
    before = len(cloud.requests())
    head = (
        "import json\nfrom azureml.core import Workspace\nanswer = lambda value: print('ANSWER' + json.dumps(value))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + program],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)} | environment.variables(cloud.instance) | more,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = [
        f"{line['method']} {line['path']}" for line in cloud.requests()[before:] if line["listener"].endswith(":20443")
    ]
    (answer,) = [line.removeprefix("ANSWER") for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    return json.loads(answer), made


def test_a_workspace_is_found_in_every_way(cloud: Cloud, home: Path) -> None:
    where = f"subscription_id={cloud.instance.subscription_id!r}, resource_group='rg'"
    workspace = cloud.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
    calls = (
        "Workspace.from_config()",
        f"Workspace({where}, workspace_name='{WORKSPACE}')",
        f"Workspace.get('{WORKSPACE}', {where})",
    )
    program = f"found = [{', '.join(calls)}]\nanswer([[ws.name, ws.location, ws.get_details()] for ws in found])"
    got, made = azureml(cloud, home, program)
    for name, location, details in got:
        assert (name, location, details["id"]) == (WORKSPACE, "westeurope", workspace)
        for part in (
            "containerRegistry",
            "keyVault",
            "storageAccount",
            "applicationInsights",
            "discoveryUrl",
            "workspaceid",
        ):
            assert details[part], part
    assert made[:3] == ["GET /metadata/endpoints", "GET /subscriptions", f"GET {workspace}"]
    assert set(made[1:]) == {"GET /subscriptions", f"GET {workspace}"}
    assert made.count(f"GET {workspace}") >= len(calls)


def test_keys_of_a_workspace(cloud: Cloud, home: Path) -> None:
    got, made = azureml(cloud, home, "answer(Workspace.from_config().list_keys())")
    assert f"POST {cloud.id('Microsoft.MachineLearningServices/workspaces', WORKSPACE)}/listKeys" in made
    login = got["containerRegistryCredentials"]
    assert (login["username"], login["passwords"][0]["value"] == cloud.password) == (REGISTRY, True)
    assert got["userStorageKey"]


def test_a_service_principal_logs_in_as_with_adfs(cloud: Cloud, home: Path) -> None:
    """azureml-core's MSAL asks login.microsoftonline.com about any other authority; with the tenant `adfs` it does not."""
    login = add(cloud, "pipeline", "--role", "Reader")
    cloud("rbac", "strict")
    program = (
        "import os\n"
        "from azureml.core.authentication import ServicePrincipalAuthentication\n"
        "from azureml.core.model import Model\n"
        "login = ServicePrincipalAuthentication('adfs', os.environ['WHO'], os.environ['WORD'], cloud='AzureLocal')\n"
        "ws = Workspace.from_config(auth=login)\n"
        "try: keys = str(ws.list_keys())\n"
        "except Exception as error: keys = str(error)\n"
        "answer([[model.name for model in Model.list(ws, name='nothing')], keys])\n"
    )
    got, _ = azureml(cloud, home, program, WHO=login.client_id, WORD=login.variables["AZURE_CLIENT_SECRET"])
    assert got[0] == []
    assert "AuthorizationFailed" in got[1] and login.client_id in got[1]


def test_models_come_back_with_their_workspace(cloud: Cloud) -> None:
    kind = "Microsoft.MachineLearningServices/workspaces"
    first = cloud.arm("GET", cloud.id(kind, WORKSPACE)).json()["properties"]
    parts = {name: first[name] for name in ("storageAccount", "keyVault", "applicationInsights")}
    place, body = cloud.id(kind, "lost-ws"), {"identity": {"type": "SystemAssigned"}, "properties": parts}
    cloud.make(place, body)
    models = f"{cloud.instance.arm_url}/modelmanagement/v1.0{place}/models"
    bearer = {"Authorization": f"Bearer {cloud.tokens.issue('https://management.azure.com/')}"}

    def gone() -> bool:
        return cloud.arm("GET", place).status_code == 404

    with cloud.client(headers=bearer) as client:
        artifacts = {"name": "m", "artifacts": [{"prefix": "LocalUpload/c/m"}]}
        asset = client.post(models.replace("/models", "/assets"), json=artifacts).json()["id"]
        model = {"name": "kept", "url": f"aml://asset/{asset}", "mimeType": "application/json"}
        assert client.post(models, json=model).json()["id"] == "kept:1"
        assert cloud.arm("DELETE", place).status_code == 202
        until(gone)
        assert client.get(models).status_code == 404
        cloud.make(place, body | {"properties": parts | {"allowRecoverSoftDeletedWorkspace": "True"}})
        assert [one["id"] for one in client.get(models).json()["value"]] == ["kept:1"]
        with_purge = client.delete(
            f"{cloud.instance.arm_url}{place}", params={"api-version": "2025-12-01", "forceToPurge": "true"}
        )
        assert with_purge.status_code == 202
        until(gone)
        cloud.make(place, body)
        assert client.get(models).json()["value"] == []
    assert cloud.arm("DELETE", place).status_code == 202
    until(gone)  # the next test looks at everything that is there
