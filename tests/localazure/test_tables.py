"""No service reaches into another's tables: the SQL in each room names tables that the room made."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOM = Path(__file__).parents[2] / "localazure"
_CREATED = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_USED = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|REFERENCES|INDEX \w+ ON|INDEX IF NOT EXISTS \w+ ON)\s+(\w+)")
_SQL = re.compile(r"^\s*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE)\b")
_KEYWORDS = {"SET"}  # ON CONFLICT ... DO UPDATE SET


def texts(module: Path) -> Iterator[str]:
    """Every text of a module; what an f-string puts in is a `*`."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "*" for part in node.values]
            yield "".join(str(part) for part in parts)


def room_of(module: Path) -> str:
    return module.relative_to(ROOM).parts[0]


def test_every_table_is_used_by_its_own_room_only() -> None:
    owners: dict[str, set[str]] = {}
    used: dict[str, set[str]] = {}
    for module in sorted(ROOM.rglob("*.py")):
        for text in texts(module):
            for table in _CREATED.findall(text):
                owners.setdefault(table, set()).add(room_of(module))
            if _SQL.match(text):
                for table in set(_USED.findall(text)) - _KEYWORDS:
                    used.setdefault(table, set()).add(room_of(module))
    assert {"arm_resources", "hub_twins", "ml_models", "registry", "faults"} <= set(owners)
    assert {table: rooms for table, rooms in owners.items() if len(rooms) > 1} == {}
    unknown = {table for table in used if table not in owners and not table.endswith("_")}  # "ml_*": a prefix
    assert unknown == set()
    strangers = {
        table: rooms - owners[table] for table, rooms in used.items() if table in owners and rooms != owners[table]
    }
    assert strangers == {}
    prefixes = {table: rooms for table, rooms in used.items() if table.endswith("_") and table not in owners}
    for prefix, rooms in prefixes.items():
        assert rooms <= set().union(*(owners[table] for table in owners if table.startswith(prefix))), prefix
