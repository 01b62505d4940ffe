"""edgeAgent's built-in direct methods, called with the service SDK on a device with a real container; their rules without one."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any

import pytest
from azure.iot.hub.models import CloudToDeviceMethod
from hypothesis import given
from hypothesis import strategies as st

from localazure.edge import module_logs
from localazure.edge.module_logs import Line, LogsRequestError
from tests.edge_device.place import Place, module
from tests.waiting import until

LINES = [
    Line("stdout", "<3> 2026-01-02 03:04:05.678 +00:00 broken"),
    Line("stderr", "plain"),
    Line("stdout", "<6> fine"),
]
ORIGIN = {"iothub": "h", "device": "d", "id": "m"}


def logs(request: dict[str, Any]) -> Any:
    parsed = module_logs.parse({"schemaversion": "1.0", **request})
    (filter_,) = module_logs.chosen(parsed, ["m"]).values()
    return module_logs.response(parsed, filter_, ORIGIN, LINES)


def test_logs_are_chosen_and_formed() -> None:
    assert logs({"items": [{"id": "M"}]})["payload"].splitlines() == [line.text for line in LINES]
    assert logs({"items": [{"id": "all", "filter": {"tail": 1}}]})["payload"] == "<6> fine\n"
    assert logs({"items": [{"id": "m", "filter": {"loglevel": 3}}]})["payload"].endswith("broken\n")
    assert logs({"items": [{"id": "m", "filter": {"regex": "^pl"}}]})["payload"] == "plain\n"
    assert logs({"items": [{"id": "m", "filter": {"tail": 0}}]})["payload"] == ""
    answer = logs({"items": [{"id": "m"}], "encoding": "gzip", "contenttype": "json"})
    assert answer["payload"] is None
    messages = json.loads(gzip.decompress(base64.b64decode(answer["payloadBytes"])))
    assert messages[0] == {
        **ORIGIN,
        "stream": "stdout",
        "loglevel": 3,
        "text": "broken",
        "timestamp": "2026-01-02T03:04:05.678000+00:00",
    }
    assert [message["loglevel"] for message in messages] == [3, 6, 6]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"items": []},
        {"items": [{"filter": {}}]},
        {"items": [{"id": "("}]},
        {"items": [{"id": "m", "filter": {"tail": "all"}}]},
        {"items": [{"id": "m", "filter": {"since": "yesterday"}}]},
        {"items": [{"id": "m"}], "encoding": "zip"},
        {"items": [{"id": "m"}], "contenttype": "xml"},
    ],
)
def test_senseless_requests_are_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(LogsRequestError):
        module_logs.parse(request_)


@pytest.mark.parametrize(
    ("text", "seconds_ago"), [("1 d", 86400), ("90 m", 5400), ("2 days 3 hours 2 minutes", 183720), ("5s", 5)]
)
def test_spans(text: str, seconds_ago: int) -> None:
    before = time.time()
    parsed = module_logs.parse({"items": [{"id": "m", "filter": {"since": text}}]})
    since = parsed.items[0][1].since
    assert since
    assert before - 1 <= since + seconds_ago <= time.time() + 1


@given(st.text())
def test_every_line_can_be_taken_apart(text: str) -> None:
    answer = module_logs.response(
        module_logs.parse({"items": [{"id": "m"}], "contenttype": "json"}),
        module_logs.Filter(),
        ORIGIN,
        [Line("stdout", text)],
    )
    assert len(json.loads(answer["payload"])) == 1


@pytest.mark.docker
def test_methods_of_a_device(place: Place, images: dict[str, str]) -> None:
    place.make_device("methods")
    image = place.push(images["one"], "echo-methods")
    script = "trap 'exit 0' TERM; echo out; echo '<3> err' >&2; while :; do sleep 0.2; done"
    options = json.dumps({"Entrypoint": ["sh", "-c"], "Cmd": [script]})
    entry = module(image, settings={"createOptions": options})
    place.applied("methods", place.deploy("methods", place.manifest({"echo": entry})))

    def call(name: str, payload: Any = None) -> tuple[int, Any]:
        method = CloudToDeviceMethod(
            method_name=name, payload=payload, response_timeout_in_seconds=120, connect_timeout_in_seconds=120
        )
        answer = place.service.invoke_device_module_method("methods", "$edgeAgent", method)
        return answer.status, answer.payload

    assert call("ping") == (200, None)
    assert call("Ping") == (200, None)
    status, payload = call("nonsense")
    assert (status, payload["message"][:29]) == (400, "Command 'nonsense' not found.")
    assert call("UploadModuleLogs", {})[0] == 501

    container = place.container("methods", "echo")
    before = container.attrs["State"]["StartedAt"]
    assert call("RestartModule", {"schemaVersion": "1.0", "id": "echo"}) == (200, None)
    container.reload()
    assert container.attrs["State"]["StartedAt"] > before
    state = place.wait_reported("methods", lambda state: state["modules"]["echo"]["runtimeStatus"] == "running")
    assert state["modules"]["echo"]["restartCount"] == 0
    assert call("RestartModule", {"schemaVersion": "1.0", "id": "other"}) == (
        500,
        {"message": "Module other not found in the current environment"},
    )
    assert call("RestartModule")[0] == 400
    assert (
        call("RestartModule", {"schemaVersion": "2.0", "id": "echo"})[0] == 500
    )  # edgeAgent's InvalidSchemaVersionException

    # Of before the restart and after it; the module runs before it has said anything.
    until(lambda: container.logs().count(b"out\n") == container.logs().count(b"err\n") == 2)
    expected = container.logs().decode()
    status, answers = call(
        "GetModuleLogs", {"schemaVersion": "1.0", "items": [{"id": "ec", "filter": {"since": "1 h"}}]}
    )
    assert (status, [answer["id"] for answer in answers]) == (200, ["echo"])
    assert sorted(answers[0]["payload"].splitlines()) == sorted(expected.splitlines())
    status, answers = call(
        "GetModuleLogs", {"schemaVersion": "1.0", "items": [{"id": "ec", "filter": {"until": 1000}}]}
    )
    assert (status, answers[0]["payload"]) == (200, "")
    assert call("GetModuleLogs", {"schemaVersion": "1.0", "items": [{"id": "nobody"}]}) == (200, [])
