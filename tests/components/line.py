"""A production line: one simulated device, images of the real scoring container for it, and readings that never stop."""

from __future__ import annotations

import json
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import docker
import requests
from azure.iot.device import IoTHubDeviceClient, Message
from azure.iot.device.exceptions import ConnectionFailedError
from azure.iot.hub import IoTHubRegistryManager

from components.services import registry
from localazure.edge import names, sas
from tests.scoring.conftest import build_image
from tests.services.cloud import Cloud
from tests.waiting import PATIENCE, until

READING = {
    "machine": {"temperature": 131.7, "pressure": 13.6},
    "ambient": {"temperature": 20.9, "humidity": 24.6},
    "timeCreated": "2026-01-01T00:00:00Z",
}
_PAUSE_SECONDS = 0.25


class Images:
    """Variants of the scoring image in a registry, by digest."""

    def __init__(self, registry_id: str, folder: Path) -> None:
        self._registry_id = registry_id
        self._engine = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], timeout=PATIENCE)
        self._base = build_image(self._engine, folder)
        self._folder = folder

    def push(self, name: str, script: str | None = None) -> str:
        """Another digest for every `name`; with `script` in place of score.py."""
        folder = self._folder.parent / f"variant-{name}"
        folder.mkdir()
        lines = [f"FROM {self._base}", f"LABEL variant={name}-{uuid.uuid4().hex}"]
        if script is not None:
            (folder / "score.py").write_text(script)
            lines.append("COPY score.py /var/azureml-app/score.py")
        (folder / "Dockerfile").write_text("\n".join(lines))
        login = registry.admin_credentials(self._registry_id)
        target = f"{login.login_server}/{name}"
        self._engine.images.build(path=str(folder), tag=f"{target}:t", rm=True)
        auth = {"username": login.username, "password": login.password}
        digest = ""
        for line in self._engine.api.push(target, "t", auth_config=auth, stream=True, decode=True):
            assert "error" not in line, line
            digest = line.get("aux", {}).get("Digest", digest)
        self._engine.api.remove_image(f"{target}:t")
        return f"{target}@{digest}"


class Line:
    """What belongs to one device of a hub: its folder, its container, its leaf device."""

    def __init__(self, azure: Cloud, hub_connection: str, device_id: str) -> None:
        self._azure, self._connection, self.device_id = azure, hub_connection, device_id
        self.host = hub_connection.partition("HostName=")[2].partition(";")[0]
        self._key = hub_connection.partition("SharedAccessKey=")[2]
        self.registry = IoTHubRegistryManager.from_connection_string(hub_connection)
        self.folder = azure.azure.folder / "devices" / self.host.rpartition(":")[2] / names.directory(device_id)
        self.engine = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], timeout=PATIENCE)

    def container(self, module: str = "scorer") -> Any:
        return self.engine.containers.get(names.container(self.folder, self.device_id, module))

    def modules(self) -> dict[str, str]:
        """Module -> image of what the hub wants the device to run."""
        desired = self.registry.get_module_twin(self.device_id, "$edgeAgent").properties.desired
        return {name: module["settings"]["image"] for name, module in (desired.get("modules") or {}).items()}

    def reported(self) -> dict[str, Any]:
        return dict(self.registry.get_module_twin(self.device_id, "$edgeAgent").properties.reported)

    def leaf(self) -> str:
        """The connection string of a leaf device below this one, through its gateway."""
        name = f"{self.device_id}-sensor"
        gateway = json.loads((self.folder / "gateway.json").read_text())["address"]
        if name not in {device.device_id for device in self.registry.get_devices()}:
            scope = self.registry.get_device(self.device_id).device_scope
            self.registry.create_device_with_sas(name, "", "", "enabled", device_scope=scope)
        key = self.registry.get_device(name).authentication.symmetric_key.primary_key
        return f"HostName={self.host};DeviceId={name};SharedAccessKey={key};GatewayHostName={gateway}"

    def scores(self, wanted: set[str]) -> dict[str, Any]:
        """Message id of a reading -> its score, once all are there or patience is at its end."""
        found: dict[str, Any] = {}
        answer = requests.get(
            f"https://{self.host}/messages/events",
            params={"since": "0", "timeout": str(PATIENCE)},
            headers={"Authorization": sas.token(self.host, self._key, policy="iothubowner")},
            stream=True,
            timeout=PATIENCE + 10,
        )
        with answer:
            for line in answer.iter_lines():
                event = json.loads(line) if line else {}
                if event.get("correlationId") in wanted and event["outputName"] == "amlOutput":
                    found.setdefault(event["correlationId"], event["bodyJson"])
                if wanted <= found.keys():
                    break
        return found


class Traffic:
    """A reading every quarter of a second, from `with` to its end; then `sent` and `scored` hold the account."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent: list[str] = []
        self.scored: dict[str, Any] = {}
        self.failed: list[BaseException] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        until(lambda: len(self.sent) >= 3 or self.failed)
        assert self.failed == []
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive() and self.failed == []
        self.scored = self._line.scores(set(self.sent))

    def all_scored(self) -> bool:
        assert len(self.sent) >= 3
        assert all(score["anomaly"] is True for score in self.scored.values())
        return set(self.sent) == set(self.scored)

    def _run(self) -> None:
        try:
            ca = (self._line.folder.parents[2] / "pki" / "ca.pem").read_text()
            client = IoTHubDeviceClient.create_from_connection_string(self._line.leaf(), server_verification_cert=ca)
            until(lambda: connects(client))
            while not self._stop.wait(_PAUSE_SECONDS):
                id_ = str(uuid.uuid4())
                client.send_message(
                    Message(
                        json.dumps(READING),
                        message_id=id_,
                        content_type="application/json",
                        content_encoding="utf-8",
                    )
                )
                self.sent.append(id_)
            client.shutdown()
        except BaseException as error:
            self.failed.append(error)


def connects(client: IoTHubDeviceClient) -> bool:
    """The edge hub of a device that was just enabled listens a moment later."""
    try:
        client.connect()
    except ConnectionFailedError:
        return False
    return True
