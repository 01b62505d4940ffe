"""`logs`: the end of a file, and what is appended to it, over a rotation too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def logs(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "localazure", "logs", "--folder", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_last_lines(tmp_path: Path) -> None:
    (tmp_path / "daemon.log").write_text("".join(f"line {n}\n" for n in range(500)))
    output, _ = logs(tmp_path, "-n", "2").communicate(timeout=120)
    assert output == "line 498\nline 499\n"


def test_a_folder_that_never_ran(tmp_path: Path) -> None:
    process = logs(tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "never ran" in errors


def test_following_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    log.write_text("one\n")
    process = logs(tmp_path, "--requests", "-f")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "one\n"
        with log.open("a") as file:
            file.write("two\n")
        assert process.stdout.readline() == "two\n"
        log.replace(tmp_path / "requests.jsonl.1")
        log.write_text("three\n")
        assert process.stdout.readline() == "three\n"
    finally:
        process.terminate()
        process.communicate()
