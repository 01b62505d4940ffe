"""Starts the worker process with its own working directory and HOME, and carries its progress, its tokens and its answer."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from components.edge.fingerprint import tree_files
from components.services import azure
from components.services.aml import worker
from components.services.errors import ServiceError

ROOT = Path(__file__).resolve().parents[3]
STDERR_LINES = 15
DEADLINE_SECONDS = 2 * 3600
"""No operation takes longer; the longest, a build, gives up by itself before."""


def call(
    workspace: Mapping[str, str],
    operation: str,
    arguments: Mapping[str, Any],
    files: Mapping[str, Path | bytes] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Any:
    """Run one function of `operations` and return its JSON answer.

    `workspace` is config.json's content (subscription_id, resource_group, workspace_name). `files` are staged below the worker's
    working directory: name there -> file or folder here, or its content. Raises NotFoundError when Azure ML answered 404,
    ServiceError otherwise.
    """
    resource = f"workspace {workspace['workspace_name']}"
    with tempfile.TemporaryDirectory(prefix="aml-edge-") as scratch:
        work, home = Path(scratch, "work"), Path(scratch, "home")
        work.mkdir()
        home.mkdir()
        try:
            for name, source in (files or {}).items():
                _stage(source, work / name)
        except OSError as error:
            raise ServiceError("copy the files for Azure ML below", scratch, str(error), _NO_COPY) from error
        # Beside the working directory: a model may be called config.json, too.
        Path(scratch, "config.json").write_text(json.dumps(dict(workspace)))
        with _started(work, home) as process:
            return _converse(process, operation, dict(arguments), resource, progress, deadline_seconds)


def workspace_config(workspace_id: str) -> dict[str, str]:
    """config.json's content for the workspace with this ARM id."""
    parts = workspace_id.strip("/").split("/")
    return {"subscription_id": parts[1], "resource_group": parts[3], "workspace_name": parts[7]}


@contextlib.contextmanager
def _started(work: Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "components.services.aml.worker"],  # -P: user files are no modules of ours
        cwd=work,
        env=_environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                    pipe.close()


def _converse(
    process: subprocess.Popen[str],
    operation: str,
    arguments: dict[str, Any],
    resource: str,
    progress: Callable[[str], None],
    deadline_seconds: float,
) -> Any:
    assert process.stdin and process.stdout and process.stderr
    noise = _Tail(process.stderr)
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    alarm = threading.Timer(deadline_seconds, stop)
    alarm.daemon = True
    alarm.start()
    try:
        answer = _answer(process, {"operation": operation, "arguments": arguments}, progress)
        process.wait()
    finally:
        alarm.cancel()
    if "result" in answer:
        return answer["result"]
    if "error" in answer:
        raise worker.error_of(answer["error"])
    doing = f"run '{operation}' of azureml-core in"
    if late.is_set():
        raise ServiceError(doing, resource, f"it was stopped after {deadline_seconds:.0f} s without an end", _AGAIN)
    raise ServiceError(doing, resource, f"its process ended with code {process.returncode}: {noise.text()}", _AGAIN)


def _answer(process: subprocess.Popen[str], request: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The worker's result or error; empty when it ended without one."""
    assert process.stdin and process.stdout
    _send(process.stdin, request)
    answer: dict[str, Any] = {}
    for line in process.stdout:
        try:
            message = json.loads(line)
        except ValueError:  # half a line of a killed worker
            continue
        if "progress" in message:
            progress(message["progress"])
        elif "token" in message:
            _send(process.stdin, _token(message["token"]))
        else:
            answer = message
    return answer


def _token(audience: str) -> dict[str, Any]:
    try:
        return {"token": azure.token(audience)}
    except ServiceError as error:
        return {"error": worker.described(error)}


def _send(pipe: IO[str], message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the worker is gone: that it gave no answer tells more
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()


class _Tail:
    """The last lines of a stream, read in a thread of its own so that the worker never waits for us."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._reader = threading.Thread(target=lambda: self._lines.extend(map(str.rstrip, stream)), daemon=True)
        self._reader.start()

    def text(self) -> str:
        self._reader.join(timeout=5)
        return " | ".join(line for line in self._lines if line) or "it said nothing"


_AGAIN = "What it had begun is taken up when you run `pulumi up` again."
_NO_COPY = "Check that the files are still there and that the folder for temporary files (TMPDIR) has room."


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
    """The user's environment, but for what azureml-core would leave in HOME and among the temporary files (drivers, archives)."""
    env = dict(os.environ)
    env.setdefault("AZUREML_DEFAULT_BACKOFF", "2")  # the SDK's own default makes the first retry wait 32 s
    env["HOME"] = env["TMPDIR"] = str(home)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH", "")]))
    env["PYTHONWARNINGS"] = "ignore"  # the SDK warns of its own deprecation at every call
    return env
