"""`python -m pipeline promote` and `rollback` work where the shell is logged in, not in the local environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import __main__ as program
from tools import promotion
from tools.console import ToolError


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["pipeline", *arguments])
    return program.main()


def test_promote(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(promotion, "promote", lambda *args, **more: called.append((args, more)))
    source = "acme/aml-edge/dev-eu"
    assert command(monkeypatch, "promote", "--source", source, "--target", "prod-eu", "--yes", "--force", "why") == 0
    here = {"force": "why", "yes": True, "project": Path.cwd()}
    assert called == [((os.environ, source, "prod-eu"), here)]


def test_rollback_and_a_refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(values: Any, stack: str, *, yes: bool, project: Path) -> None:
        assert (values, stack, yes, project) == (os.environ, "prod-eu", False, Path.cwd())
        raise ToolError("nothing to go back to", 3)

    monkeypatch.setattr(promotion, "rollback", refused)
    assert command(monkeypatch, "rollback", "--target", "prod-eu") == 3
    assert capsys.readouterr().err == "error: nothing to go back to\n"
