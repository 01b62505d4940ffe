"""The recorded previews are those of today's program and engine: each is made again, and its comment compared."""

from __future__ import annotations

import re

import pytest

from tests.pipeline import record
from tests.support import Project

pytestmark = [pytest.mark.engine, pytest.mark.docker]
_MACHINES = re.compile(
    r"\b[0-9a-f]{12}\b…?|(?<=@sha256:)[0-9a-f]{64}|(?<=[a-z-])[0-9a-f]{8}\b|(?<=[a-z-])[0-9a-f]{8}(?=/)"
)
"""Hashes, and what Pulumi made up for names: they differ in every recording."""


@pytest.fixture(scope="module", autouse=True)
def _brought_up(project: Project) -> None:
    project.up()


def shape(comment: str) -> str:
    """The comment with its hashes numbered in the order in which they come up."""
    seen: dict[str, str] = {}
    return _MACHINES.sub(lambda found: seen.setdefault(found[0].rstrip("…")[:12], f"#{len(seen)}"), comment)


@pytest.mark.parametrize("name", record.SCENARIOS)
def test_the_golden_comment_is_what_the_engine_says_today(project: Project, name: str) -> None:
    golden = (record.COMMENTS / f"{name}.md").read_text()
    made = record.comment(record.scenario(name, project))
    assert shape(made) == shape(golden), "if that is meant: python -m tests.pipeline.record"
