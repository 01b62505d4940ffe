"""A Docker engine: the one that answers, else one of our own with a private data root and socket.

Ours is shared by the clones of one machine (two engines would fight over the bridge docker0 and the firewall rules). Each
clone that uses it leaves a file in `users/`; `release` stops the engine when the last one has gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import docker
import docker.errors

from tools import cache, system
from tools.console import ToolError, say

START_SECONDS = 60


def ensure(user: Path) -> str:
    """The value for DOCKER_HOST. `user` is the clone's folder. Starts our engine if none answers; raises ToolError if it may not."""
    for host in _candidates():
        if answers(host):
            return host
    with cache.lock("docker"):
        if not answers(own_host()):
            _start()
        _users().mkdir(parents=True, exist_ok=True)
        (_users() / _key(user)).write_text(f"{user}\n")
    return own_host()


def release(user: Path) -> bool:
    """The clone at `user` needs our engine no more. True if that stopped it."""
    with cache.lock("docker"):
        mark = _users() / _key(user)
        if not mark.exists():
            return False
        mark.unlink()
        if any(Path(other.read_text().strip()).is_dir() for other in _users().iterdir()):
            return False
        return _stop()


def answers(host: str) -> bool:
    """Whether a Docker engine answers at `host` (unix:///... or tcp://...)."""
    try:
        client = docker.DockerClient(base_url=host, timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except Exception:  # whatever it is, it is not an engine that we can use
        return False
    finally:
        client.close()


def _candidates() -> list[str]:
    configured = os.environ.get("DOCKER_HOST")
    return [configured] if configured and configured != own_host() else ["unix:///var/run/docker.sock"]


def _folder() -> Path:
    return cache.root() / "docker"


def _users() -> Path:
    return _folder() / "users"


def _key(user: Path) -> str:
    return hashlib.sha256(str(user.resolve()).encode()).hexdigest()[:16]


def own_host() -> str:
    """Where our engine answers when it runs."""
    return f"unix://{_folder() / 'docker.sock'}"


def _start() -> None:
    if os.geteuid() != 0:
        raise ToolError(
            "no Docker engine answers, and only root may start one.\n"
            "  Install Docker (Debian or Ubuntu: sudo apt-get install docker.io), let your user use it\n"
            "  (sudo usermod -aG docker $USER, then log in again), or set DOCKER_HOST to an engine that you may use."
        )
    dockerd = system.need("dockerd", package="docker.io iptables", purpose="to build and run the scoring image")
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    say("  start a Docker engine of our own")
    command = [
        dockerd,
        f"--host={own_host()}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
    ]
    with (folder / "dockerd.log").open("ab") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    while not answers(own_host()):
        if time.monotonic() > deadline:
            last = "\n".join(f"    {line}" for line in (folder / "dockerd.log").read_text().splitlines()[-10:])
            raise ToolError(
                f"the Docker engine did not answer within {START_SECONDS} s; the end of {folder / 'dockerd.log'}:\n{last}"
            )
        time.sleep(0.3)


def _stop() -> bool:
    """Ask the engine to end; only the process that our pid file names and that really is a dockerd."""
    pidfile = _folder() / "docker.pid"
    try:
        pid = int(pidfile.read_text())
        if b"dockerd" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return False
    except (OSError, ValueError):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.2)
    return True
