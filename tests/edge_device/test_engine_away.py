"""An engine that is not there when a device is made: tried again until it is."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from localazure import certs
from localazure.edge import DeviceSupervisor
from localazure.hub.policies import new_key
from localazure.instance import load_or_create

pytestmark = pytest.mark.docker


def test_a_device_starts_when_the_engine_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    instance = load_or_create(tmp_path / "azure")
    certs.ensure(instance)
    real = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")

    async def said(words: str) -> None:
        while True:
            if words in caplog.text:
                return
            await asyncio.sleep(0.05)

    async def run() -> None:
        devices = DeviceSupervisor(instance)
        await devices.start()
        host = f"{instance.address}:20500"
        try:
            monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
            devices.device_added(host, "late", new_key())
            await said("cannot start, trying again")
            monkeypatch.setenv("DOCKER_HOST", real)
            await devices.settled(host, "late")
            assert (devices.folder(host, "late") / "config.toml").exists()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
            devices.device_removed(host, "late")
            await said("cannot be removed, trying again")
        finally:
            monkeypatch.setenv("DOCKER_HOST", real)
            devices.device_removed(host, "late")
            await devices.settled(host, "late")
            await devices.stop()
        assert not devices.folder(host, "late").exists()

    asyncio.run(asyncio.wait_for(run(), 600))
