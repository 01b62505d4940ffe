from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from localazure import instance
from localazure.instance import IDENTITY_PORT, Instance, load, load_or_create


def test_the_same_folder_is_the_same_instance(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    first = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == first == load(tmp_path)
    assert (tmp_path / "instance.json").stat().st_mode & 0o077 == 0
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_a_taken_address_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    last = tmp_path / "localazure" / "last-address"
    taken = load_or_create(tmp_path / "one").address
    last.write_text(str(int(taken.rpartition(".")[2]) - 1))  # the next search would begin with the same again
    with socket.create_server((taken, IDENTITY_PORT)):
        assert load_or_create(tmp_path / "two").address != taken


@pytest.mark.parametrize("last", ["", "1", "251", "nonsense"])
def test_no_address_is_given_twice_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """Nobody listens at any of them yet, as when several begin at once or one is down for a moment."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "localazure").mkdir()
    (tmp_path / "localazure" / "last-address").write_text(last)
    assert len({load_or_create(tmp_path / str(number)).address for number in range(20)}) == 20


@pytest.mark.parametrize("cache", ["file", ""])
def test_a_user_without_a_cache_folder_gets_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", cache and str(tmp_path / cache))

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert load_or_create(tmp_path / "one").address.startswith("127.0.0.")


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
