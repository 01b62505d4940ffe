"""Bring-up and tear-down of a local environment: installers, the local Azure, Pulumi."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localazure import instance
from tools import base_image, docker_engine, environment, pulumi, pulumi_cli, system
from tools.console import ToolError, say
from tools.environment import FOLDER, LOCAL, ROOT, STACK


def prepare() -> dict[str, str]:
    """Everything but the stack: tools, engine, base image, local Azure, plugin. Returns the environment's variables.

    Each step finds what an earlier run left and then takes no time.
    """
    cli, docker_host, base = tools()
    made = instance.load_or_create(FOLDER)
    values = environment.variables(made, docker_host, base, cli)
    call([sys.executable, "-m", "localazure", "up"], values)
    environment.make_folders(values)
    for sidecar in environment.state(values).rglob("*.attrs"):  # of versions that still wrote them
        sidecar.unlink(missing_ok=True)
    pulumi.install_plugin(values, LOCAL / "azure-native-plugin")
    return values


def tools() -> tuple[Path, str, str]:
    """What a local Azure and its stacks need of this machine: the folder of the Pulumi CLI, DOCKER_HOST, the base image."""
    cli = pulumi_cli.ensure()
    docker_host = docker_engine.ensure(ROOT)
    system.need("docker-registry", package="docker-registry", purpose="as the local Azure's container registry")
    return cli, docker_host, base_image.ensure_at(docker_host)


def current() -> dict[str, str]:
    """The variables of an environment that was prepared before. Raises ToolError when there is none."""
    made = instance.load(FOLDER)
    if not made:
        raise ToolError("there is no local Azure here yet; run `make up` first")
    docker_host = docker_engine.ensure(ROOT)
    base = base_image.ensure_at(docker_host)
    return environment.variables(made, docker_host, base, pulumi_cli.ensure())


def call(command: list[str], values: Mapping[str, str], folder: Path = ROOT, shown: str = "") -> None:
    """Run a program in the environment, its output shown as it comes. Raises ToolError with its exit code.

    `shown` is what messages call it, where the whole command would be too much.
    """
    shown = shown or " ".join(Path(command[0]).name if index == 0 else part for index, part in enumerate(command))
    process = subprocess.Popen(command, cwd=folder, env=environment.for_process(dict(values)))
    interrupted = False

    def on_terminate(*_: object) -> None:  # unlike Ctrl-C, it comes to us alone
        process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_terminate)
    try:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:  # the child ends by itself, and must not be left half way
                interrupted = True
                say(
                    f"interrupted: waiting until `{shown}` has finished what is under way; Ctrl-C again stops it at once"
                )
    finally:
        signal.signal(signal.SIGTERM, before)
    if interrupted:
        raise KeyboardInterrupt
    if code:
        raise ToolError(f"`{shown}` ended with exit code {code}; see its output above", code)


def select_stack(values: dict[str, str], stack: str = STACK) -> None:
    free_dead_lock(values, stack)
    call(["pulumi", "stack", "select", "--create", "--stack", stack, "--non-interactive"], values)


def make_stack(values: dict[str, str], stack: str) -> None:
    """In the backend, where it is not there yet. What a shell's plain `pulumi` works on stays the stack that was selected."""
    free_dead_lock(values, stack)
    if stack not in {one["name"] for one in pulumi.read(values, "stack", "ls", "--json")}:
        call(["pulumi", "stack", "init", "--no-select", "--stack", stack, "--non-interactive"], values)


def free_dead_lock(values: dict[str, str], stack: str) -> None:
    """Pulumi's lock has no expiry: a run that was killed leaves the stack locked for good. Freed where its process is dead."""
    locks = environment.state(values) / ".pulumi" / "locks"
    for lock in locks.glob(f"organization/*/{stack}/*.json"):
        try:
            held = json.loads(lock.read_text())
        except (OSError, ValueError):
            continue
        if held.get("hostname") == os.uname().nodename and not Path(f"/proc/{held.get('pid')}").exists():
            say(f"  a run that was killed left the stack {stack} locked (process {held.get('pid')}); freeing it")
            call(["pulumi", "cancel", "--yes", "--stack", stack], values)
            return


def stack_outputs(values: dict[str, str], stack: str = STACK) -> dict[str, Any]:
    """The stack's outputs, secret ones left out. Empty when nothing has been brought up."""
    outputs: dict[str, Any] = pulumi.read(values, "stack", "output", "--json", "--stack", stack)
    return outputs


def stop() -> None:
    """`make down`: stop what was started, keep all state."""
    made = instance.load(FOLDER)
    if made:
        call([sys.executable, "-m", "localazure", "down"], {"LOCALAZURE_HOME": str(FOLDER)})
    if docker_engine.release(ROOT):
        say("stopped the Docker engine that was started for this project")


def clean() -> None:
    """`make clean`: stop, then remove everything that this clone made. The cache of compiled tools stays."""
    if instance.load(FOLDER):
        try:
            docker_host = docker_engine.ensure(ROOT)
        except ToolError as error:
            docker_host = docker_engine.own_host()
            say(f"  what the devices left in Docker stays there: {error}")
        call(
            [sys.executable, "-m", "localazure", "remove"],
            {"LOCALAZURE_HOME": str(FOLDER), "DOCKER_HOST": docker_host},
        )
    stop()
    shutil.rmtree(LOCAL, ignore_errors=True)
