"""The mark in an identity's statusReason: written, read back, never longer than the hub takes."""

from __future__ import annotations

import pytest

from components.edge import identity_mark
from components.edge.identity_mark import Mark


@pytest.mark.parametrize("owner", ["aml-edge/dev", "a, key generation/b", "p" * 100 + "/" + "s" * 100])
@pytest.mark.parametrize("generation", [1, 2, 123456789])
def test_what_is_written_is_read_back(owner: str, generation: int) -> None:
    text = str(Mark(owner, generation))
    assert len(text) <= 128
    found = identity_mark.read(text)
    assert found is not None
    assert found.is_of(owner)
    assert found.generation == generation
    assert not found.is_of("x" + owner)


def test_marks_of_older_versions() -> None:
    assert identity_mark.read("managed by aml-edge, aml-edge/dev") == Mark("aml-edge/dev", 1)
    long = f"managed by aml-edge, {'p' * 200}"[:128]
    found = identity_mark.read(long)
    assert found is not None
    assert found.is_of("p" * 200)


@pytest.mark.parametrize("text", ["", "broken, see ticket 7", "managed by somebody", "managed by aml-edge"])
def test_texts_of_others(text: str) -> None:
    assert identity_mark.read(text) is None
