"""The route language: what edgeHub takes and what it refuses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.edge.routes import Route, RouteError, parse

UP = "INTO $upstream"


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("/*", None),
        ("/twinChangeNotifications", None),
        ("/twinChangeNotifications/*", None),
        ("/messages/*", None),
        ("/messages/modules/*", None),
        ("/messages/modules/a-b_1/*", "a-b_1"),
        ("/messages/modules/m", "m"),
        ("/messages/modules/m/outputs/*", "m"),
        ("/messages/modules/m/outputs/alerts", "m"),
    ],
)
def test_sources(source: str, module: str | None) -> None:
    parsed = parse(f"FROM {source} {UP}")
    assert (parsed.source, parsed.source_module, parsed.condition) == (source, module, None)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "*",
        "/",
        "/message/*",
        "/messages/x",
        "/messages/modules/*/outputs/*",
        "/messages/modules/m/output/x",
        "messages/*",
        "/messages/modules//outputs/x",
        "/messages/* /messages/*",
        '"/messages/*"',
    ],
)
def test_unknown_sources(source: str) -> None:
    with pytest.raises(RouteError):
        parse(f"FROM {source} {UP}")


@pytest.mark.parametrize(
    ("sink", "module", "name"),
    [
        ("$upstream", None, None),
        ("$UpStream", None, None),
        ('BrokeredEndpoint("/modules/m/inputs/in-1")', "m", "in-1"),
        ("brokeredendpoint ( '/modules/m/inputs/x' )", "m", "x"),
    ],
)
def test_sinks(sink: str, module: str | None, name: str | None) -> None:
    parsed = parse(f"from /* into {sink}")
    assert (parsed.sink_module, parsed.sink_input) == (module, name)


@pytest.mark.parametrize(
    "sink",
    [
        "",
        "upstream",
        "$downstream",
        "$upstream, $upstream",
        "BrokeredEndpoint(/modules/m/inputs/x)",
        'BrokeredEndpoint("/modules/m")',
        'BrokeredEndpoint("/modules/*/inputs/x")',
        'BrokeredEndpoint("/modules/m/inputs/x")x',
        'BrokeredEndpoint("/modules/m/inputs/x"',
        'Endpoint("/modules/m/inputs/x")',
    ],
)
def test_unknown_sinks(sink: str) -> None:
    with pytest.raises(RouteError):
        parse(f"FROM /* INTO {sink}")


@pytest.mark.parametrize(
    "condition",
    [
        "NOT IS_DEFINED($connectionModuleId)",
        "NOT IS_DEFINED ({$connectionModuleId})",
        "temperature > 50 AND (level = 'high' OR level <> \"a INTO b\")",
        "$body.machine.temperature >= 100.5",
        "$body.readings[0].value / 2 + 1 < -3 % 2",
        "as_number(x) != 1e3 and not not y = null",
        "concat(a, 'b') || c = STARTS_WITH($body.x, 'it''s')".replace("''", "\\'"),
        "a ?? 1 = 1",
        "rand() <= .5",
        "from1 = 'FROM'",
    ],
)
def test_conditions(condition: str) -> None:
    assert parse(f"FROM /messages/* WHERE {condition} {UP}") == Route("/messages/*", condition, None, None, None)


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "a =",
        "= 1",
        "(a = 1",
        "a = 1)",
        "a = 'x",
        "a b",
        "AND a",
        "a AND",
        "NOT",
        "f(a,",
        "f(,a)",
        "a ! b",
        "a == 1",
        "FROM /* = 1",
        "a = 1 WHERE b = 2",
        "a > > 1",
        "a ; b",
        "$ = 1",
    ],
)
def test_malformed_conditions(condition: str) -> None:
    with pytest.raises(RouteError):
        parse(f"FROM /messages/* WHERE {condition} {UP}")


@pytest.mark.parametrize(
    "text", ["", " ", "FROM", "FROM /*", "INTO $upstream", "SELECT /* INTO $upstream", "WHERE a=1 INTO $upstream"]
)
def test_no_routes(text: str) -> None:
    with pytest.raises(RouteError):
        parse(text)


def test_the_error_says_where() -> None:
    with pytest.raises(RouteError, match="character 23: unexpected '!'"):
        parse("FROM /messages/* WHERE ! INTO $upstream".replace("WHERE ! ", "WHERE! "))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.text(st.sampled_from("FROMWHEINT /*$upstream\"'()a=<>1{}.,\n")))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(RouteError):
        assert parse(text).source.startswith("/")
