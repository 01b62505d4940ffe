"""Nothing that was acknowledged is lost: kill -9 under load, a full disk, several `up` at once."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from localazure import control
from tests.faults.cloud import WORKSPACE, Cloud, device_body, device_path
from tests.waiting import PATIENCE, until

ROUNDS = 3


class Writer(threading.Thread):
    """Writes one thing after the other until the daemon is gone; `acknowledged` is what it was told is kept."""

    def __init__(self, write: Callable[[int], Any], first: int) -> None:
        super().__init__(daemon=True)
        self._write, self._next = write, first
        self.acknowledged: list[Any] = []
        self.problems: list[str] = []

    def run(self) -> None:
        with contextlib.suppress(httpx.TransportError):
            while True:
                try:
                    self.acknowledged.append(self._write(self._next))
                except AssertionError as error:
                    self.problems.append(str(error))
                    return
                self._next += 1


def accepted(answer: httpx.Response) -> httpx.Response:
    assert answer.status_code in (200, 201), answer.text
    return answer


def test_kill_9_under_load_loses_no_acknowledged_write(cloud: Cloud) -> None:
    accepted(cloud.hub("PUT", device_path("loaded"), device_body("loaded")))
    with cloud.client() as client:
        arm = {"Authorization": f"Bearer {cloud.tokens.issue('https://management.azure.com/')}"}
        hub = {"Authorization": f"Bearer {cloud.tokens.issue('https://iothubs.azure.net')}"}
        models = models_url(cloud)
        asset = client.post(
            models.replace("/models", "/assets"), json={"name": "m", "artifacts": [{"prefix": "a/b/c"}]}, headers=arm
        ).json()["id"]

        def tag(number: int) -> int:
            body = {"location": "westeurope", "tags": {"n": str(number)}}
            url = f"{cloud.instance.arm_url}{cloud.subscription}/resourceGroups/load-{number % 5}"
            accepted(client.put(url, params={"api-version": "2024-03-01"}, json=body, headers=arm))
            return number

        def patch(number: int) -> int:
            body = {"properties": {"desired": {"n": number}}}
            url = f"https://{cloud.host}/twins/loaded"
            return int(
                accepted(client.patch(url, params={"api-version": "2021-04-12"}, json=body, headers=hub)).json()[
                    "version"
                ]
            )

        def register(number: int) -> str:
            body = {"name": "loaded", "mimeType": "application/json", "url": f"aml://asset/{asset}"}
            return str(accepted(client.post(models, json=body, headers=arm)).json()["id"])

        seed = random.randrange(2**32)
        moments = random.Random(seed)
        written: dict[str, list[Any]] = {"tag": [], "patch": [], "register": []}
        for _ in range(ROUNDS):
            writers = {
                name: Writer(write, len(written[name]))
                for name, write in (("tag", tag), ("patch", patch), ("register", register))
            }
            for writer in writers.values():
                writer.start()
            until(lambda: all(len(one.acknowledged) > 1 or one.problems for one in writers.values()))  # noqa: B023
            time.sleep(moments.uniform(0.1, 0.6))
            cloud.kill()
            for name, writer in writers.items():
                writer.join(PATIENCE)
                assert not writer.is_alive()
                assert writer.problems == [], f"seed {seed}"
                written[name] += writer.acknowledged
            cloud.up()
            check(cloud, written, f"seed {seed}")


def check(cloud: Cloud, written: dict[str, list[Any]], hint: str) -> None:
    """What was acknowledged last is there, or what was asked for after it and killed before its answer."""
    for group in range(5):
        last = max((number for number in written["tag"] if number % 5 == group), default=None)
        if last is not None:
            found = cloud.arm("GET", f"{cloud.subscription}/resourceGroups/load-{group}").json()
            assert int(found["tags"]["n"]) >= last, hint
    twin = cloud.hub("GET", "/twins/loaded").json()
    assert twin["version"] >= max(written["patch"], default=0), hint
    for model in written["register"][-20:]:
        assert cloud.ml("GET", f"models/{model}").status_code == 200, f"{model} {hint}"
    assert len(set(written["register"])) == len(written["register"]), hint  # no id was given twice
    assert intact(cloud)


def models_url(cloud: Cloud) -> str:
    workspace = cloud.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE)
    return f"{cloud.instance.arm_url}/modelmanagement/v1.0{workspace}/models"


def intact(cloud: Cloud) -> bool:
    with contextlib.closing(sqlite3.connect(cloud.folder / "azure.db")) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def test_two_at_once_after_a_kill_start_one_daemon_that_has_everything(cloud: Cloud) -> None:
    accepted(cloud.arm("PUT", f"{cloud.subscription}/resourceGroups/kept", {"location": "westeurope"}))
    cloud.kill()
    command = [sys.executable, "-m", "localazure", "up", "--folder", str(cloud.folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum("is up" in output for output in outputs) == 1
    assert cloud.arm("GET", f"{cloud.subscription}/resourceGroups/kept").status_code == 200
    assert intact(cloud)


def test_a_full_disk_is_an_error_and_no_corruption(tmp_path: Path) -> None:
    """A limit for the size of files stands for the disk: everybody may set it."""
    cloud = Cloud(tmp_path / "azure")
    most = 700_000
    daemon = subprocess.Popen(
        [sys.executable, "-m", "localazure", "run", "--folder", str(cloud.folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    try:
        until(lambda: control.status(cloud.folder))
        kept, refused = [], None
        body = {"location": "westeurope", "tags": {f"t{number}": "x" * 250 for number in range(50)}}
        for number in range(400):
            answer = cloud.arm("PUT", f"{cloud.subscription}/resourceGroups/g{number}", body)
            if answer.status_code >= 500:
                refused = answer
                break
            kept.append(accepted(answer).json()["name"])
        assert refused is not None, "the limit was never met"
        error = refused.json()["error"]
        assert (error["code"], "nothing was changed" in error["message"]) == ("InternalServerError", True)
        there = names(cloud)  # reading goes on
        assert there == sorted(kept)
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)
    cloud.up()
    try:
        assert names(cloud) == sorted(kept)
        accepted(cloud.arm("PUT", f"{cloud.subscription}/resourceGroups/after", body))
        assert intact(cloud)
        json.loads((cloud.folder / "requests.jsonl").read_text().splitlines()[-1])
    finally:
        cloud.down()


def names(cloud: Cloud) -> list[str]:
    return sorted(group["name"] for group in cloud.arm("GET", f"{cloud.subscription}/resourceGroups").json()["value"])
