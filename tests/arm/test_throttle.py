"""ARM's limits: what is left is said with each answer, and nothing left is 429."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localazure.arm.errors import ArmError
from localazure.arm.throttle import Throttle, load
from localazure.instance import InstanceError
from tests.arm.bodies import STORAGE, storage
from tests.arm.cloud import LOCATION, Cloud

ME, OTHER = {"oid": "me"}, {"oid": "other"}
READS, WRITES = "x-ms-ratelimit-remaining-subscription-reads", "x-ms-ratelimit-remaining-subscription-writes"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """One in which time stands still: what was used up does not come back while the test looks."""
    running = Cloud(tmp_path / "azure")
    running.throttle = Throttle(1, lambda: 0.0)
    running.start()
    running.make_group()
    yield running
    running.stop()
    running.http.close()


def test_every_answer_says_what_is_left(cloud: Cloud) -> None:
    account = cloud.id(STORAGE, "account")
    first = int(cloud.put(account, {"location": LOCATION} | storage()).headers[WRITES])
    assert first < 1200
    assert int(cloud.post(f"{account}/nothing").headers[WRITES]) == first - 1  # a refusal counts as well
    reads = [int(cloud.get(cloud.group_id(name)).headers[READS]) for name in ("rg", "none")]
    assert reads[0] - reads[1] == 1
    assert "x-ms-ratelimit-remaining-subscription-deletes" in cloud.delete(account).headers
    assert READS not in cloud.http.get(account).headers  # who is nobody uses up nothing


def test_nothing_left() -> None:
    now = [0.0]
    throttle = Throttle(0.0025, lambda: now[0])  # 30 reads, 3 writes an hour
    for left in (2, 1, 0):
        assert throttle.take("PUT", "s", ME) == {WRITES: str(left)}
    with pytest.raises(ArmError) as refused:
        throttle.take("POST", "s", ME)
    assert (refused.value.status, refused.value.code) == (429, "TooManyRequests")
    assert refused.value.headers == {"Retry-After": "1200"}
    assert "Number of 'write' requests" in refused.value.message
    assert throttle.take("GET", "s", ME) == {READS: "29"}
    assert throttle.take("PUT", "s", OTHER) == {WRITES: "2"}
    now[0] = 1200
    assert throttle.take("PUT", "s", ME) == {WRITES: "0"}
    assert Throttle(None).take("PUT", "s", ME) == {}


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    assert load(tmp_path).take("PUT", "s", ME) == {WRITES: "1199"}
    path.write_text(json.dumps({"hub": {}, "arm": {"throttling": False}}))
    assert load(tmp_path).take("PUT", "s", ME) == {}
    path.write_text(json.dumps({"arm": {"throttlingFactor": 2}}))
    assert load(tmp_path).take("PUT", "s", ME) == {WRITES: "2399"}
    for text in (
        "{",
        "[]",
        '{"arm": []}',
        '{"arm": {"x": 1}}',
        '{"arm": {"throttling": 1}}',
        '{"arm": {"throttlingFactor": 0}}',
    ):
        path.write_text(text)
        with pytest.raises(InstanceError, match=r"settings\.json"):
            load(tmp_path)
