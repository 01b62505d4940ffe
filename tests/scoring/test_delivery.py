"""One module under traffic while the edge hub and its container come and go: every message is scored, in order."""

from __future__ import annotations

import logging
import statistics
import time

import pytest
from docker.models.containers import Container

from tests.scoring.edge_double import EdgeHub, wait_for
from tests.scoring.traffic import Traffic, answered, connected, first_outputs, log

pytestmark = pytest.mark.docker


def test_latency(hub: EdgeHub, plain: Container) -> None:
    connected(hub, plain)
    for number in range(60):
        hub.send(f"m{number}", {"i": number})
        time.sleep(0.05)
    answered(hub, plain)
    took = sorted(1000 * (output.at - hub.sent[output.properties["$.cid"]].transmitted[0]) for output in hub.received)
    summary = f"least {took[0]:.1f} ms, median {statistics.median(took):.1f} ms, 95th percentile {took[57]:.1f} ms"
    logging.getLogger(__name__).info("latency: %s", summary)
    # A quarter: a pause on the way (Nagle's 40 ms, a look now and then) would be in more of them, a busy machine is in fewer.
    assert took[len(took) // 4] < 40, summary


def test_what_cannot_be_scored_becomes_one_error_message(hub: EdgeHub, plain: Container) -> None:
    connected(hub, plain)
    hub.send("fails", {"i": 0, "fail": 1}, site="lab")
    hub.send("dies", {"i": 1, "die": 1})
    hub.send("too large", {"i": 2, "bytes": 300_000})
    hub.send("no text", b"\xff\xfe\x00")
    hub.send("unread", {"i": 3}, "otherInput")
    hub.send("fine", {"i": 4, "bytes": 200_000})
    assert wait_for(lambda: hub.outputs("fine")), log(plain)
    assert wait_for(lambda: not hub._pending)
    assert hub.outputs("unread") == []
    found = {output.properties["$.cid"]: output for output in hub.received}
    assert [output.properties["$.cid"] for output in hub.received] == ["fails", "dies", "too large", "no text", "fine"]
    assert {key: (found[key].output, found[key].json.get("status")) for key in found} == {
        "fails": ("amlError", 500),
        "dies": ("amlError", 502),
        "too large": ("amlError", 413),
        "no text": ("amlError", 400),
        "fine": ("amlOutput", None),
    }
    assert found["fails"].properties["site"] == "lab"
    assert found["fails"].json == {
        "messageId": "fails",
        "input": "amlInput",
        "status": 500,
        "reason": "ValueError: as told",
    }
    assert "input 'otherInput'" in log(plain)


def test_edge_hub_restart_with_lost_session_and_a_refusal(hub: EdgeHub, plain: Container) -> None:
    connected(hub, plain)
    with Traffic(hub):
        time.sleep(1)
        hub.down(lose_session=True)
        time.sleep(1)
        hub.refuse_connects = 1
        hub.up()
        connected(hub, plain)
        time.sleep(0.5)
        hub.drop()
        connected(hub, plain)
        time.sleep(0.5)
    answered(hub, plain)
    assert "refused: injected" in hub.events
    assert first_outputs(hub) == list(range(len(hub.sent)))


def test_killed_and_started(hub: EdgeHub, plain: Container) -> None:
    connected(hub, plain)
    with Traffic(hub):
        time.sleep(1)
        plain.kill()
        plain.start()
        time.sleep(1)
    answered(hub, plain)
    assert first_outputs(hub) == list(range(len(hub.sent)))
    repeated = [key for key in hub.sent if len(hub.outputs(key)) > 1]
    for key in repeated:
        assert len({output.properties["$.mid"] for output in hub.outputs(key)}) == 1


def test_stopped_under_traffic_and_started(hub: EdgeHub, plain: Container) -> None:
    connected(hub, plain)
    with Traffic(hub, ms=150):
        time.sleep(1.5)  # slower than the messages come: some are waiting
        plain.stop(timeout=150)
        assert plain.wait()["StatusCode"] == 0, log(plain)
        assert "stopping: drained" in log(plain), "it ended because all was done, although messages go on coming"
        delivered = [key for key, message in list(hub.sent.items()) if message.acknowledged]
        assert all(len(hub.outputs(key)) == 1 for key in delivered)
        plain.start()
        time.sleep(0.5)
    answered(hub, plain)
    assert [key for key in hub.sent if len(hub.outputs(key)) > 1] == [], "a clean stop repeats nothing"
    assert first_outputs(hub) == list(range(len(hub.sent)))
