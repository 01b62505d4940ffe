from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from localazure import instance
from tools import environment


@pytest.fixture
def values(tmp_path: Path) -> dict[str, str]:
    made = instance.load_or_create(tmp_path / "azure")
    return environment.variables(made, "unix:///run/some socket.sock", "base:1", tmp_path / "cli", local=tmp_path)


def test_a_shell_reads_back_what_was_meant(values: dict[str, str]) -> None:
    script = environment.for_shell(values) + '\nprintf "%s|%s" "$DOCKER_HOST" "$PULUMI_BACKEND_URL"'
    shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == f"{values['DOCKER_HOST']}|{values['PULUMI_BACKEND_URL']}"


def test_nothing_of_the_users_own_azure_or_pulumi_is_left(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of the user")
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "of the user")
    child = environment.for_process(values)
    assert "AZURE_CLIENT_SECRET" not in child
    assert "PULUMI_ACCESS_TOKEN" not in child
    assert "unset " in environment.for_shell(values)


def test_the_projects_programs_come_first_and_once(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folders = values["PATH"].split(":")
    assert folders[0] == str(environment.ROOT / ".venv" / "bin")
    assert len([folder for folder in folders if folder == folders[0]]) == 1


def test_every_line_is_an_assignment(values: dict[str, str]) -> None:
    for line in environment.for_shell(values).splitlines()[1:]:
        assert shlex.split(line)[0] == "export"
