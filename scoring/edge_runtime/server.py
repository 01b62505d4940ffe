"""The scoring server as a child process."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .settings import Settings

PORT = 5001
_STOP_SECONDS = 1.5


class ScoringServer:
    """azureml-inference-server-http with gunicorn below it, in a process group of its own."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], *, as_module: bool) -> None:
        command = [sys.executable, "-m", "azureml_inference_server_http.amlserver"]
        command += [
            "--entry_script",
            str(settings.script),
            "--port",
            str(PORT),
            "--worker_count",
            str(settings.workers),
        ]
        self._process = subprocess.Popen(
            command,
            cwd=settings.app_root,
            env=server_environment(settings, environment, as_module=as_module),
            start_new_session=True,
        )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask, wait a moment for requests in flight, insist."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_STOP_SECONDS)


def server_environment(settings: Settings, environment: Mapping[str, str], *, as_module: bool) -> dict[str, str]:
    """The model's folder as an absolute path, a home in which gunicorn can make its control socket, and for a module a limit for `run()`:
    without one (the server's default is an hour) a message that hangs would keep those behind it from being scored; and `reasons`."""
    result = {**environment, "AML_APP_ROOT": str(settings.app_root)}
    if environment.get("AZUREML_MODEL_DIR"):
        result["AZUREML_MODEL_DIR"] = str(settings.app_root / environment["AZUREML_MODEL_DIR"])
    if as_module:
        result.setdefault("SCORING_TIMEOUT_MS", str(int(settings.run * 1000)))
        result["GUNICORN_CMD_ARGS"] = _gunicorn(settings.app_root, environment.get("GUNICORN_CMD_ARGS", ""))
    home = environment.get("HOME")
    if not home or not Path(home).is_dir() or not os.access(home, os.W_OK):
        result["HOME"] = tempfile.gettempdir()
    return result


def _gunicorn(app_root: Path, users: str) -> str:
    """gunicorn reads one configuration file; the user's own goes first."""
    own = re.search(r"(^|\s)(-c|--config)", users) or (app_root / "gunicorn.conf.py").is_file()
    return users if own else f"{users} --config {Path(__file__).with_name('reasons.py')}".strip()
