"""Markdown that stays what it is whatever is written into it: no value may end a code span, a table cell or a fence."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Also what turns the direction of a text, so that it reads as another one, and halves of characters, which no file takes."""
_MOST_BACKTICKS = 30
_BACKTICKS = re.compile(r"`+")


def code(text: str) -> str:
    """A code span in a line or in a table cell."""
    text = _CONTROL.sub(" ", text).replace("\n", " ").replace("|", "\\|").strip()
    if not text:
        return "*empty*"
    ticks = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fence(text: str, language: str = "") -> str:
    """A fenced block, its fence longer than any run of backticks inside."""
    text = _CONTROL.sub(" ", text).strip("\n")
    text = _BACKTICKS.sub(lambda run: run[0][:_MOST_BACKTICKS], text)  # a fence must not outgrow what is in it
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(header)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(summary: str, body: str) -> str:
    """`summary` is HTML for GitHub: pass plain words of ours or what `escape` made."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def escape(text: str) -> str:
    """For HTML and for a table cell; also breaks up links and mentions, so that no comment calls somebody."""
    text = _CONTROL.sub(" ", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.replace("@", "@&#8203;").replace("`", "&#96;")
    return text.replace("|", "&#124;").replace("[", "&#91;")


def clip(text: str, most: int, what: str) -> str:
    """At most `most` characters, cut at the end of a line, with a note of what was left out."""
    if len(text) <= most:
        return text
    note = f"\n… {what}"
    kept = text[: max(0, most - len(note))]
    return kept[: kept.rfind("\n")] + note if "\n" in kept else kept + note


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
