"""A large model goes through the program and its azureml-core process in pieces, never as a whole."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from components.services.aml import client
from components.services.aml.client import workspace_config
from tests.support import ROOT
from tests.waiting import PATIENCE

MIB = 1 << 20
SIZE = 200 * MIB
ALLOWED = 200 * MIB
REGISTER = """
import json, re, sys, threading, time
from pathlib import Path
from components.edge.fingerprint import hash_named
from components.model import RegisteredModelProvider

def peak(process):  # not getrusage: its figure begins with what the process that started this one held
    found = re.search("VmHWM:\\s+([0-9]+) kB", Path("/proc", str(process), "status").read_text())
    return int(found[1]) * 1024 if found else 0

def watch():
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                try:
                    workers.append(peak(child))
                except OSError:  # it has ended
                    pass
        time.sleep(0.02)

workers = [0]
threading.Thread(target=watch, daemon=True).start()
workspace, path = sys.argv[1:]
inputs = {"workspaceId": workspace, "name": Path(path).stem, "path": path, "contentHash": hash_named(Path(path))}
made = RegisteredModelProvider().create(inputs).outs
print("PEAKS", json.dumps([made["modelId"], peak("self"), max(workers)]))
"""


def peaks(workspace_id: str, path: Path) -> tuple[str, int, int]:
    """The registered model's id, and the most memory that the program and its largest process held, in bytes."""
    command = [sys.executable, "-c", REGISTER, workspace_id, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    model_id, program, worker = json.loads(done.stdout.partition("PEAKS ")[2])
    return str(model_id), int(program), int(worker)


def test_a_model_of_200_mb_needs_little_memory(workspace_id: str, tmp_path: Path) -> None:
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    small.write_bytes(b"weights")
    with large.open("wb") as file:
        for _ in range(SIZE // MIB):
            file.write(os.urandom(MIB))
    ids = []
    idle, needed = peaks(workspace_id, small), peaks(workspace_id, large)
    for found in (idle, needed):
        ids.append(found[0])
    above = [more - less for more, less in zip(needed[1:], idle[1:], strict=True)]
    assert min(*idle[1:]) > 20 * MIB, "measured at all"
    logging.getLogger(__name__).info("above idle: program %.0f MiB, worker %.0f MiB", *(size / MIB for size in above))
    assert max(above) < ALLOWED, above
    client.call(workspace_config(workspace_id), "delete_models", {"model_ids": ids})
