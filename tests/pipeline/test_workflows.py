"""The workflows: pinned, and with no more rights than they need. actionlint checks the rest in `make lint`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(file: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(file.read_text())["jobs"].values()
    return [step for job in jobs for step in job.get("steps", [])]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_actions_are_pinned_by_commit_and_named_by_version(file: Path) -> None:
    used = re.findall(r"uses: (?!\./)(.*)", file.read_text())
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used), used


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_of_a_pull_request_reaches_a_shell_as_text(file: Path) -> None:
    assert [step["run"] for step in steps(file) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rights_are_given_by_the_job(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}


def test_checkouts_leave_no_token_behind() -> None:
    checkouts = [step for file in FILES for step in steps(file) if "checkout" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_forks_get_no_identity() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/preview.yml").read_text())["jobs"]["fork"]
    assert "permissions" not in job
    assert "secrets" not in str(job)
