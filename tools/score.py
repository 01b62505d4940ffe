"""`make score`: readings through each device's edge hub into the module, and the scores that came out.

Needs the local Azure: on real Azure the readings come from the simulated temperature sensor or from your own leaf devices.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools import bringup, environment
from tools.console import ToolError
from tools.environment import FOLDER, ROOT


def run(values: dict[str, str], readings: Path) -> None:
    """Score a JSON file of one or more readings in the environment `values`. Raises ToolError."""
    if not readings.is_file():
        raise ToolError(f"there is no file {readings}; give one: make score FILE=readings.json")
    outputs = bringup.stack_outputs(values)
    if not outputs.get("deployments"):
        raise ToolError("nothing is deployed; run `make up` first")
    child = subprocess.run(
        [sys.executable, "-m", "tools.score", str(readings)],
        cwd=ROOT,
        env=environment.for_process(values),
        input=json.dumps(outputs),
        text=True,
        check=False,
    )
    if child.returncode:
        raise ToolError("the readings were not scored; see above", child.returncode)


def main(readings: Path, outputs: dict[str, Any]) -> int:
    """In the environment: send, wait, print."""
    from components.services import azure
    from components.services.hub import POLICY
    from localazure.edge import names, send

    hub_id = outputs["hubId"]
    host = azure.get(hub_id)["properties"]["hostName"]
    key = azure.post(hub_id, f"IotHubKeys/{POLICY}/listkeys")["primaryKey"]
    connection = f"HostName={host};SharedAccessKeyName={POLICY};SharedAccessKey={key}"
    scored = True
    print(f"\nregistry  {outputs['loginServer']}\nimage     {outputs['imageRef']}")
    for device, deployment in outputs["deployments"].items():
        print(f"device    {device}: deployment {deployment['version']}, {deployment['health']}")
        gateway = FOLDER / "devices" / host.rpartition(":")[2] / names.directory(device) / "gateway.json"
        try:
            answers = send.send_readings(connection, device, gateway, send.read_readings(readings))
        except send.SendError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        for answer in answers:
            print(f"  {answer.module}/{answer.output}  {_line(answer.reading, answer.body)}")
            scored = scored and answer.output != "amlError"
    if not scored:
        print("error: the module refused a reading; its reason is above", file=sys.stderr)
    return 0 if scored else 1


def _line(reading: Any, body: Any) -> str:
    """A reading in a glance, and what the model says of it."""
    if not isinstance(body, dict) or "anomaly" not in body:
        return json.dumps(body)
    shown = ", ".join(
        f"{part}.{name} {value}" for part in ("machine", "ambient") for name, value in reading.get(part, {}).items()
    )
    return f"{'ANOMALY' if body['anomaly'] else 'normal '}  {shown}"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(Path(sys.argv[1]), json.load(sys.stdin)))
