"""The hub's arithmetic at its edges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.edge.limits import depth, excesses, twin_size

text = st.text(max_size=10)
plain = st.none() | st.booleans() | st.integers() | st.floats() | text
keys = text.filter(lambda key: key not in ("$metadata", "$version"))
nested = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(keys, nested, max_size=4)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({}, 0),
        ({"ab": "cde"}, 5),
        ({"n": 1, "f": 1.5, "b": True}, 3 + 8 + 8 + 4),
        ({"gone": None}, 4),
        ({"a": {"b": {"c": "d"}}}, 4),
        ({"l": ["xx", 1]}, 1 + 2 + 8),
        ({"é": "日本"}, 3),  # characters, not bytes
        ({"t": "a\tb\x00\x7f\x9f"}, 3),  # C0 and C1 do not count
        ({"$metadata": {"$lastUpdated": "x"}, "$version": 5, "a": "b"}, 2),
    ],
)
def test_sizes(value: Any, size: int) -> None:
    assert twin_size(value) == size


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(objects, objects)
def test_the_size_of_two_disjoint_objects_adds_up(one: dict[str, Any], two: dict[str, Any]) -> None:
    both = {f"1{key}": value for key, value in one.items()} | {f"2{key}": value for key, value in two.items()}
    assert twin_size(both) == twin_size(one) + twin_size(two) + len(one) + len(two)


def filled(size: int) -> dict[str, str]:
    """An object of exactly that size, no value above 4096."""
    section: dict[str, str] = {}
    left = size
    while left > 0:
        take = min(left, 4000)
        section[f"{len(section):04d}"] = "x" * (take - 4)
        left -= take
    return section


@pytest.mark.parametrize(("size", "rules"), [(32767, []), (32768, ["twin-size"]), (40000, ["twin-size"])])
def test_the_twin_limit(size: int, rules: list[str]) -> None:
    section = filled(size)
    assert twin_size(section) == size
    assert [rule for _, rule, _ in excesses(section)] == rules


@pytest.mark.parametrize(("value", "levels"), [(1, 0), ({}, 1), ({"a": 1}, 1), ({"a": {"b": 1}, "c": 2}, 2)])
def test_depth(value: Any, levels: int) -> None:
    assert depth(value) == levels


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ({"v": "x" * 4096}, []),
        ({"v": "é" * 2049}, [(("v",), "value-size")]),
        ({"v": -4503599627370496}, []),
        ({"v": -4503599627370497}, [(("v",), "integer-range")]),
        ({"k" * 1024: 1}, []),
        ({"é" * 513: 1}, [(("é" * 513,), "key-size")]),
        ({"a.b": 1}, [(("a.b",), "key-characters")]),
        ({"a": {"$b": 1}}, [(("a", "$b"), "key-characters")]),
        ({"a b": [1]}, [(("a b",), "key-characters")]),
        ({"": 1}, [(("",), "key-characters")]),
        ({"a\x01": 1}, [(("a\x01",), "key-characters")]),
        ({"a-b_c:d#+": 1}, []),
    ],
)
def test_values_and_keys(section: dict[str, Any], found: list[Any]) -> None:
    assert [(path, rule) for path, rule, _ in excesses(section)] == found
