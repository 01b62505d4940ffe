"""The module in its container: what it does with messages of every kind, and when it ends by itself."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.scoring.conftest import SCORING, Start
from tests.scoring.edge_double import EdgeDevice, EdgeHub, wait_for
from tests.scoring.traffic import Traffic, answered, connected, log

pytestmark = pytest.mark.docker

PLAIN = "/apps/plain"


def test_the_readings_are_scored(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    container = start("/var/azureml-app", device)
    connected(hub, container)
    readings = json.loads((SCORING / "readings.json").read_text())
    for number, reading in enumerate(readings):
        hub.send(f"reading {number}", reading, site="Zürich & co/=?", **{"$.uid": "x", "$.on": "evil"})
    hub.send("bad", {"machine": {}})
    answered(hub, container)
    scores, errors = hub.received[:3], hub.received[3:]
    assert [score.json for score in scores] == [
        {**reading, "anomaly": anomaly} for reading, anomaly in zip(readings, [False, True, True], strict=True)
    ]
    ids = {score.properties.pop("$.mid") for score in scores}
    assert len(ids) == 3
    for number, score in enumerate(scores):
        assert score.properties == {
            "$.on": "amlOutput",
            "$.cid": f"reading {number}",
            "$.ct": "application/json",
            "$.ce": "utf-8",
            "site": "Zürich & co/=?",
        }
    assert [(error.output, error.json["messageId"], error.json["status"]) for error in errors] == [
        ("amlError", "bad", 500)
    ]
    assert errors[0].json["reason"] == "ValueError: the reading has no field machine.temperature"
    assert "ValueError: the reading has no field machine.temperature" in log(container)
    status = container.exec_run("cat /proc/1/status").output
    assert b"CapEff:\t0000000000000000" in status
    assert b"Uid:\t10001" in status
    assert "SharedAccessSignature" not in log(container)


def test_a_direct_method_scores_too(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    """Between messages, which it does not disturb: `hub` balances their account at the end."""
    container = start("/var/azureml-app", device)
    connected(hub, container)
    reading = json.loads((SCORING / "readings.json").read_text())[1]
    for number in range(5):
        hub.send(f"reading {number}", reading)
        assert hub.call("score", reading) == (200, {**reading, "anomaly": True})
    status, answer = hub.call("score", {"machine": {}})
    assert (status, answer) == (500, {"message": "ValueError: the reading has no field machine.temperature"})
    assert hub.call("scores", reading) == (404, {"message": "there is no method scores; there is score"})
    answered(hub, container)
    assert [score.json["anomaly"] for score in hub.received] == [True] * 5


def test_acknowledged_in_order_after_the_score_was_accepted(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    container = start(PLAIN, device, WORKER_COUNT="3")
    connected(hub, container)
    hub.puback_delay = 0.05
    random.seed(1)
    for number in range(30):
        hub.send(f"m{number}", {"i": number, "ms": random.choice([0, 20, 150])})
    answered(hub, container)
    assert wait_for(lambda: all(message.acknowledged for message in hub.sent.values()))
    assert [output.json["i"] for output in hub.received] == list(range(30))
    assert len({output.json["pid"] for output in hub.received}) > 1, "one worker did all the work"
    for output in hub.received:
        acknowledged = hub.sent[output.properties["$.cid"]].acknowledged
        assert acknowledged
        assert acknowledged >= output.at
    moments = [message.acknowledged or 0 for message in hub.sent.values()]
    assert moments == sorted(moments)


def test_a_message_that_hangs_does_not_keep_the_next_from_being_scored(
    device: EdgeDevice, hub: EdgeHub, start: Start
) -> None:
    container = start(PLAIN, device, AML_RUN_SECONDS="10", AML_SCORE_SECONDS="120")
    connected(hub, container)
    hub.send("hangs", {"i": 0, "ms": 60_000})
    hub.send("fine", {"i": 1})
    answered(hub, container)
    assert [(output.properties["$.cid"], output.output) for output in hub.received] == [
        ("hangs", "amlError"),
        ("fine", "amlOutput"),
    ]
    assert hub.received[0].json["reason"] == "Scoring timeout after 10000 ms"


def test_a_message_that_takes_longer_than_the_drain_comes_again(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    container = start(PLAIN, device, AML_DRAIN_SECONDS="0.5", AML_RUN_SECONDS="600", AML_SCORE_SECONDS="600")
    connected(hub, container)
    hub.send("slow", {"i": 0, "ms": 3_600_000})
    assert wait_for(lambda: hub.sent["slow"].transmitted)
    container.stop(timeout=60)
    assert container.wait()["StatusCode"] == 0
    assert "left to come again" in log(container)
    assert hub.received == []
    hub.sent["slow"].body = b'{"i": 0}'  # the second time it is quick
    container.start()
    answered(hub, container)


def test_stops_at_once_while_there_is_no_edge_hub(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    hub.down()
    container = start(PLAIN, device, AML_DRAIN_SECONDS="600")
    try:
        assert wait_for(lambda: "trying again" in log(container))
        container.stop(timeout=120)
        assert container.wait()["StatusCode"] == 0, "neither the drain nor Docker's patience ended it"
    finally:
        hub.up()


def test_bytes_reach_a_raw_script(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    container = start("/apps/raw", device)
    connected(hub, container)
    hub.send("bytes", b"\x00\xff\xfe")
    hub.send("picture", b"\x89PNG", **{"$.ct": "image/png"})
    key = hub.send(None, b"[1]")
    assert wait_for(lambda: len(hub.received) == 3), log(container)
    assert [output.body for output in hub.received] == [b"\xfe\xff\x00", b"GNP\x89", b"]1["]
    assert {output.properties["$.ct"] for output in hub.received} == {"application/x-got"}
    assert "$.cid" not in hub.received[2].properties
    del hub.sent[key]  # an output without a message id to balance by


def test_the_token_is_renewed_before_it_expires(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    container = start(PLAIN, device, AML_TOKEN_SECONDS="60")
    connected(hub, container)
    signed, connects = device.workload.signed, hub.events.count("connect")
    with Traffic(hub):
        device.workload.failing = 2
        assert wait_for(lambda: device.workload.signed > signed, 300), log(container)
        assert wait_for(lambda: hub.events.count("connect") - connects == device.workload.signed - signed), hub.events
    answered(hub, container)
    assert device.workload.failing == 0
    assert not [event for event in hub.events if "expired" in event or "refused" in event], hub.events
    assert len(hub.received) == len(hub.sent), "a renewal repeats nothing"


def test_gives_up_without_a_workload_api(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    device.workload.failing = 10_000
    container = start(PLAIN, device, AML_GIVE_UP_SECONDS="1")
    assert container.wait(timeout=300)["StatusCode"] == 3
    assert "status 500" in log(container)


def test_gives_up_when_the_edge_hub_refuses_for_good(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    hub.refuse_connects = 10_000
    container = start(PLAIN, device, AML_GIVE_UP_SECONDS="1")
    assert container.wait(timeout=300)["StatusCode"] == 3
    assert "Not authorized" in log(container)


def test_the_server_s_death_ends_the_container(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    container = start(PLAIN, device)
    connected(hub, container)
    hub.send("first", {"i": 0})
    answered(hub, container)
    killer = "import os, signal; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and p != str(os.getpid())]"
    container.exec_run(["python", "-c", killer])
    assert container.wait(timeout=300)["StatusCode"] == 1
    assert "died" in log(container)


def test_a_module_that_is_not_what_it_says_is_not_let_in(device: EdgeDevice, hub: EdgeHub, start: Start) -> None:
    """The double checks: otherwise the other tests prove nothing."""
    container = start(PLAIN, device, AML_GIVE_UP_SECONDS="1", IOTEDGE_IOTHUBHOSTNAME="other.azure-devices.net")
    assert container.wait(timeout=300)["StatusCode"] == 3
    assert any(event.startswith("refused: identity") for event in hub.events)


def test_another_authority_s_edge_hub_is_not_trusted(
    device: EdgeDevice, hub: EdgeHub, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localazure import certs
    from localazure.instance import load_or_create

    other = load_or_create(tmp_path)
    certs.ensure(other)
    monkeypatch.setattr(device.workload, "_trust_bundle", other.ca.read_text())
    container = start(PLAIN, device, AML_GIVE_UP_SECONDS="1")
    assert container.wait(timeout=300)["StatusCode"] == 3
    assert "CERTIFICATE_VERIFY_FAILED" in log(container)
    assert "connect" not in hub.events
