"""Each kind of fault, asked for on the command line, seen by a client of each kind of service."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.iot.device import IoTHubDeviceClient
from hypothesis import given
from hypothesis import strategies as st

from localazure.faults import FaultBook, FaultError, Place
from localazure.faults.rules import parse
from localazure.store import Store
from tests.faults.cloud import HUB, REGISTRY, Cloud, broken_connection, device_body, device_path
from tests.waiting import PATIENCE, until


def test_a_status_comes_so_often_in_the_form_of_each_service(cloud: Cloud) -> None:
    added = cloud(
        "fault", "add", "--match", "PUT .*/devices/.*", "--times", "2", "--status", "429", "--retry-after", "1"
    )
    assert "hit 0 of 2 times" in added
    for _ in range(2):
        answer = cloud.hub("PUT", device_path("d1"), device_body("d1"))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.headers["iothub-errorcode"] == "ThrottlingException"
        assert answer.json()["Message"].startswith("ErrorCode:ThrottlingException;")
        assert "Tracking ID" in answer.json()["ExceptionMessage"]
    assert cloud.hub("PUT", device_path("d1"), device_body("d1")).status_code == 200
    assert "hit 2 of 2 times" in cloud("fault", "list")
    assert [entry["status"] for entry in cloud.requests() if "fault" in entry][-2:] == [429, 429]

    cloud("fault", "add", "--on", "arm", "--status", "503")
    answer = cloud.arm("GET", cloud.group)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ServiceUnavailable")
    cloud("fault", "add", "--match", "get .*/microsoft.devices/.*", "--status", "500")  # in any case
    answer = cloud.arm("GET", cloud.id("Microsoft.Devices/IotHubs", HUB))
    assert (answer.status_code, answer.json()["httpStatusCode"]) == (500, "InternalServerError")
    cloud("fault", "add", "--on", "ml", "--status", "502")
    answer = cloud.ml("GET", "models")
    assert (answer.status_code, answer.json()["code"], answer.json()["statusCode"]) == (502, "BadGateway", 502)
    cloud("fault", "add", "--on", "blob", "--status", "503")
    with cloud.client() as client:
        blob = client.get(f"{cloud.instance.arm_url}/azureml/x")
    assert (blob.status_code, blob.headers["x-ms-error-code"]) == (503, "ServerBusy")
    cloud("fault", "add", "--on", f"registry:{REGISTRY}", "--status", "429", "--retry-after", "3")
    answer = cloud.pull()
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (429, "TOOMANYREQUESTS")
    cloud("fault", "add", "--on", "identity", "--status", "503")
    answer = httpx.get(
        cloud.instance.identity_url, params={"resource": "x"}, headers={"Metadata": "true"}, timeout=PATIENCE
    )
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert cloud("fault", "list").count("hit 1 of 1 times") == 6


def test_5xx_takes_turns_until_it_is_cleared(cloud: Cloud) -> None:
    cloud("fault", "add", "--on", "arm", "--times", "0", "--status", "5xx")
    assert [cloud.arm("GET", cloud.group).status_code for _ in range(5)] == [500, 502, 503, 504, 500]
    assert cloud("fault", "clear").strip() == "cleared 1 fault(s)"
    assert cloud.arm("GET", cloud.group).status_code == 200


def test_a_fault_of_one_hub_leaves_the_others_alone(cloud: Cloud) -> None:
    cloud("fault", "add", "--on", "hub:somebody-elses", "--times", "0", "--status", "503")
    assert cloud.hub("GET", "/devices").status_code == 200


def test_delay(cloud: Cloud) -> None:
    cloud("fault", "add", "--on", "hub", "--delay", "0.7")
    begun = time.monotonic()
    assert cloud.hub("GET", "/devices").status_code == 200
    assert time.monotonic() - begun >= 0.7
    assert cloud.hub("GET", "/devices").status_code == 200
    assert ["fault" in entry for entry in cloud.requests()][-2:] == [True, False], "once"


@pytest.mark.parametrize(
    "action", [(), ("--status", "503"), ("--reset", "before"), ("--reset", "after"), ("--kill", "after")]
)
def test_what_is_held_back_goes_on_when_the_fault_is_cleared(cloud: Cloud, action: tuple[str, ...]) -> None:
    cloud("fault", "add", "--on", "hub", "--delay", "600", *action)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cloud.hub, "GET", "/devices")
        until(lambda: "hit 1 of 1 times" in cloud("fault", "list"))
        assert not waiting.done()
        cloud("fault", "clear")
        assert waiting.result(PATIENCE).status_code == 200


@pytest.mark.parametrize(("when", "status"), [("before", 404), ("after", 200)])
def test_a_connection_is_reset_before_or_after_the_commit(cloud: Cloud, when: str, status: int) -> None:
    device = f"reset-{when}"
    told = (cloud.folder / "daemon.log").stat().st_size  # by other tests
    cloud("fault", "add", "--match", f"PUT {device_path(device)}", "--reset", when)
    with broken_connection():
        cloud.hub("PUT", device_path(device), device_body(device))
    assert cloud.hub("GET", device_path(device)).status_code == status
    entry = [entry for entry in cloud.requests() if entry.get("fault") and entry["path"] == device_path(device)][-1]
    assert entry["status"] is None
    assert b"Traceback" not in (cloud.folder / "daemon.log").read_bytes()[told:]
    assert cloud.hub("PUT", device_path(device), device_body(device)).status_code in (200, 409)


def test_a_refused_request_does_not_use_up_an_after(cloud: Cloud) -> None:
    cloud("fault", "add", "--match", "DELETE /devices/.*", "--reset", "after")
    assert cloud.hub("DELETE", device_path("nobody")).status_code == 404
    assert "hit 0 of 1 times" in cloud("fault", "list")


def test_a_kill_after_the_commit_keeps_what_was_written(cloud: Cloud) -> None:
    pid = cloud.up()
    cloud("fault", "add", "--match", "PUT .*/resourcegroups/killed", "--kill", "after")
    with broken_connection():
        cloud.arm("PUT", f"{cloud.subscription}/resourceGroups/killed", {"location": "westeurope"})
    cloud.wait_dead(pid)
    assert "not running" in cloud("fault", "list", ok=False)
    assert cloud.up() != pid
    assert cloud.arm("GET", f"{cloud.subscription}/resourceGroups/killed").status_code == 200
    assert "hit 1 of 1 times" in cloud("fault", "list")  # it is not killed again
    answer = cloud.arm("PUT", f"{cloud.subscription}/resourceGroups/killed", {"location": "westeurope"})
    assert answer.status_code == 200


def test_a_registry_refuses_credentials(cloud: Cloud) -> None:
    cloud("fault", "add", "--registry-401", REGISTRY, "--times", "2")
    with cloud.client() as client:  # asking without is refused as ever and costs nothing
        assert client.get(f"https://{cloud.login_server}/v2/").status_code == 401
    answer = cloud.pull()
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith(f'Bearer realm="https://{cloud.login_server}/oauth2/token"')
    parameters = {"service": cloud.login_server}
    assert cloud.pull(f"/oauth2/token?{httpx.QueryParams(parameters)}").status_code == 401
    assert cloud.pull().status_code == 200


def test_a_device_is_disconnected_and_comes_back(cloud: Cloud) -> None:
    assert "no device 'online' is connected" in cloud("fault", "add", "--disconnect", "online", ok=False)
    made = cloud.hub("PUT", device_path("online"), device_body("online")).json()
    key = made["authentication"]["symmetricKey"]["primaryKey"]
    client = IoTHubDeviceClient.create_from_connection_string(
        f"HostName={cloud.host};DeviceId=online;SharedAccessKey={key};GatewayHostName={cloud.instance.address}",
        server_verification_cert=cloud.instance.ca.read_text(),
        connection_retry_interval=1,
    )
    changes: list[None] = []  # not of what: when the client tells of one, the next may have happened already
    client.on_connection_state_change = lambda: changes.append(None)
    client.connect()
    try:
        assert "dropped 1 MQTT session" in cloud("fault", "add", "--disconnect", "online")
        until(lambda: len(changes) == 3 and client.connected)  # connected, disconnected, connected
        cloud("fault", "add", "--match", "GET /devices/online", "--disconnect", "online")
        assert cloud.hub("GET", device_path("online")).status_code == 200
        until(lambda: len(changes) == 5 and client.connected)
    finally:
        client.shutdown()


def test_only_the_owner_of_the_folder_may_ask(cloud: Cloud) -> None:
    with cloud.client() as client:
        url = f"{cloud.instance.arm_url}/localazure/faults"
        assert client.get(url).status_code == 401
        bearer = {"Authorization": f"Bearer {cloud.tokens.issue('https://management.azure.com/')}"}
        assert client.post(url, json={"match": ".*", "action": "delay", "delay": 1}, headers=bearer).status_code == 401
    asked = httpx.get(
        cloud.instance.identity_url,
        params={"resource": "urn:localazure:owner"},
        headers={"Metadata": "true"},
        timeout=PATIENCE,
    )
    assert asked.status_code == 400
    assert (cloud.folder / "instance.json").stat().st_mode & 0o077 == 0


def test_the_command_line_refuses_what_makes_no_sense(cloud: Cloud) -> None:
    for arguments, words in (
        (("--status", "429"), "--match or --on"),
        (("--match", ".*"), "needs one of"),
        (("--match", "(", "--status", "500"), "not a regular expression"),
        (("--match", ".*", "--status", "200"), "400 to 599"),
        (("--match", ".*", "--status", "500", "--reset", "before"), "only one"),
        (("--match", ".*", "--kill", "after", "--times", "0"), "--times 1 or more"),
        (("--match", ".*", "--reset", "before", "--retry-after", "1"), "needs --status"),
        (("--on", "mail", "--status", "500"), "is none of"),
    ):
        assert words in cloud("fault", "add", *arguments, ok=False)
    assert "there is no fault 4711" in cloud("fault", "clear", "4711", ok=False)
    assert cloud("fault", "list") == "no faults\n"


def test_the_book_survives_and_counts(tmp_path: Path) -> None:
    store = Store(tmp_path / "azure.db")
    book = FaultBook(store)
    fault = book.add(parse({"match": "GET /a", "action": "status", "status": 500, "times": 2}))
    found = book.find("GET", "/a", Place("arm"), False)
    assert found == fault
    assert book.find("GET", "/ab", Place("arm"), False) is None
    assert [bool(book.take(fault)) for _ in range(3)] == [True, True, False]
    again = FaultBook(store)
    assert [(one.id, one.hits) for one in again.all()] == [(fault.id, 2)]
    assert again.find("GET", "/a", Place("arm"), False) is None
    assert again.clear() == 1
    assert FaultBook(store).all() == []
    store.close()


_ANYTHING = st.one_of(
    st.none(), st.integers(), st.text("a(*5", max_size=5), st.floats(), st.lists(st.integers(), max_size=1)
)


@given(
    st.dictionaries(st.sampled_from(["match", "on", "action", "status", "delay", "times", "device", "x"]), _ANYTHING)
)
def test_senseless_faults_are_refused_and_nothing_else_goes_wrong(spec: dict[str, Any]) -> None:
    with contextlib.suppress(FaultError):
        parse(spec)
