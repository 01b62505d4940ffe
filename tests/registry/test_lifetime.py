"""The docker-registry process: restarted when it dies, never orphaned, the same again after a restart of the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from localazure import certs
from localazure.instance import load_or_create
from localazure.registry import RegistryService, RegistryUnavailableError
from localazure.store import Store
from tests.registry.support import NAME, Setting, client_of, push_image, service, with_registry


def pid_of(registries: RegistryService) -> int:
    (found,) = registries.describe()
    assert found["pid"]
    return int(found["pid"])


def test_a_restart_finds_ports_passwords_and_images_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (instance, registries), client_of(instance) as client:
            login_server = await registries.create(NAME)
            assert await registries.create(NAME.upper()) == login_server  # names have no case
            registries.set_admin(NAME, True)
            passwords = registries.passwords(NAME)
            setting = Setting(instance, registries, login_server, client)
            digest = await push_image(setting, "team/model", "1", (NAME, passwords[0]))
        async with service(tmp_path) as (again, registries), client_of(again) as client:
            assert registries.login_server(NAME) == login_server
            assert registries.passwords(NAME) == passwords
            found = await client.get(
                f"https://{login_server}/v2/team/model/manifests/{digest}",
                auth=(NAME, passwords[1]),
                headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
            )
            assert found.status_code == 200

    asyncio.run(asyncio.wait_for(run(), 300))


def test_a_registry_that_dies_comes_back(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        password, _ = setting.registries.passwords(NAME)
        victim = pid_of(setting.registries)
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 120
        while await setting.get("/v2/", password) != 200 or pid_of(setting.registries) == victim:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    with_registry(tmp_path, body)


def test_deleting_leaves_nothing(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        process = psutil.Process(pid_of(setting.registries))
        data = setting.instance.folder / "registries" / NAME.lower()
        assert data.is_dir()
        await setting.registries.delete(NAME)
        assert not process.is_running()
        assert not data.exists()
        assert setting.registries.describe() == []
        with pytest.raises(OSError):
            socket.create_connection((setting.instance.address, int(setting.login_server.split(":")[1])), 1)
        await setting.registries.delete(NAME)  # gone already: no error
        # Made again under its name it has its address, but not its old passwords or images.
        assert await setting.registries.create(NAME) == setting.login_server
        assert setting.registries.admin_enabled(NAME) is False

    with_registry(tmp_path, body)


def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (instance, registries):
            first = await registries.create(NAME)
            await registries.delete(NAME)
            with socket.create_server((instance.address, int(first.split(":")[1]))):
                assert await registries.create(NAME) != first

    asyncio.run(asyncio.wait_for(run(), 300))


def test_one_that_cannot_start_again_is_named_and_the_others_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (instance, registries):
            blocked = await registries.create(NAME)
            await registries.create("Fabrikam02")
        store = Store(instance.database)
        again = RegistryService(instance, store)
        with socket.create_server((instance.address, int(blocked.split(":")[1]))):
            with pytest.raises(RegistryUnavailableError, match=blocked):
                await again.start()
            assert [bool(found["pid"]) for found in again.describe()] == [False, True]
        assert await again.create(NAME) == blocked  # the port is free again
        await again.stop()
        store.close()

    asyncio.run(asyncio.wait_for(run(), 300))


def test_no_orphan_when_the_daemon_is_killed(tmp_path: Path) -> None:
    instance = load_or_create(tmp_path)
    certs.ensure(instance)
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from localazure.instance import load_or_create\n"
        "from localazure.registry import RegistryService\n"
        "from localazure.store import Store\n"
        "async def main():\n"
        "    instance = load_or_create(Path(sys.argv[1]))\n"
        "    registries = RegistryService(instance, Store(instance.database))\n"
        "    await registries.create('Contoso01')\n"
        "    print(registries.describe()[0]['pid'], flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        child = psutil.Process(int(owner.stdout.readline()))
        assert "docker-registry" in child.name()
        owner.kill()
    deadline = time.monotonic() + 120
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "docker-registry outlived its daemon"
        time.sleep(0.05)


def test_a_registry_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with service(tmp_path / "azure") as (instance, registries):
            programs = tmp_path / "bin"
            programs.mkdir()
            broken = programs / "docker-registry"
            broken.write_text("#!/bin/sh\necho disk on fire >&2\nexit 3\n")
            broken.chmod(0o755)
            monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
            with pytest.raises(RegistryUnavailableError, match=r"(?s)Contoso01|contoso01.*code 3.*disk on fire"):
                await registries.create(NAME)
            assert registries.describe() == []
            assert not (instance.folder / "registries" / NAME.lower()).exists()

    asyncio.run(asyncio.wait_for(run(), 300))
