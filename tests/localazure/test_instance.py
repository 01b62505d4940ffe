from __future__ import annotations

import socket
import threading
from pathlib import Path

from localazure import instance
from localazure.instance import IDENTITY_PORT, Instance, load, load_or_create


def test_the_same_folder_is_the_same_instance(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    first = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == first == load(tmp_path)
    assert (tmp_path / "instance.json").stat().st_mode & 0o077 == 0
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_a_taken_address_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    wanted = load_or_create(folder)
    (folder / "instance.json").unlink()
    with socket.create_server((wanted.address, IDENTITY_PORT)):
        assert load_or_create(folder).address != wanted.address


def test_two_at_once_agree(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[Instance] = []

    def make() -> None:
        barrier.wait()
        made.append(load_or_create(tmp_path / "shared"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len({(found.address, found.tenant_id, found.signing_key) for found in made}) == 1


def test_every_port_range_is_apart() -> None:
    ports = [
        instance.ARM_PORT,
        instance.IDENTITY_PORT,
        instance.MQTT_PORT,
        *instance.HUB_PORTS,
        *instance.REGISTRY_PORTS,
    ]
    assert len(ports) == len(set(ports))
