"""No rule without a case: every rule that the validation can name is kept and broken in `test_validate`'s tables."""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from components.edge import limits, schemas, validate
from tests.edge.schema_cases import CASES, Case, document
from tests.edge.test_validate import BAD, Draft

REFUSING = {
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "minLength",
    "required",
    "pattern",
    "additionalProperties",
    "unevaluatedProperties",
}
FILES = ("common", *schemas.AGENT_VERSIONS.values(), *schemas.HUB_VERSIONS.values())


def named_rules() -> set[str]:
    """The rules in the sources: the second of three things that a check yields."""
    found = set()
    for module in (validate, limits):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 3:
                rule = node.value.elts[1]
                if isinstance(rule, ast.Constant):
                    found.add(str(rule.value))
    return found


def test_every_named_rule_is_broken_by_a_case() -> None:
    rules = named_rules()
    assert {"required", "shape", "schema-version", "module-count", "createOptions", "route", "twin-size"} <= rules, (
        "the search works"
    )
    broken = {rule for _, _, rule in BAD.values()}
    assert rules - broken == set()


def constraints(schema: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every keyword of a schema that can refuse something."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            is_name = bool(path) and path[-1] in ("properties", "$defs", "patternProperties")
            if key in REFUSING and not is_name and value is not True and not isinstance(value, dict):
                yield (*path, key)
            yield from constraints(value, (*path, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from constraints(value, (*path, index))


def without(schema: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return changed


def corpus(file: str) -> list[dict[str, Any]]:
    """Broken manifests in the schema versions of a file."""
    version = file.rpartition("-")[2]
    documents = [document(case) for case in CASES if file == "common" or case[0] == version]
    for spoil, _, _ in BAD.values():
        draft = Draft()
        if version == "1.0":
            draft.old_schemas()
        elif version == "1.2":
            draft.hub["schemaVersion"] = version
        with contextlib.suppress(KeyError):  # a case of a later version
            spoil(draft)
            documents.append(draft.document)
    return documents


def verdicts(documents: list[dict[str, Any]]) -> list[set[str]]:
    return [{str(violation) for violation in validate.validate(document)} for document in documents]


ELSEWHERE: set[tuple[Any, ...]] = {("type",), ("properties", "schemaVersion", "const")}
"""Said before a schema is asked: a twin's properties are an object, and its version chooses the schema. They are in the files for readers
who use them by themselves."""


def forget() -> None:
    for cached in (schemas.validator, schemas.part_validator, schemas._registry):
        cached.cache_clear()


@pytest.mark.parametrize("file", FILES)
def test_every_constraint_of_the_schemas_is_broken_by_a_case(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken out of its schema, it makes some broken manifest pass further: else no case breaks it."""
    real, documents = schemas._read, corpus(file)
    before, schema, idle = verdicts(documents), real(file), []
    for path in set(constraints(schema)) - ELSEWHERE:
        changed = without(schema, path)
        monkeypatch.setattr(schemas, "_read", lambda name, changed=changed: changed if name == file else real(name))
        forget()
        if verdicts(documents) == before:
            idle.append("/".join(map(str, path)))
    monkeypatch.undo()
    forget()
    assert idle == []


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{version} {'.'.join(map(str, place))} {value}"[:90] for version, place, value in CASES]
)
def test_each_of_these_is_refused_at_its_place(case: Case) -> None:
    found = validate.validate(document(case))
    assert found
    twin, *steps = case[1]
    place = f"['{twin}']['properties.desired']"
    assert all(place in violation.path for violation in found)
    assert any(str(steps[0]) in violation.path or len(steps) == 1 for violation in found)


def test_all_keywords_that_refuse_are_looked_at() -> None:
    others = {
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "$ref",
        "title",
        "properties",
        "patternProperties",
        "propertyNames",
        "items",
    }
    used = {key for file in FILES for key in keywords(schemas._read(file))}
    assert used == REFUSING | others


def keywords(schema: Any, names: bool = False) -> Iterator[str]:
    """Every key of a schema that is not the name of a property or definition."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if not names:
                yield key
            yield from keywords(value, not names and key in ("properties", "$defs", "patternProperties"))
    elif isinstance(schema, list):
        for value in schema:
            yield from keywords(value)
