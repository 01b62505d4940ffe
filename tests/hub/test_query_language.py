"""The language of queries and of target conditions: tables, and whatever Hypothesis thinks of."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localazure.hub.query_parser import parse_condition, parse_query
from localazure.hub.query_tree import UNDEFINED, QuerySyntaxError
from localazure.hub.query_values import compiled, condition
from localazure.hub.target_condition import parse_target

TWIN: dict[str, Any] = {
    "deviceId": "linuxprod1",
    "lastActivityTime": "2026-01-01T00:00:00Z",
    "statusReason": None,
    "capabilities": {"iotEdge": True},
    "tags": {
        "env": "prod",
        "floor": 2,
        "ratio": 2.5,
        "on": True,
        "owner": "o'x",
        "in": "word",
        "a-b": 1,
        "deep": {"x": "y"},
        "list": [1],
    },
    "properties": {"desired": {"$version": 4}, "reported": {"lastDesiredVersion": 4, "status": {"code": 200}}},
    "configurations": {"dep-1.x": {"status": "Applied"}, "2": {"status": "Targeted"}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("deviceId = 'linuxprod1'", True),
        ("DEVICEID = 'linuxprod1'", True),
        ("LastActivityTime > '2025'", True),
        ("tags.ENV = 'prod'", UNDEFINED),
        ("tags.env != 'prod'", False),
        ("tags.env <> 'test'", True),
        ("tags.floor = 2", True),
        ("tags.floor = 2.0", True),
        ("tags.floor = 0x2", True),
        ("tags.floor >= 2 AND tags.floor <= 2 and tags.ratio > 2e0", True),
        ("tags.floor < -1", False),
        ("tags.floor = '2'", UNDEFINED),
        ("tags.floor != '2'", UNDEFINED),
        ("tags.on = true", True),
        ("tags.on", True),
        ("tags.on = 1", UNDEFINED),
        ("tags.on > false", UNDEFINED),
        ("statusReason = null", True),
        ("statusReason != null", False),
        ("tags.env = null", UNDEFINED),
        ("tags.deep = 'y'", UNDEFINED),
        ("tags.deep.x = 'y'", True),
        ("tags.env.x = 'y'", UNDEFINED),
        ("tags.list = 1", UNDEFINED),
        ("tags.none = 'x'", UNDEFINED),
        ("NOT tags.none = 'x'", UNDEFINED),
        ("tags.none = 'x' OR tags.on", True),
        ("tags.none = 'x' AND tags.on", UNDEFINED),
        ("tags.none = 'x' AND tags.on = false", False),
        ("NOT tags.env = 'test'", True),
        ("NOT NOT tags.on", True),
        ("tags.env = 'a' OR tags.env = 'prod' AND tags.floor = 3", False),
        ("(tags.env = 'a' OR tags.env = 'prod') AND tags.floor = 2", True),
        ("tags.owner = 'o''x'", True),
        ("tags.owner = 'o\\'x'", True),
        ('tags.owner = "o\'x"', True),
        ("tags.env = '\\u0070rod'", True),
        ("IS_DEFINED(tags.env)", True),
        ("is_defined(statusReason)", True),
        ("not Is_Defined(tags.none)", True),
        ("tags.env IN ['test', 'prod']", True),
        ("tags.floor in [1, 2.0, null]", True),
        ("tags.env NIN ['test']", True),
        ("tags.none NIN ['test']", UNDEFINED),
        ("tags.in = 'word'", True),
        ("tags.[[a-b]] = 1", True),
        ("tags.a-1 = 0", UNDEFINED),
        ("tags.floor + 1 * 3 = 5", True),
        ("(tags.floor + 1) * 3 = 9 and 7 % 4 = 3 and tags.floor - 1 = 1 and tags.floor / 4 = 0.5", True),
        ("tags.floor / 0 = 1", UNDEFINED),
        ("tags.env + 1 = 1", UNDEFINED),
        ("configurations.[[dep-1.x]].status = 'Applied'", True),
        ("configurations.[[2]].status = 'Applied'", False),
        ("properties.desired.$version = properties.reported.lastDesiredVersion", True),
        ("properties.reported.status.code = 200", True),
        ("true", True),
        ("undefined", UNDEFINED),
    ],
)
def test_values(text: str, value: object) -> None:
    expression = parse_condition(text)
    assert compiled(expression)(TWIN) is value
    assert condition(expression)(TWIN) is (value is True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "SELECT", "SELECT *", "SELECT * FROM", "SELECT * FROM twins", "SELECT * FROM devices WHERE", "FROM devices"),
        *("SELECT * FROM devices WHERE tags.a = ", "SELECT * FROM devices WHERE tags.a == 'x'", "SELECT , FROM devices"),
        *("SELECT * FROM devices WHERE tags. = 'x'", "SELECT * FROM devices WHERE (tags.a = 'x'", "SELECT * FROM devices;"),
        *("SELECT * FROM devices WHERE a = 'x' tags.b = 1", "SELECT * FROM devices WHERE a NOT b", "SELECT * FROM devices d"),
        *("SELECT * FROM devices WHERE a IN 'x'", "SELECT * FROM devices WHERE a IN []", "SELECT * FROM devices WHERE a IN [b]"),
        *("SELECT * FROM devices WHERE STARTS_WITH(tags.a, 'x')", "SELECT * FROM devices WHERE IS_DEFINED('x')"),
        *("SELECT * FROM devices WHERE a = 'x", "SELECT * FROM devices WHERE a = '\\q'", "SELECT * FROM devices WHERE a = 12ab"),
        *("SELECT * FROM devices WHERE a = '\\ud800'", "SELECT * FROM devices WHERE a = 1e999", "SELECT * FROM devices WHERE a ? 1"),
        *("SELECT COUNT() FROM devices", "SELECT COUNT(*) AS n FROM devices", "SELECT a, COUNT() AS n FROM devices"),
        *("SELECT * FROM devices GROUP BY a", "SELECT a AS x, b AS x FROM devices", "SELECT TOP x * FROM devices"),
        *("SELECT TOP 1.5 * FROM devices", "SELECT *, a FROM devices", "SELECT a.b AS c.d FROM devices", "DELETE FROM devices"),
        "SELECT * FROM devices WHERE " + "(" * 5000 + "a" + ")" * 5000,
        "SELECT * FROM devices WHERE " + "NOT " * 5000 + "a",
        "SELECT * FROM devices WHERE a = 1" + " + 1" * 5000,
        "SELECT * FROM devices WHERE a = " + "9" * 5000,
    ],
)  # fmt: skip
def test_no_query(text: str) -> None:
    with pytest.raises(QuerySyntaxError):
        parse_query(text)


def test_long_conditions_are_no_deep_ones() -> None:
    devices = " OR ".join(f"deviceId = 'd{number}'" for number in range(2000))
    wanted = parse_target(devices)
    assert wanted({"deviceId": "d1999"})
    assert not wanted({"deviceId": "d2000"})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", False),
        ("  ", False),
        ("*", True),
        ("deviceId ='linuxprod1'", True),
        ("deviceId='other' or tags.env='prod'", True),
        ("tags.env = 'prod' AND tags.floor = 2", True),
        ("tags.env = 'prod' AND NOT deviceId = 'linuxprod1'", False),
        ("properties.reported.status.code = 200", True),
        ("tags.owner = 'o''x'", True),
        ("(tags.env = 'prod' AND NOT IS_DEFINED(tags.unmanaged))", True),
        ("tags.floor >= 1 and tags.floor < 3 and tags.on = true", True),
        ("tags.none != 'x'", False),
        ("tags.env = '-:.+%_#*?!(),=@;$ 09az'", False),
    ],
)
def test_targets(text: str, matches: bool) -> None:
    assert parse_target(text)(TWIN) is matches


@pytest.mark.parametrize(
    "text",
    [
        'deviceId = "linuxprod1"',
        "tags.env IN ['prod']",
        "tags.env NIN ['prod']",
        "properties.desired.a = 1",
        "status = 'enabled'",
        "capabilities.iotEdge = true",
        "linuxprod1",
        "tags.on",
        "NOT tags.on",
        "tags.on AND tags.env = 'prod'",
        "true",
        "DEVICEID = 'x'",
        "deviceId.x = 'x'",
        "tags = 'x'",
        "properties.reported = 1",
        "tags.a = 1 + 1",
        "tags.a = '\\u0070'",
        "tags.a = 'x<y'",
        "tags.environment = 'prod' NOT deviceId = 'linuxprod1'",
        "IS_DEFINED(properties.desired.x)",
        "** ",
        "SELECT * FROM devices",
    ],
)
def test_no_target(text: str) -> None:
    with pytest.raises(QuerySyntaxError):
        parse_target(text)


WORDS = st.sampled_from(
    [
        *("SELECT", "*", "FROM", "devices", "devices.modules", "WHERE", "GROUP", "BY", "TOP", "AS", "AND", "OR", "NOT", "IN", "NIN"),
        *("count()", "IS_DEFINED(", "(", ")", "[", "]", "[[", "]]", "[[x y]]", ",", ".", "=", "!=", "<", ">=", "+", "-", "%", "/"),
        *("'", '"', "'x'", "''", '"y"', "\\", "\\u00e9", "tags.a", "deviceId", "$version", "true", "null", "undefined", "1", "0x", "é"),
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "x y", "$version"]), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["tags", "a", "deviceId", "properties"]), JSON, max_size=4)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=200) | st.lists(WORDS, max_size=25).map(" ".join), DOCUMENTS)
def test_any_text_is_read_or_refused(text: str, document: dict[str, Any]) -> None:
    for parse in (parse_query, parse_condition, parse_target):
        try:
            parsed: Any = parse(text)
        except QuerySyntaxError as error:
            str(error).encode()  # goes into an answer
            continue
        if parse is parse_condition:
            assert condition(parsed)(document) in (True, False)
        if parse is parse_target:
            assert parsed(document) in (True, False)


NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=4).map(lambda name: f"tags.{name}x")
CONSTANTS = (
    st.integers(-(2**40), 2**40).map(str)
    | st.sampled_from(["true", "false", "null", "1.5", "0x1f"])
    | st.text(string.ascii_letters + " '", max_size=6).map(lambda text: "'" + text.replace("'", "''") + "'")
)
COMPARISONS = st.tuples(NAMES, st.sampled_from(["=", "!=", "<", ">", "<=", ">="]), CONSTANTS).map(" ".join)
CONDITIONS = st.recursive(
    COMPARISONS | NAMES.map(lambda name: f"IS_DEFINED({name})"),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})")
        | inner.map(lambda text: f"NOT ({text})")
    ),
    max_leaves=10,
)
TAGS = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=2).map(lambda name: f"{name}x"),
    st.booleans() | st.integers() | st.text(string.ascii_letters + " '", max_size=6),
)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS, TAGS)
def test_what_targets_also_queries(text: str, tags: dict[str, Any]) -> None:
    """Every target condition is a condition of queries and means the same, and so is `NOT NOT`; nothing is both itself and its negation."""
    document = {"deviceId": "d", "tags": tags}
    matches = parse_target(text)(document)
    assert condition(parse_query(f"select deviceId from devices where ({text})").where)(document) is matches
    assert parse_target(f"NOT (NOT ({text}))")(document) is matches
    assert not (matches and parse_target(f"NOT ({text})")(document))
