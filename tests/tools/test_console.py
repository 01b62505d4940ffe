from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT
from tools.console import ToolError, run


def test_a_quiet_success_shows_only_its_step(capsys: pytest.CaptureFixture[str]) -> None:
    run("make something", [sys.executable, "-c", "print('noise')"], expect="no time")
    assert capsys.readouterr().err == "  make something (usually no time)\n"


def test_a_failure_says_what_was_tried_and_ends_with_the_programs_last_words() -> None:
    with pytest.raises(ToolError, match=r"could not make something: .* exited with 3\n(.*\n)*.*the reason"):
        run("make something", [sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"])


def test_much_output_does_not_block_the_program() -> None:
    run("print a lot", [sys.executable, "-c", "print('x' * 5_000_000)"])


def test_the_standard_output_is_the_answers_alone() -> None:
    script = (
        "import subprocess\nfrom tools import console\nwith console.stdout_for_the_answer() as answer:\n"
        "    print('ours', flush=True)\n    subprocess.run(['echo', 'a child'])\n    answer.write('the answer ✓\\n')\nprint('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "the answer ✓\nafter\n"
    assert done.stderr == "ours\na child\n"
