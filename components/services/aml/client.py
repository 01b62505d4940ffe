"""Starts the worker process with its own working directory and HOME, and carries its progress and its answer."""

from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.edge.fingerprint import tree_files
from components.services.errors import NotFoundError, ServiceError

ROOT = Path(__file__).resolve().parents[3]
STDERR_LINES = 15


def call(
    workspace: Mapping[str, str],
    operation: str,
    arguments: Mapping[str, Any],
    files: Mapping[str, Path | bytes] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Any:
    """Run one function of `operations` and return its JSON answer.

    `workspace` is config.json's content (subscription_id, resource_group, workspace_name). `files` are staged below the worker's
    working directory: name there -> file or folder here, or its content. Raises NotFoundError when Azure ML answered 404,
    ServiceError otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="aml-edge-") as scratch:
        work, home = Path(scratch, "work"), Path(scratch, "home")
        work.mkdir()
        home.mkdir()
        for name, source in (files or {}).items():
            _stage(source, work / name)
        (work / "config.json").write_text(json.dumps(dict(workspace)))
        request = json.dumps({"operation": operation, "arguments": dict(arguments)})
        return _converse(work, home, workspace["workspace_name"], operation, request, progress)


def workspace_config(workspace_id: str) -> dict[str, str]:
    """config.json's content for the workspace with this ARM id."""
    parts = workspace_id.strip("/").split("/")
    return {"subscription_id": parts[1], "resource_group": parts[3], "workspace_name": parts[7]}


def _converse(
    work: Path, home: Path, workspace: str, operation: str, request: str, progress: Callable[[str], None]
) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-m", "components.services.aml.worker"],
        cwd=work,
        env=_environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stdin and process.stdout and process.stderr
    noise: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
    stderr = process.stderr
    reader = threading.Thread(target=lambda: noise.extend(line.rstrip() for line in stderr), daemon=True)
    reader.start()
    try:
        process.stdin.write(request)
        process.stdin.close()
        answer: dict[str, Any] = {}
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                progress(message["progress"])
            else:
                answer = message
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    reader.join(timeout=5)
    if "result" in answer:
        return answer["result"]
    if "error" in answer:
        kind = NotFoundError if answer["error"]["kind"] == "NotFound" else ServiceError
        raise kind(
            answer["error"]["doing"], answer["error"]["resource"], answer["error"]["answer"], answer["error"]["advice"]
        )
    raise ServiceError(
        f"run '{operation}' of azureml-core in",
        f"workspace {workspace}",
        f"its process exited with {process.returncode}: {' | '.join(noise)}",
    )


def _stage(source: Path | bytes, target: Path) -> None:
    """Link where the file system lets us (models can be large), else copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        target.write_bytes(source)
        return
    if source.is_dir():
        for relative in tree_files(source):  # exactly what was hashed
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / relative, target / relative, follow_symlinks=False)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _environment(home: Path) -> dict[str, str]:
    """The user's environment, but for what azureml-core would leave in HOME. The Azure CLI's login stays where it is."""
    env = dict(os.environ)
    env.setdefault("AZURE_CONFIG_DIR", str(Path.home() / ".azure"))
    env.setdefault("AZUREML_DEFAULT_BACKOFF", "2")  # the SDK's own default makes the first retry wait 32 s
    env["HOME"] = str(home)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH", "")]))
    env["PYTHONWARNINGS"] = "ignore"  # the SDK warns of its own deprecation at every call
    return env
