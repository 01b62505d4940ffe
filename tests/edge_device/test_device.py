"""A device from its identity to its removal, with real containers, a real registry and the real SDKs on every side."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from localazure import docker_engine, instance
from localazure.cli.remove import remove
from localazure.edge import names
from localazure.edge.send import send_readings
from tests.edge_device.place import Place, module
from tests.support import image_names
from tests.waiting import until

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def echo(place: Place, images: dict[str, str]) -> str:
    return place.push(images["one"], "echo")


@pytest.fixture(scope="module")
def deployed(place: Place, echo: str) -> str:
    """A device with the echo module, applied."""
    place.make_device("Edge-1")
    options = json.dumps({"HostConfig": {"Memory": 256 * 2**20}, "Labels": {"mine": "x" * 600}})
    settings = {"createOptions": options[:512], "createOptions01": options[512:]}
    entry = module(echo, settings=settings, env={"NUMBER": {"value": 7}, "TWIN": {"value": True}})
    content = place.manifest({"echo": entry})
    content["echo"] = {"properties.desired": {"wanted": "this"}}
    place.applied("Edge-1", place.deploy("Edge-1", content))
    return "Edge-1"


def test_new_device_reports_that_there_is_no_deployment(place: Place) -> None:
    place.make_device("empty")
    state = place.wait_reported("empty", lambda state: state["lastDesiredStatus"]["code"] == 417)
    assert "modules" not in state
    assert place.containers("empty") == []


def test_deployment_is_reported_as_edge_agent_does(place: Place, deployed: str, echo: str) -> None:
    state = place.reported(deployed)
    assert state["systemModules"]["edgeHub"]["runtimeStatus"] == "running"
    assert state["systemModules"]["edgeHub"]["settings"]["image"].startswith("mcr.microsoft.com/azureiotedge-hub")
    found = state["modules"]["echo"]
    assert found["settings"]["image"] == echo
    assert found["settings"]["imageHash"] == place.engine.images.get(echo).id
    assert (
        json.loads(found["settings"]["createOptions"] + found["settings"]["createOptions01"])["Labels"]["mine"]
        == "x" * 600
    )
    assert found["env"] == {"NUMBER": {"value": 7}, "TWIN": {"value": True}}
    assert (found["status"], found["runtimeStatus"], found["restartCount"]) == ("running", "running", 0)
    assert place.password not in json.dumps(state)
    assert place.password not in place.log(deployed)


def test_container_is_made_as_edge_agent_makes_it(place: Place, deployed: str) -> None:
    inspected = place.container(deployed, "echo").attrs
    environment = dict(entry.split("=", 1) for entry in inspected["Config"]["Env"])
    assert environment["NUMBER"] == "7"
    assert environment["IOTEDGE_GATEWAYHOSTNAME"] == "edge-1"
    assert environment["IOTEDGE_DEVICEID"] == "Edge-1"
    assert environment["IOTEDGE_IOTHUBHOSTNAME"] == place.host
    assert inspected["HostConfig"]["Memory"] == 256 * 2**20
    assert inspected["Config"]["Labels"]["net.azure-devices.edge.owner"] == "Microsoft.Azure.Devices.Edge.Agent"
    assert list(inspected["NetworkSettings"]["Networks"]) == [names.network(place.folder(deployed), deployed)]


def test_readings_go_in_and_answers_come_out(place: Place, deployed: str) -> None:
    answers = send_readings(
        place.connection_string, deployed, place.folder(deployed) / "gateway.json", [{"n": 1}, {"n": "ü"}, {"n": 3}]
    )
    assert [answer.body["echo"] for answer in answers] == [{"n": 1}, {"n": "ü"}, {"n": 3}]
    seen = answers[0].body["seen"]
    assert seen["id"] == answers[0].message_id
    assert (seen["input"], seen["type"], seen["encoding"]) == ("in", "application/json", "utf-8")
    assert (answers[0].device, answers[0].module, answers[0].output) == ("Edge-1", "echo", "out")


def test_twin_and_methods_pass_through_the_edge_hub(place: Place, deployed: str) -> None:
    assert place.wait_reported(deployed, lambda state: state["wanted"], module="echo") == {"wanted": "this"}
    from azure.iot.hub.models import CloudToDeviceMethod

    method = CloudToDeviceMethod(method_name="hello", payload={}, response_timeout_in_seconds=30)
    deadline = time.monotonic() + 180
    while True:
        try:
            answer = place.service.invoke_device_module_method(deployed, "echo", method)
            break
        except Exception:
            assert time.monotonic() < deadline, place.log(deployed)
            time.sleep(0.5)
    assert (answer.status, answer.payload) == (200, {"called": "hello"})


def test_stopped_device_takes_up_its_work_again(place: Place, deployed: str) -> None:
    before = place.container(deployed, "echo").id
    place.do(place.devices.stop())
    assert place.container(deployed, "echo").status == "exited"
    assert place.reported(deployed)["lastDesiredStatus"]["code"] == 406
    place.do(place.devices.start())
    version = place.service.get_module_twin(deployed, "$edgeAgent").properties.desired["$version"]
    state = place.applied(deployed, version)
    assert place.container(deployed, "echo").id == before
    assert state["modules"]["echo"]["restartCount"] == 0
    assert send_readings(place.connection_string, deployed, place.folder(deployed) / "gateway.json", [{"n": 9}])


def test_killed_device_process_is_replaced_and_finds_its_containers(place: Place, deployed: str) -> None:
    before = place.container(deployed, "echo").id
    entry = place.devices._entries[place.folder(deployed)]
    assert entry.process
    old = entry.process.pid
    os.kill(old, signal.SIGKILL)
    until(lambda: entry.process is not None and entry.process.pid != old)
    assert send_readings(place.connection_string, deployed, place.folder(deployed) / "gateway.json", [{"n": 5}])
    assert place.container(deployed, "echo").id == before


def test_wrong_password_prevents_the_pull_and_leaves_the_old_module_running(
    place: Place, images: dict[str, str], deployed: str
) -> None:
    new = place.push(images["two"], "echo")
    version = place.deploy(deployed, place.manifest({"echo": module(new)}, password="wrong"))
    state = place.wait_reported(deployed, lambda state: state["lastDesiredVersion"] == version)
    assert state["lastDesiredStatus"]["code"] == 500
    assert new in state["lastDesiredStatus"]["description"]
    assert state["modules"]["echo"]["runtimeStatus"] == "running"
    assert state["modules"]["echo"]["settings"]["image"] != new
    with pytest.raises(docker.errors.ImageNotFound):
        place.engine.images.get(new)
    answer = send_readings(place.connection_string, deployed, place.folder(deployed) / "gateway.json", [1])[0]
    assert answer.body["version"] == "one"

    version = place.deploy(deployed, place.manifest({"echo": module(new)}))
    state = place.applied(deployed, version)
    assert state["modules"]["echo"]["settings"]["image"] == new
    answer = send_readings(place.connection_string, deployed, place.folder(deployed) / "gateway.json", [1])[0]
    assert answer.body["version"] == "two"


def test_crashing_module_backs_off_and_a_stopped_one_stays_stopped(place: Place, echo: str) -> None:
    place.make_device("crash")
    modules = {
        "crash": module(echo, env={"CRASH": {"value": 3}}),
        "once": module(echo, env={"CRASH": {"value": 4}}, restartPolicy="never"),
        "off": module(echo, status="stopped"),
    }
    version = place.deploy("crash", place.manifest(modules))
    state = place.wait_reported(
        "crash",
        lambda state: (
            state["lastDesiredVersion"] == version
            and state["modules"]["crash"]["runtimeStatus"] == "backoff"
            and state["modules"]["once"]["runtimeStatus"] == "failed"
        ),
    )
    assert state["lastDesiredStatus"]["code"] == 200
    assert state["modules"]["crash"]["exitCode"] == 3
    assert state["modules"]["off"]["runtimeStatus"] == "stopped"
    assert state["modules"]["off"]["lastStartTimeUtc"] == "0001-01-01T00:00:00Z"
    waited = pause_of_a_crashing_module(place, "crash")
    assert waited >= 10
    state = place.reported("crash")
    assert state["modules"]["once"]["restartCount"] == 0

    version = place.deploy("crash", place.manifest({"off": module(echo, status="running")}))
    state = place.applied("crash", version)
    assert list(state["modules"]) == ["off"]
    assert len(place.containers("crash")) == 1
    version = place.deploy("crash", place.manifest({"off": module(echo, status="stopped")}))
    state = place.applied("crash", version)
    assert place.container("crash", "off").status == "exited"


def pause_of_a_crashing_module(place: Place, name: str) -> float:
    """Seconds between an end of the module `name` of the device of that name and its next start. The pauses grow: if this test was
    away while one passed, it looks at the next one."""
    seen: list[dict[str, Any]] = []

    def module_in(state: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = state["modules"][name]
        return found

    def restarted(state: dict[str, Any]) -> bool:
        return bool(module_in(state)["restartCount"] > seen[-1]["restartCount"])

    while True:
        seen.append(module_in(place.wait_reported(name, lambda state: module_in(state)["runtimeStatus"] == "backoff")))
        started = module_in(place.wait_reported(name, restarted, 400))
        if started["restartCount"] == seen[-1]["restartCount"] + 1:
            begun, over = (datetime.fromisoformat(started["lastRestartTimeUtc"]), seen[-1]["lastExitTimeUtc"])
            return (begun - datetime.fromisoformat(over)).total_seconds()


def test_deployment_that_edge_agent_cannot_read(place: Place, echo: str) -> None:
    place.make_device("bad")
    content = place.manifest({"echo": module(echo)})
    content["$edgeAgent"]["properties.desired"]["schemaVersion"] = "2.0"
    version = place.deploy("bad", content)
    state = place.wait_reported("bad", lambda state: state["lastDesiredVersion"] == version)
    assert state["lastDesiredStatus"]["code"] == 412
    version = place.deploy("bad", place.manifest({"echo": module(echo, settings={"createOptions": "{"})}))
    state = place.wait_reported("bad", lambda state: state["lastDesiredVersion"] == version)
    assert state["lastDesiredStatus"]["code"] == 400
    assert place.containers("bad") == []


def test_removal_leaves_nothing(place: Place, echo: str) -> None:
    place.make_device("gone")
    place.applied("gone", place.deploy("gone", place.manifest({"echo": module(echo)})))
    assert len(place.containers("gone")) == 1
    assert len(place.networks("gone")) == 1
    place.service.delete_device("gone")
    place.do(place.devices.settled(place.host, "gone"))
    assert place.containers("gone") == []
    assert place.networks("gone") == []
    assert not place.folder("gone").exists()


def test_remove_leaves_nothing_of_an_instance_and_all_of_others(
    place: Place, tmp_path: Path, images: dict[str, str], deployed: str
) -> None:
    other = Place(instance.load_or_create(tmp_path / "azure"))
    other.make_device("left")
    pulled = f"{other.registry_host}/pulled"
    other.engine.images.get(images["one"]).tag(pulled, "1")
    content = other.manifest({"m": module(images["one"], imagePullPolicy="never")})
    other.applied("left", other.deploy("left", content))
    other.stop()
    engine = docker_engine.connect()
    label = f"{names.FOLDER_LABEL}={other.folder('left')}"
    assert len(engine.api.containers(all=True, filters={"label": label})) == 1
    assert len(engine.networks.list(filters={"label": label})) == 1
    remove(other.instance.folder, print)
    assert engine.api.containers(all=True, filters={"label": label}) == []
    assert engine.networks.list(filters={"label": label}) == []
    assert not [tag for tag in image_names(engine, "RepoTags") if tag.startswith(pulled)]
    assert not other.instance.folder.exists()
    engine.close()
    assert len(place.containers(deployed)) == len(place.networks(deployed)) == 1


DAEMON = """
import sys, time
from pathlib import Path
from localazure import docker_engine, instance
from localazure.cli.remove import remove
from tests.edge_device.place import Place, module
place = Place(instance.load_or_create(Path(sys.argv[1])))
place.make_device("orphan")
place.applied("orphan", place.deploy("orphan", place.manifest({"m": module(sys.argv[2], imagePullPolicy="never")})))
print(place.devices._entries[place.folder("orphan")].process.pid)
print(place.container("orphan", "m").id, flush=True)
time.sleep(600)
"""


def test_killed_daemon_leaves_no_device_and_the_next_one_takes_up_its_containers(
    tmp_path: Path, images: dict[str, str]
) -> None:
    folder = tmp_path / "azure"
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, folder, images["one"]], stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout
        pid, container = int(daemon.stdout.readline()), daemon.stdout.readline().strip()
        daemon.kill()
    until(lambda: not psutil.pid_exists(pid))
    engine = docker_engine.connect()
    before = engine.containers.get(container)
    assert before.status == "exited"
    engine.close()
    place = Place(instance.load_or_create(folder))
    try:
        version = place.service.get_module_twin("orphan", "$edgeAgent").properties.desired["$version"]
        place.applied("orphan", version)
        assert place.container("orphan", "m").id == before.id
    finally:
        place.close()
    assert place.containers("orphan") == []


def test_a_rotated_key_is_taken_up_without_a_restart(place: Place, deployed: str) -> None:
    """The device's key file is what an operator replaces; modules and their sessions have keys of their own."""
    container, log = place.container(deployed, "echo"), place.log(deployed)
    first = place.service.get_device(deployed)
    for _ in range(2):  # after the second, the key that the device started with is gone
        now = place.service.get_device(deployed)
        keys = now.authentication.symmetric_key
        fresh = base64.b64encode(os.urandom(32)).decode()
        place.service.update_device_with_sas(
            deployed, now.etag, fresh, keys.primary_key, "enabled", iot_edge=True, status_reason=now.status_reason
        )
    assert (place.folder(deployed) / "device-id.key").read_bytes() == base64.b64decode(fresh)
    assert place.service.get_device(deployed).generation_id == first.generation_id
    image = container.attrs["Config"]["Image"]
    content = place.manifest({"echo": module(image), "late": module(image)})  # a new module needs a new identity
    place.applied(deployed, place.deploy(deployed, content))
    assert "stopping" not in place.log(deployed)[len(log) :], "the process went on"
    until(lambda: place.service.get_module(deployed, "$edgeAgent").connection_state == "Connected")
