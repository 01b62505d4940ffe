"""Whether the daemon of a folder runs, and how it is started and stopped from outside.

The truth is a lock (flock) on `daemon.pid` that the daemon holds for its life: it ends with the process however that ends, so a
pid file left over by `kill -9` fools nobody. `up.lock` makes starts and stops of one folder wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from localazure import instance as instances
from localazure.identity import OWNER_AUDIENCE, Tokens
from localazure.instance import ARM_PORT

START_SECONDS = 90.0  # many registries on a slow machine
STOP_SECONDS = 120.0
_STEP = 0.1
_LOG_BYTES = 10 * 1024 * 1024  # then the next start moves daemon.log to daemon.log.1


class ControlError(Exception):
    """The daemon could not be started or stopped; the message says what was seen and what to do."""


def hold(folder: Path) -> None:
    """What the daemon does first: the folder is its own until its process is gone. Raises ControlError when another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(folder / "daemon.pid", 1, f"a local Azure is already running in {folder}")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def running(folder: Path) -> int | None:
    """The daemon's process id, or None."""
    try:
        descriptor = os.open(folder / "daemon.pid", os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def status(folder: Path) -> dict[str, Any] | None:
    """What the running daemon says of itself (`Daemon.status`), or None while it does not answer."""
    instance = instances.load(folder)
    if instance is None or not instance.ca.exists():
        return None
    context = ssl.create_default_context(cafile=str(instance.ca))
    url = f"https://{instance.address}:{ARM_PORT}/localazure/status"
    try:
        with httpx.Client(verify=context, trust_env=False, timeout=15) as client:  # no proxy between us and ourselves
            answer = client.get(url)
    except httpx.TransportError:
        return None
    if answer.status_code != httpx.codes.OK:
        return None
    found: dict[str, Any] = answer.json()
    return found if folder.samefile(found.get("folder", "/")) else None  # not somebody else's at our address


def ask(folder: Path, method: str, path: str, body: Any = None) -> Any:
    """What only the folder's owner may ask the running daemon (`owner.py`). Raises ControlError with the daemon's own words."""
    if running(folder) is None:
        raise ControlError(f"the local Azure of {folder} is not running; start it with: python -m localazure up")
    instance = instances.load(folder)
    assert instance
    headers = {"Authorization": f"Bearer {Tokens(instance).issue(OWNER_AUDIENCE, 60)}"}
    context = ssl.create_default_context(cafile=str(instance.ca))
    try:
        with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
            answer = client.request(method, f"{instance.arm_url}{path}", json=body, headers=headers)
    except httpx.TransportError as error:
        raise ControlError(f"the local Azure of {folder} does not answer {method} {path}: {error}") from error
    if answer.is_error:
        raise ControlError(answer.json()["error"]["message"])
    return answer.json()


def start(folder: Path, progress: Callable[[str], None]) -> tuple[dict[str, Any], bool]:
    """(status, whether it was started by this call), once it answers. Raises ControlError with the end of its log."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "up.lock", START_SECONDS, f"another 'up' or 'down' is at work in {folder}"):
        process: subprocess.Popen[bytes] | None = None
        begun = time.monotonic()
        said = False
        while True:
            if process and process.poll() is not None:
                raise ControlError(
                    f"the local Azure ended while starting (code {process.returncode}).\n{_log_end(folder)}"
                )
            if process is None and running(folder) is None:  # also when the one that was there just ended
                process = _spawn(folder)
            found = status(folder)
            if found:
                return found, process is not None
            waited = time.monotonic() - begun
            if waited > START_SECONDS:
                raise ControlError(f"the local Azure does not answer after {waited:.0f} s.\n{_log_end(folder)}")
            if waited > 2 and not said:
                progress(f"waiting for the local Azure in {folder} to answer ...")
                said = True
            time.sleep(_STEP)


def stop(folder: Path, progress: Callable[[str], None]) -> dict[str, Any] | None:
    """The last status of the daemon that was stopped ({} when it did not answer); None when none ran. Raises ControlError."""
    if not folder.exists():
        return None
    with _locked(folder / "up.lock", START_SECONDS, f"another 'up' or 'down' is at work in {folder}"):
        pid = running(folder)
        if pid is None:
            return None
        last = status(folder) or {}
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        begun = time.monotonic()
        said = False
        while running(folder) is not None:
            waited = time.monotonic() - begun
            if waited > STOP_SECONDS:
                raise ControlError(
                    f"the local Azure (process {pid}) did not end within {waited:.0f} s after SIGTERM. Its log: "
                    f"{folder / 'daemon.log'}. 'kill -9 {pid}' is safe: its state is on disk."
                )
            if waited > 2 and not said:
                progress(f"waiting for process {pid} to end ...")
                said = True
            time.sleep(_STEP)
        return last


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    log = folder / "daemon.log"
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name("daemon.log.1"))
    log.touch(mode=0o600)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "localazure", "run", "--folder", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # it outlives this terminal
            env={**os.environ, "PYTHONPATH": _import_path(), "PYTHONUNBUFFERED": "1"},
        )


def _import_path() -> str:
    """`python -m localazure` also works from another folder than the clone's root, so the daemon must find this very package."""
    root = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])


def _log_end(folder: Path, lines: int = 25) -> str:
    log = folder / "daemon.log"
    words = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in words)])


@contextlib.contextmanager
def _locked(path: Path, seconds: float, what: str) -> Iterator[None]:
    descriptor = _lock(path, seconds, what)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, seconds: float, what: str) -> int:
    """A descriptor with an exclusive lock; ControlError(what) after `seconds`, in which a passing `status` lets go of its own.

    The file stays: removing it would make two locks out of one.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise ControlError(what) from None
            time.sleep(0.05)
        else:
            return descriptor
