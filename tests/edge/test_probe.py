from __future__ import annotations

from typing import Any

import pytest

from components.edge.probe import differences


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ({}, {"anomaly": True}),
        ({"anomaly": True}, {"anomaly": True, "score": 0.2}),
        ({"a": {"b": 1}}, {"a": {"b": 1.0, "c": 2}}),
        ({"score": 0.3}, {"score": 0.1 + 0.2}),
        ([1, {"a": None}], [1, {"a": None, "b": 2}]),
        ("plain", "plain"),
        (None, None),
    ],
)
def test_as_expected(expected: Any, answer: Any) -> None:
    assert [*differences(expected, answer)] == []


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        ({"anomaly": True}, {"anomaly": False}, "anomaly: expected true, came false"),
        ({"anomaly": True}, {"anomaly": 1}, "anomaly: expected true, came 1"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b: expected 1, and the answer lacks it"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "a[1]: expected 2, came 3"),
        ([1], [1, 2], "the answer: expected [1], came [1, 2]"),
        ({"a": 1}, "text", 'the answer: expected {"a": 1}, came "text"'),
        ({"score": 0.3}, {"score": 0.30001}, "score: expected 0.3, came 0.30001"),
        (None, 0, "the answer: expected null, came 0"),
    ],
)
def test_otherwise(expected: Any, answer: Any, said: str) -> None:
    assert [*differences(expected, answer)] == [said]


def test_all_at_once_and_none_too_long() -> None:
    found = [*differences({"a": 1, "b": 2}, {"a": 0, "b": "x" * 1000})]
    assert len(found) == 2
    assert all(len(line) < 300 for line in found)
