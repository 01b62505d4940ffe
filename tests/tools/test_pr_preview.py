"""Which files are the base and which the head; the rest of `make pr-preview` is the engine's (tests/engine/test_previews.py)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tools import pr_preview
from tools.console import ToolError


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of an origin whose main has three files; on a branch of its own, with edits that are not committed."""
    origin = tmp_path / "origin"
    (origin / "policy").mkdir(parents=True)
    git(origin, "init", "-q", "-b", "main")
    for name in ("kept.py", "deleted.py", "policy/pack", ".gitignore"):
        (origin / name).write_text(".local\n")
    (origin / "policy" / "pack").chmod(0o755)
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "x")
    made = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(origin), str(made))
    git(made, "checkout", "-q", "-b", "edit")
    git(made, "branch", "-qD", "main")
    (made / "kept.py").write_text("edited")
    (made / "new.csv").write_text("new")
    (made / "deleted.py").unlink()
    (made / ".local").mkdir()
    (made / ".local" / "secret").write_text("x")
    monkeypatch.setattr(pr_preview, "ROOT", made)
    return made


def test_the_head_is_the_working_tree_without_what_is_ignored(clone: Path, tmp_path: Path) -> None:
    head = tmp_path / "head"
    pr_preview._working_tree(head)
    found = {str(path.relative_to(head)) for path in head.rglob("*") if path.is_file()}
    assert found == {"kept.py", "new.csv", "policy/pack", ".gitignore"}
    assert (head / "kept.py").read_text() == "edited"
    assert os.access(head / "policy" / "pack", os.X_OK)


def test_the_base_may_be_a_branch_that_only_the_origin_has(clone: Path, tmp_path: Path) -> None:
    pr_preview._base("main", tmp_path / "base")
    assert (tmp_path / "base" / "kept.py").read_text() == ".local\n"
    assert (tmp_path / "base" / "deleted.py").exists()
    with pytest.raises(ToolError, match="git knows no 'nowhere'"):
        pr_preview._base("nowhere", tmp_path / "none")
