from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localazure.edge.condition import MAX_DEPTH, MAX_LENGTH, compile_condition
from localazure.edge.expressions import RouteError
from localazure.edge.routes import Endpoint, parse_config, parse_route

INTO_B = 'INTO BrokeredEndpoint("/modules/b/inputs/in")'


@dataclass
class Fake:
    system: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


MESSAGE = Fake(
    system={
        "connectionModuleId": "sensor",
        "connectionDeviceId": "edge-1",
        "contentType": "application/json",
        "contentEncoding": "utf-8",
        "messageId": "7",
    },
    properties={"level": "high", "number": "12.5", "$shadow": "app", "a-b": "x", "it's": "y"},
    body=b'{"machine": {"temperature": 21.5, "ok": true, "list": [1, {"x": "y"}], "none": null}}',
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("level = 'high'", True),
        ('level = "high"', True),
        ("level = 'HIGH'", False),
        ("level != 'low' AND level <> 'low'", True),
        ("as_number(number) > 9 AND as_number(number) < 100", True),  # as a text 12.5 would be less than 9
        ("12.5 = as_number(number)", True),
        ("as_number(level) > 3", False),
        ("NOT as_number(level) > 3", False),  # what is undefined is neither true nor false
        ("missing = 'x'", False),
        ("missing != 'x'", False),
        ("NOT missing = 'x'", False),
        ("IS_DEFINED(level) AND NOT IS_DEFINED(missing)", True),
        ("is_defined($connectionModuleId)", True),
        ("NOT IS_DEFINED($connectionModuleId)", False),
        ("$connectionDeviceId = 'edge-1' and $connectionModuleId = 'sensor'", True),
        ("$messageId = '7'", True),
        ("$shadow = 'app'", True),
        ("{$shadow} = 'app'", False),
        ("$body.machine.temperature >= 21.5", True),
        ("$body.machine.temperature > 1e2", False),
        ("$body.machine.ok", True),
        ("NOT $body.machine.ok", False),
        ("$body.machine.ok = true", True),
        ("$body.machine.list[1].x = 'y'", True),
        ("$body.machine.list[9].x = 'y'", False),
        ("$body.machine.temperature = '21.5'", False),  # a number is no text
        ("$body.machine = 1", False),
        ("$body.machine.ok AND $body.machine.ok AND level = 'high'", True),
        ("$body.machine.none = null AND IS_NULL($body.machine.none)", True),
        ("$body.machine.temperature.deeper = 1", False),
        ("level = 'low' OR level = 'high'", True),
        ("level = 'low' AND level = 'high' OR number = '12.5'", True),
        ("level = 'low' AND (level = 'high' OR number = '12.5')", False),
        ("NOT (level = 'low') AND NOT NOT level = 'high'", True),
        ("a-b = 'x'", True),
        ("STARTS_WITH(level, 'hi') AND ends_with(level, 'gh') AND contains(level, 'ig')", True),
        ("length(level) = 4 AND upper(level) = 'HIGH' AND concat(level, '!') = 'high!'", True),
        ("as_number(number) = 12.5 AND is_string(level) AND is_number($body.machine.temperature)", True),
        ("0x10 = 16", True),
        ("-5 < 5", True),
        (r"level = 'hi\gh'", False),  # only quotes, backslashes and \uXXXX are escapes
        (r"""level = 'h\u0069gh' AND 'it\'s' = "it's" """, True),
        ("true", True),
        ("undefined", False),
        ("level", False),  # a text is no condition
    ],
)
def test_condition(condition: str, expected: bool) -> None:
    assert compile_condition(condition)(MESSAGE) is expected


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"),
    [("text/plain", "utf-8", b'{"a": 1}'), ("application/json", "", b'{"a": 1}'), ("application/json", "utf-8", b"{")],
)
def test_body_counts_only_when_it_is_declared_json(content_type: str, encoding: str, body: bytes) -> None:
    message = Fake({"contentType": content_type, "contentEncoding": encoding}, {}, body)
    assert not compile_condition("$body.a = 1")(message)
    assert not compile_condition("IS_DEFINED($body.a)")(message)


@pytest.mark.parametrize(
    "condition",
    ["", "  ", "level =", "= 1", "level = 'a", "(level = 'a'", "level = 'a')", "AND", "a AND", "nofunction(a)", "length()", "length(a, b)",
     "a + 1 = 2", "a ?? b", "level == 'a'", "a b", "a = 1 NOT b", "$other[0] = 1", "#", "IS_DEFINED(a", "OR = 1",
     "number > 12", "$messageId = 7", "level = null", "level = true", "NOT level", "level AND true", "true AND $body.ok", "lower(1)"],
)  # fmt: skip
def test_condition_that_is_none(condition: str) -> None:
    with pytest.raises(RouteError):
        compile_condition(condition)


def test_condition_is_bounded() -> None:
    with pytest.raises(RouteError, match="nested"):
        compile_condition("(" * (MAX_DEPTH + 1) + "true" + ")" * (MAX_DEPTH + 1))
    with pytest.raises(RouteError, match="nested"):
        compile_condition("lower(" * 300 + "a" + ")" * 300)
    with pytest.raises(RouteError, match="signs"):
        compile_condition("true OR " * MAX_LENGTH + "true")
    assert compile_condition("NOT " * 1000 + "level = 'high'")(MESSAGE)


@pytest.mark.parametrize(
    ("source", "given", "takes"),
    [
        ("/messages/*", "/messages/events", True),
        ("/messages/*", "/messages/modules/a/outputs/o", True),
        ("/*", "/messages/modules/a", True),
        ("/messages/modules/*", "/messages/events", False),
        ("/messages/modules/*", "/messages/modules/a", True),
        ("/messages/modules/a/*", "/messages/modules/a/outputs/o", True),
        ("/messages/modules/a/*", "/messages/modules/a", True),
        ("/messages/modules/a/*", "/messages/modules/ab", False),
        ("/messages/modules/a", "/messages/modules/ab/outputs/o", False),
        ("/messages/modules/a/outputs/*", "/messages/modules/a", False),
        ("/messages/modules/a/outputs/o", "/messages/modules/a/outputs/o", True),
        ("/messages/modules/a/outputs/o", "/messages/modules/a/outputs/other", False),
        ("/messages/modules/a/outputs/amlOutput", "/messages/modules/a/outputs/AMLOUTPUT", True),
        ("/twinChangeNotifications", "/messages/events", False),
    ],
)
def test_source(source: str, given: str, takes: bool) -> None:
    assert parse_route("r", f"FROM {source} {INTO_B}").takes(given, Fake()) is takes


def test_route_parts() -> None:
    route = parse_route("r", "from /messages/* where level = ' INTO x ' into brokeredendpoint('/modules/b/inputs/in')")
    assert route.endpoint == Endpoint("b", "in")
    assert route.takes("/messages/events", Fake(properties={"level": " INTO x "}))
    assert not route.takes("/messages/events", Fake(properties={"level": "x"}))
    assert parse_route("r", "FROM /messages/*\n  INTO\t$upstream ").endpoint.upstream


@pytest.mark.parametrize(
    "text",
    ["", "FROM /messages/*", "FROM /messages/* INTO", "FROM /messages/* INTO nowhere", "/messages/* INTO $upstream",
     "FROM messages INTO $upstream", "FROM /messages/*/x INTO $upstream", "FROM /mess* INTO $upstream",
     "FROM /messages/* WHERE INTO $upstream",
     "FROM /messages/* IF a INTO $upstream", 'FROM /messages/* INTO BrokeredEndpoint("/modules/b")',
     "FROM /messages/* INTO BrokeredEndpoint(\"/modules/b/inputs/i')"],
)  # fmt: skip
def test_route_that_is_none(text: str) -> None:
    with pytest.raises(RouteError, match="route r"):
        parse_route("r", text)


def test_config() -> None:
    config = parse_config(
        {
            "schemaVersion": "1.1",
            "routes": {
                "plain": "FROM /messages/* INTO $upstream",
                "spec": {"route": f"FROM /messages/* {INTO_B}", "priority": 2, "timeToLiveSecs": 5},
                "gone": None,
            },
            "storeAndForwardConfiguration": {"timeToLiveSecs": 60},
            "$version": 3,
        }
    )
    assert (config.version, config.time_to_live) == (3, 60)
    assert [(route.name, route.priority, route.time_to_live) for route in config.routes] == [
        ("plain", 9, None),
        ("spec", 2, 5),
    ]


@pytest.mark.parametrize(
    ("schema", "spec"),
    [
        ("1.0", {"route": "FROM /messages/* INTO $upstream", "priority": 1}),
        ("1.1", {"route": "FROM /messages/* INTO $upstream", "priority": 10}),
        ("1.1", {"route": "FROM /messages/* INTO $upstream", "priority": True}),
        ("1.1", {"route": "FROM /messages/* INTO $upstream", "timeToLiveSecs": -1}),
        ("1.1", {"route": 7}),
        ("1.1", 7),
        ("2.0", "FROM /messages/* INTO $upstream"),
        (None, "FROM /messages/* INTO $upstream"),
    ],
)
def test_config_that_is_none(schema: str | None, spec: object) -> None:
    with pytest.raises(RouteError):
        parse_config({"schemaVersion": schema, "routes": {"r": spec}})


# fmt: off
WORDS = st.sampled_from(
    ["AND", "OR", "NOT", "(", ")", "=", "!=", "<>", "<", "<=", ">", ">=", ",", "'", '"', "level", "$body.a", "$body.list[0]", "{$x}", "1",
     "-2.5", "0x1f", "'text'", "true", "null", "undefined", "IS_DEFINED", "length", "x"]
)
# fmt: on


@given(st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = compile_condition(text)
    except RouteError:
        return
    assert condition(MESSAGE) in (True, False)
    assert condition(Fake()) in (True, False)


EXPRESSIONS = st.recursive(
    st.sampled_from(
        [
            ("level = 'high'", True),
            ("level = 'low'", False),
            ("as_number(number) < 20", True),
            ("IS_DEFINED(no)", False),
        ]
    ),
    lambda inner: st.one_of(
        inner.map(lambda e: (f"NOT ({e[0]})", not e[1])),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) AND ({p[1][0]})", p[0][1] and p[1][1])),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) or ({p[1][0]})", p[0][1] or p[1][1])),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
@settings(max_examples=200, deadline=None)
def test_logic_is_python_s(expression: tuple[str, bool]) -> None:
    text, expected = expression
    assert compile_condition(text)(MESSAGE) is expected


@given(st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_route_or_refused(text: str) -> None:
    for candidate in (text, f"FROM /messages/* {text} INTO $upstream", f"FROM /{text} INTO $upstream"):
        try:
            route = parse_route("r", candidate)
        except RouteError:
            continue
        assert route.takes("/messages/events", MESSAGE) in (True, False)
