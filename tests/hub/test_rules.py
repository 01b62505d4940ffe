"""Pure parts: merging twins, sizes, property bags, shared access signatures."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localazure.hub import twin_rules as rules
from localazure.hub.errors import HubError
from localazure.hub.messages import parse_properties
from localazure.hub.policies import new_key
from localazure.hub.sas import SasError, make, parse
from localazure.hub.strict_json import parse_json

names = st.sampled_from("abcd")
leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
documents = st.recursive(
    st.dictionaries(names, leaves, max_size=3),
    lambda inner: st.dictionaries(names, inner | leaves, max_size=3),
    max_leaves=12,
)


def no_nulls(value: Any) -> bool:
    return value is not None and (not isinstance(value, dict) or all(map(no_nulls, value.values())))


@settings(deadline=None)  # the machine may be busy
@given(documents, documents)
def test_merge_and_replacement(current: dict[str, Any], new: dict[str, Any]) -> None:
    current, new = rules.merge({}, current), rules.merge({}, new)
    assert no_nulls(current)
    before = copy.deepcopy((current, new))
    assert rules.merge(current, rules.replacement_patch(current, new)) == new  # what a client that merges ends up with
    assert (current, new) == before
    once = rules.merge(current, new)
    assert rules.merge(once, new) == once


@settings(deadline=None)  # the machine may be busy
@given(documents, documents)
def test_metadata_covers_the_content(first: dict[str, Any], second: dict[str, Any]) -> None:
    content, metadata = rules.merge({}, first), rules.stamp({}, first, "t1", 2)
    content, metadata = rules.merge(content, second), rules.stamp(metadata, second, "t2", 3)

    def check(part: dict[str, Any], meta: dict[str, Any]) -> None:
        assert {key for key in meta if key[0] != "$"} == set(part)
        assert meta["$lastUpdatedVersion"] in (2, 3)
        for key, value in part.items():
            check(value if isinstance(value, dict) else {}, meta[key])

    check(content, metadata)


def test_size() -> None:
    assert (
        rules.size({"ab": "cde", "n": 1, "b": True, "l": [1.5, None], "c": "\x01\x85x"})
        == 2 + 3 + 1 + 8 + 1 + 4 + 1 + 8 + 1 + 1
    )


@pytest.mark.parametrize(
    ("bag", "system", "properties"),
    [
        ("", {}, {}),
        ("%24.mid=1&%24.ct=a%2Fb&k=v", {"messageId": "1", "contentType": "a/b"}, {"k": "v"}),
        ("$.on=out&$.cid=c/", {"outputName": "out", "correlationId": "c"}, {}),
        ("k&l=&m=a=b&n=a+b", {}, {"k": "", "l": "", "m": "a=b", "n": "a+b"}),
        ("%24.uid=x&%24.unknown=y", {}, {}),
    ],
)
def test_properties(bag: str, system: dict[str, str], properties: dict[str, str]) -> None:
    assert parse_properties(bag) == (system, properties)


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=60))
def test_sas_parser_raises_one_error(text: str) -> None:
    for token in (text, f"SharedAccessSignature {text}", f"SharedAccessSignature sr={text}&sig={text}&se={text}"):
        try:
            parse(token).check([new_key()])
        except SasError:
            continue


def test_sas() -> None:
    key, other = new_key(), new_key()
    token = parse(make("Host:1/devices/a b", key, "p"))
    assert (token.resource, token.policy) == ("Host:1/devices/a b", "p")
    token.check([other, key])
    with pytest.raises(SasError, match="neither"):
        token.check([other])
    with pytest.raises(SasError, match="neither"):
        token.check([])
    with pytest.raises(SasError, match="expired"):
        parse(make("h", key, lifetime=0)).check([key])
    assert token.covers("host:1", "/devices/a b/modules/m")
    assert not token.covers("host:1", "/devices/a bc")
    assert not token.covers("host:1", "/devices")
    assert not token.covers("host:2", "/devices/a b")
    assert key not in repr(token)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=80))
def test_json_raises_one_error(data: bytes) -> None:
    with contextlib.suppress(HubError):
        parse_json(data)
