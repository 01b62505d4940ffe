"""Readings through a device's edge hub, and the answers that come out at the hub: what `make score` shows.

A leaf device `<edge device>-sensor` is made as a child of the edge device (unmodified azure-iot-hub), connects through the gateway
(unmodified azure-iot-device) and sends one message for each reading. An answer is a device-to-cloud message of the hub whose
correlation id is the reading's message id.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from azure.iot.device import IoTHubDeviceClient, Message
from azure.iot.device.exceptions import ConnectionFailedError
from azure.iot.hub import IoTHubRegistryManager
from msrest.exceptions import HttpOperationError

from localazure.edge import sas

VARIABLE = "IOTHUB_CONNECTION_STRING"


class SendError(Exception):
    """The readings could not be sent or an answer did not come; the message says which and what to look at."""


@dataclass(frozen=True)
class Answer:
    """`body` is the answer's JSON; `device` and `module` sent it, by `output`."""

    reading: Any
    body: Any
    message_id: str
    device: str
    module: str | None
    output: str | None


def send_readings(
    connection_string: str, device_id: str, gateway: Path, readings: list[Any], timeout: float = 60
) -> list[Answer]:
    """Send each reading and wait for all answers, at most `timeout` seconds; in the order of the readings.

    `connection_string` is the hub's (with RegistryWrite and ServiceConnect), `gateway` the device's gateway.json. Raises SendError.
    """
    where = _gateway(gateway)
    hub = _Hub(connection_string, where["ca"])
    deadline = time.monotonic() + timeout
    leaf = hub.leaf_of(device_id)
    since = hub.last_sequence()
    ids = [str(uuid.uuid4()) for _ in readings]
    _send(hub.host, leaf, where, dict(zip(ids, readings, strict=True)), deadline)
    found: dict[str, dict[str, Any]] = {}
    for event in hub.events(since, deadline):
        if event.get("correlationId") in ids:
            found.setdefault(event["correlationId"], event)
        if len(found) == len(ids):
            break
    missing = [number + 1 for number, id_ in enumerate(ids) if id_ not in found]
    if missing:
        raise SendError(
            f"no answer within {timeout:g} s to reading(s) {', '.join(map(str, missing))} of {len(ids)} sent through {device_id}: "
            f"look at {gateway.parent / 'device.log'} and at the logs of the module's container, and at the routes of the deployment"
        )
    return [_answer(reading, id_, found[id_]) for id_, reading in zip(ids, readings, strict=True)]


def read_readings(path: Path) -> list[Any]:
    """A JSON file with one reading or an array of them. Raises SendError."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SendError(f"reading the readings from {path}: {error}") from error
    readings = content if isinstance(content, list) else [content]
    if not readings:
        raise SendError(f"{path} holds no reading")
    return readings


class _Hub:
    """The service side of the hub."""

    def __init__(self, connection_string: str, ca: str) -> None:
        parts = dict(part.partition("=")[::2] for part in connection_string.split(";"))
        if not {"HostName", "SharedAccessKeyName", "SharedAccessKey"} <= parts.keys():
            raise SendError(
                "the hub's connection string must read HostName=...;SharedAccessKeyName=...;SharedAccessKey=..."
            )
        self.host = parts["HostName"]
        self._policy, self._key, self._ca = parts["SharedAccessKeyName"], parts["SharedAccessKey"], ca
        self._registry = IoTHubRegistryManager.from_connection_string(connection_string)
        self._registry.protocol.config.connection.verify = ca

    def leaf_of(self, device_id: str) -> tuple[str, str]:
        """Id and key of the sensor that belongs to the edge device; made if there is none."""
        name = f"{device_id}-sensor"
        try:
            scope = self._registry.get_device(device_id).device_scope
            try:
                leaf = self._registry.get_device(name)
            except HttpOperationError as error:
                if error.response.status_code != 404:
                    raise
                leaf = self._registry.create_device_with_sas(name, "", "", "enabled", device_scope=scope)
            if leaf.device_scope != scope and scope not in (leaf.parent_scopes or []):
                raise SendError(
                    f"the device {name} is there already, but not as a child of {device_id}: delete it or make it one"
                )
        except HttpOperationError as error:
            raise SendError(
                f"registering {name} below {device_id} at {self.host}: {error.response.text[:300]}"
            ) from error
        return name, leaf.authentication.symmetric_key.primary_key

    def last_sequence(self) -> int:
        return max((event["sequence"] for event in self.events(0, time.monotonic())), default=0)

    def events(self, since: int, deadline: float) -> Iterator[dict[str, Any]]:
        """What reaches the hub after `since`, until the deadline."""
        seconds = max(0.0, deadline - time.monotonic())
        answer = requests.get(
            f"https://{self.host}/messages/events",
            params={"since": str(since), "timeout": f"{seconds:.1f}"},
            headers={"Authorization": sas.token(self.host, self._key, policy=self._policy)},
            verify=self._ca,
            stream=True,
            timeout=(10, seconds + 10),
        )
        with answer:
            if answer.status_code != 200:
                raise SendError(f"reading the messages of {self.host}: {answer.status_code} {answer.text[:300]}")
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)


def _send(host: str, leaf: tuple[str, str], where: dict[str, Any], readings: dict[str, Any], deadline: float) -> None:
    name, key = leaf
    client = IoTHubDeviceClient.create_from_connection_string(
        f"HostName={host};DeviceId={name};SharedAccessKey={key};GatewayHostName={where['address']}",
        server_verification_cert=Path(where["ca"]).read_text(),
    )
    try:
        _connect(client, deadline)
        for id_, reading in readings.items():
            message = Message(
                json.dumps(reading), message_id=id_, content_type="application/json", content_encoding="utf-8"
            )
            client.send_message(message)
    except Exception as error:  # the SDK's own exceptions have no common base with paho's and OS errors
        cause = error.__cause__ or error
        raise SendError(
            f"sending as {name} through the edge hub at {where['address']}: {type(error).__name__}: {cause}"
        ) from error
    finally:
        client.shutdown()


def _connect(client: IoTHubDeviceClient, deadline: float) -> None:
    """The edge hub listens some seconds after its device was started: that alone is worth waiting for."""
    while True:
        try:
            client.connect()
        except ConnectionFailedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _gateway(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SendError(f"looking for the device's edge hub in {path}: {error}; is the device running?") from error


def _answer(reading: Any, id_: str, event: dict[str, Any]) -> Answer:
    return Answer(
        reading, event.get("bodyJson"), id_, event["deviceId"], event.get("moduleId"), event.get("outputName")
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m localazure.edge.send", description=__doc__)
    parser.add_argument("device", help="the IoT Edge device's id")
    parser.add_argument("gateway", type=Path, help="the device's gateway.json")
    parser.add_argument("readings", type=Path, help="a JSON file: one reading or an array of them")
    parser.add_argument(
        "--timeout", type=float, default=60, help="seconds to wait for the answers (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        if not os.environ.get(VARIABLE):
            raise SendError(
                f"set {VARIABLE} to the hub's connection string (an argument would show in the process list)"
            )
        answers = send_readings(
            os.environ[VARIABLE],
            arguments.device,
            arguments.gateway,
            read_readings(arguments.readings),
            arguments.timeout,
        )
    except SendError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a program for people
        return 1
    for answer in answers:
        print(json.dumps(answer.body, ensure_ascii=False))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
