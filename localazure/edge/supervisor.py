"""The daemon's side: a folder, a network, a certificate and a process for each IoT Edge identity of the hubs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import tomlkit
from cryptography import x509
from docker.errors import DockerException

from localazure import certs, docker_engine
from localazure.edge import names, network
from localazure.edge.containers import ContainerError, remove_all
from localazure.instance import Instance

log = logging.getLogger("localazure.edge.supervisor")

_FIRST_PAUSE, _LONGEST_PAUSE, _GOOD_SECONDS = 1.0, 60.0, 60.0
_STOP_SECONDS = 30
_KEY_FILE = "device-id.key"
_LOG_BYTES = 5_000_000


@dataclass
class _Entry:
    """One device: its folder, the one who works on it, its process."""

    folder: Path
    wanted: tuple[str, str, str] | None = None
    """Hub, device id, primary key; None: to be removed."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None


class DeviceSupervisor:
    """`device_added` and `device_removed` return at once and may come in any order and twice; the last word counts. Give
    `on_edge_device` to `HubService.on_edge_devices` before `start`: a device that the hubs do not know is cleared away then.

    `<folder>/devices/<hub port>/<device>/` holds config.toml, device-id.key, the edge hub's certificate, device.db, device.log and
    gateway.json (`hostName`, `address`, `port`, `ca`: where a leaf device finds the edge hub).
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._entries: dict[Path, _Entry] = {}
        self._running = False

    async def start(self) -> None:
        """Start the devices that were added so far. Folders of others are left from identities that are gone: they are removed."""
        self._running = True
        for file in self._root.glob("*/*/device.json"):
            self._entry(file.parent)
        for entry in self._entries.values():
            self._work_on(entry)

    async def stop(self) -> None:
        """Stop all devices with their modules, at the same time; everything stays on disk and in Docker for the next start."""
        self._running = False
        tasks = [entry.task for entry in self._entries.values() if entry.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def device_added(self, host_name: str, device_id: str, primary_key: str) -> None:
        """An IoT Edge identity exists (with this key): have a device for it. Before `start` it is only noted.

        A new key of a device that runs is written into its key file, as an operator does after a rotation: it goes on without
        a restart.
        """
        entry = self._entry(self.folder(host_name, device_id))
        before, entry.wanted = entry.wanted, (host_name, device_id, primary_key)
        if before and entry.process and entry.idle.is_set():
            if before != entry.wanted:
                _write(entry.folder / _KEY_FILE, base64.b64decode(primary_key))
        elif before != entry.wanted:
            self._work_on(entry)

    def device_removed(self, host_name: str, device_id: str) -> None:
        """The identity is gone: process, containers, network and folder go, too."""
        entry = self._entry(self.folder(host_name, device_id))
        entry.wanted = None
        self._work_on(entry)

    def on_edge_device(self, host_name: str, device_id: str, primary_key: str | None) -> None:
        """The listener for `HubService.on_edge_devices`; without a primary key the device is gone."""
        if primary_key is None:
            self.device_removed(host_name, device_id)
        else:
            self.device_added(host_name, device_id, primary_key)

    async def settled(self, host_name: str, device_id: str) -> None:
        """Returns when the last `device_added` or `device_removed` has been carried out (the process runs, or all is gone)."""
        entry = self._entries.get(self.folder(host_name, device_id))
        if entry:
            await entry.idle.wait()

    def folder(self, host_name: str, device_id: str) -> Path:
        return self._root / host_name.rpartition(":")[2] / names.directory(device_id)

    @property
    def _root(self) -> Path:
        return self._instance.folder / "devices"

    def _entry(self, folder: Path) -> _Entry:
        return self._entries.setdefault(folder, _Entry(folder))

    def _work_on(self, entry: _Entry) -> None:
        entry.idle.clear()
        entry.changed.set()
        if self._running and (entry.task is None or entry.task.done()):
            entry.task = asyncio.create_task(self._supervise(entry))

    async def _supervise(self, entry: _Entry) -> None:
        """Until the device is removed or we are cancelled."""
        pause = _FIRST_PAUSE
        try:
            while True:
                entry.changed.clear()
                if entry.wanted is None:
                    await self._remove(entry)
                    return
                started = asyncio.get_running_loop().time()
                try:
                    await self._launch(entry, *entry.wanted)
                    entry.idle.set()
                    code = await self._until_change(entry)
                    if code is None:
                        await self._end(entry)
                        continue
                    log.warning("the device in %s ended with code %s, see device.log there", entry.folder, code)
                except (ContainerError, DockerException, OSError) as error:
                    log.warning("the device in %s cannot start, trying again: %s", entry.folder, error)
                if asyncio.get_running_loop().time() - started > _GOOD_SECONDS:
                    pause = _FIRST_PAUSE
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(entry.changed.wait(), pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            await self._end(entry)

    async def _until_change(self, entry: _Entry) -> int | None:
        """The exit code, or None when something else is wanted now."""
        assert entry.process
        ended = asyncio.create_task(entry.process.wait())
        changed = asyncio.create_task(entry.changed.wait())
        try:
            await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
            return None if changed.done() else ended.result()
        finally:
            for task in (ended, changed):
                task.cancel()

    async def _launch(self, entry: _Entry, host_name: str, device_id: str, primary_key: str) -> None:
        config = await asyncio.to_thread(self._prepare, entry.folder, host_name, device_id, primary_key)
        output = await asyncio.to_thread(_open_log, entry.folder / "device.log")
        with output:
            entry.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "localazure.edge", str(config), "--parent", str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.STDOUT,
                cwd=Path(__file__).parents[2], start_new_session=True,
            )  # fmt: skip
        log.info("device %s of %s runs as process %d", device_id, host_name, entry.process.pid)

    async def _end(self, entry: _Entry) -> None:
        process, entry.process = entry.process, None
        if process is None or process.returncode is not None:
            return
        if entry.wanted is None:  # to be removed: nothing has to end in order
            process.kill()
        else:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            log.warning("the device in %s did not stop within %d s: killed", entry.folder, _STOP_SECONDS)
            process.kill()
            await process.wait()

    async def _remove(self, entry: _Entry) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await asyncio.to_thread(_clear, entry.folder)
                break
            except (ContainerError, DockerException, OSError) as error:
                log.warning("the device in %s cannot be removed, trying again: %s", entry.folder, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        entry.idle.set()
        if entry.wanted is not None:  # made again meanwhile
            asyncio.get_running_loop().call_soon(self._work_on, entry)

    def _prepare(self, folder: Path, host_name: str, device_id: str, primary_key: str) -> Path:
        """Everything a device needs before its first start; nothing is made twice. Blocks."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        client = docker_engine.connect()
        try:
            net = names.network(folder, device_id)
            gateway = network.ensure(client, net, names.labels(folder, host_name, device_id))
        finally:
            client.close()
        hostname = device_id.lower()
        _write(folder / _KEY_FILE, base64.b64decode(primary_key))
        if not _covers(folder / "edge-hub.pem", gateway, hostname):
            certs.issue(self._instance, "edge-hub", [gateway, hostname], folder)
        _write(folder / "device.json", json.dumps({"hub": host_name, "device": device_id}).encode())
        where = {"hostName": hostname, "address": gateway, "port": 8883, "ca": str(self._instance.ca)}
        _write(folder / "gateway.json", json.dumps(where, indent=2).encode())
        config = folder / "config.toml"
        _write(config, self._config_toml(folder, host_name, device_id, gateway, net).encode())
        return config

    def _config_toml(self, folder: Path, host_name: str, device_id: str, gateway: str, net: str) -> str:
        document = tomlkit.document()
        document["hostname"] = device_id.lower()
        document["trust_bundle_cert"] = self._instance.ca.as_uri()
        document["provisioning"] = {
            "source": "manual",
            "iothub_hostname": host_name,
            "device_id": device_id,
            "authentication": {"method": "sas", "device_id_pk": {"uri": (folder / _KEY_FILE).as_uri()}},
        }
        document["edge_ca"] = {
            "cert": (folder / "edge-hub.pem").as_uri(),
            "pk": (folder / "edge-hub.key").as_uri(),
        }
        document["localazure"] = {"network": net, "gateway": gateway}
        return tomlkit.dumps(document)


def _open_log(path: Path) -> BinaryIO:
    """For appending; what has grown large is put aside as `device.log.1`."""
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def _clear(folder: Path) -> None:
    client = docker_engine.connect()
    try:
        remove_all(client, folder)
    finally:
        client.close()
    if folder.exists():
        shutil.rmtree(folder)


def _covers(certificate: Path, address: str, hostname: str) -> bool:
    """Whether the certificate that is there is good for both names."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        names_ = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    found = {str(entry.value) for entry in names_}
    return {address, hostname} <= found


def _write(path: Path, content: bytes) -> None:
    """Readable for the user only, and whole or not at all."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
