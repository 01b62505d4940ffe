"""Target conditions: what the hub takes, and which devices are meant. The local hub has a parser of its own: they must agree."""

from __future__ import annotations

import pytest

from components.edge import target_condition
from components.edge.query import check_metric
from components.edge.query_words import QueryError
from components.edge.target_condition import matches, problems, together
from localazure.hub.query_tree import QuerySyntaxError
from localazure.hub.target_condition import parse_target

GOOD = [
    "",
    "  ",
    "*",
    "tags.site = 'lab'",
    "tags.site='lab' AND tags.floor >= 2",
    "NOT (tags.site = 'lab' OR deviceId = 'edge-1')",
    "not not tags.a = true",
    "tags.a <> null",
    "IS_DEFINED(tags.a.b) and properties.reported.firmware.version != '1.0'",
    "tags.operator = 'operator''sDevice'",
    "tags.[[line 1]].x = -1.5e3",
    "tags.a = 'Zürich'",
]
BAD = {
    "tags.site IN ['lab', 'hall']": "IN at 11 is not allowed",
    "tags.site NIN ['lab']": "NIN at 11 is not allowed",
    'tags.site = "lab"': "double quotes",
    "status = 'enabled'": "status at 1 cannot be asked for",
    "tags = 'lab'": "tags at 1 cannot be asked for",
    "properties.desired.x = 1": "properties.desired.x at 1",
    "properties.reported = 1": "properties.reported at 1",
    "deviceId.x = 1": "deviceId.x at 1",
    "IS_DEFINED(configurations.x)": "configurations.x at 12",
    "tags.site = 'lab": "the text that begins at 13 has no closing '",
    "tags.site == 'lab'": "expected the name of a property, found = at 12",
    "tags.site": "expected a comparison such as = 'value', found the end",
    "tags.site = 'lab' tags.a = 1": "expected AND, OR or the end, found tags at 19",
    "tags.site = 'lab' AND": "found the end",
    "(tags.site = 'lab'": "expected ')'",
    "1 = 1": "names no property",
    "tags.a = 'a\\b'": "a sign that the hub refuses",
    "tags.a = 'x' # note": "unexpected '#' at 14",
    "NOT " * 60 + "tags.a = 1": "nests deeper",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_the_hub_takes(text: str) -> None:
    assert problems(text) == []
    parse_target(text)


@pytest.mark.parametrize(("text", "reason"), BAD.items())
def test_what_the_hub_refuses(text: str, reason: str) -> None:
    assert reason in "; ".join(problems(text))
    if "1 = 1" not in text and "NOT NOT" not in text:  # ours is stricter there
        with pytest.raises(QuerySyntaxError):
            parse_target(text)


def test_all_problems_of_a_condition_at_once() -> None:
    assert len(problems("status = \"on\" OR properties.desired.x IN ['a']")) == 4


DEVICES: list[tuple[str, dict[str, object]]] = [
    ("edge-1", {"site": "lab", "floor": 2, "spare": True}),
    ("edge-2", {"site": "hall", "floor": 10}),
    ("edge-3", {"line": {"number": 7}, "site": 5}),
    ("edge-4", {}),
]
CONDITIONS = [
    *GOOD,
    "tags.floor > 2",
    "tags.floor < 10 OR tags.spare = true",
    "NOT tags.site = 'lab'",
    "tags.site != 'lab'",
    "IS_DEFINED(tags.line.number)",
    "NOT IS_DEFINED(tags.site)",
    "tags.line.number = 7 AND deviceId = 'edge-3'",
    "deviceId >= 'edge-2' AND NOT (tags.site = 'hall' AND tags.floor = 10)",
    "tags.site > 'a'",
    "tags.missing = null",
    "'lab' = tags.site",
]


@pytest.mark.parametrize("text", [one for one in CONDITIONS if "reported" not in one])
def test_the_same_devices_as_the_hub_says(text: str) -> None:
    wanted = parse_target(text)
    for device_id, tags in DEVICES:
        document = {"deviceId": device_id, "tags": tags, "properties": {"reported": {}}}
        assert matches(text, device_id, tags) is wanted(document), device_id


def test_what_a_device_reports_is_not_known_beforehand() -> None:
    reported = "properties.reported.version = '2'"
    assert matches(reported, "edge-1", {}) is None
    assert matches(f"NOT {reported}", "edge-1", {}) is None
    assert matches(f"deviceId = 'edge-1' OR {reported}", "edge-1", {}) is True
    assert matches(f"deviceId = 'edge-2' AND {reported}", "edge-1", {}) is False
    assert matches(f"IS_DEFINED({reported.split()[0]})", "edge-1", {}) is None


def test_waves_add_up() -> None:
    assert together("tags.a = 1", ["tags.r = 'x'"]) == "(tags.a = 1) AND (tags.r = 'x')"
    two = together("tags.a = 1 OR tags.b = 1", ["tags.r = 'x'", "tags.r = 'y' AND tags.z = 1"])
    assert two == "(tags.a = 1 OR tags.b = 1) AND ((tags.r = 'x') OR (tags.r = 'y' AND tags.z = 1))"
    assert problems(two) == []
    assert together("*", ["tags.r = 'x'"]) == "tags.r = 'x'"
    assert together("tags.a = 1", ["tags.r = 'x'", "*"]) == "tags.a = 1"
    assert target_condition.EVERYTHING == "*"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT deviceId FROM devices",
        "select * from devices.modules where moduleId = '$edgeAgent' and properties.reported.lastDesiredStatus.code != 200",
        "SELECT COUNT() AS n, tags.site FROM devices WHERE deviceId IN ['a', 'b'] AND IS_DEFINED(tags.x)",
        "SELECT deviceId FROM devices.modules WHERE configurations.[[anomaly-1]].status = 'Applied'",
        'SELECT deviceId FROM devices WHERE tags.a = "x"',
    ],
)
def test_queries_of_metrics(text: str) -> None:
    check_metric(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("deviceId FROM devices", "expected SELECT"),
        ("SELECT deviceId", "expected FROM"),
        ("SELECT FROM devices", "expected the name of a property"),
        ("SELECT deviceId FROM devices.jobs", "a metric counts devices or devices.modules"),
        ("SELECT deviceId FROM devices WHERE tags.a", "expected a comparison"),
        ("SELECT deviceId FROM devices WHERE tags.a = 'x", "no closing '"),
        ("SELECT deviceId FROM devices GROUP BY tags.a", "expected AND, OR or the end"),
    ],
)
def test_queries_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        check_metric(text)
