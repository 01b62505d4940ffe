"""What the engine tests do with the device: send readings through it, look at its containers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import docker

from tests.support import ROOT, Project
from tests.waiting import PATIENCE

READINGS: list[dict[str, Any]] = json.loads((ROOT / "scoring" / "readings.json").read_text())


def score(project: Project, readings: list[dict[str, Any]], device: str = "edge-1") -> list[dict[str, Any]]:
    """Through the device's edge hub into the module and out at the hub."""
    script = """
import json, sys
from components.services import azure
from components.services.hub import POLICY
from localazure.edge import names, send
from pathlib import Path
import os
outputs, readings, device, seconds = json.load(sys.stdin)
hub = outputs["hubId"]
host = azure.get(hub)["properties"]["hostName"]
key = azure.post(hub, f"IotHubKeys/{POLICY}/listkeys")["primaryKey"]
gateway = Path(os.environ["LOCALAZURE_HOME"], "devices", host.rpartition(":")[2], device, "gateway.json")
connection = f"HostName={host};SharedAccessKeyName={POLICY};SharedAccessKey={key}"
print(json.dumps([answer.body for answer in send.send_readings(connection, device, gateway, readings, seconds)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=project.azure.env,
        input=json.dumps([project.outputs(), readings, device, PATIENCE]),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def containers(project: Project) -> list[Any]:
    client = docker.from_env(timeout=PATIENCE)
    folder = str(project.azure.folder)
    return [
        container
        for container in client.containers.list(all=True, ignore_removed=True)
        if container.labels.get("aml-edge.device-folder", "").startswith(folder)
    ]
