"""Of any preview: bounded, totals kept, deterministic, no secret, and Markdown that stays what it is."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pulumi.runtime import rpc

from pipeline.comment import LIMIT, Context, render
from pipeline.diagnostics import Violation
from pipeline.markdown import code, fence
from pipeline.preview import parse
from pipeline.values import UNKNOWNS, scrub

CANARY = "CANARY1x7Qz"
TYPES = [
    "azure-native:iothub:IotHubResource",
    "pulumi-python:dynamic/edge:EdgeDeployment",
    "pulumi-python:dynamic/edge:ModelImage",
    "amledge:index:IotHub",
    "x",
]
texts = st.text(max_size=40)
names = st.text(alphabet=st.characters(codec="utf-8", exclude_characters=":$"), min_size=1, max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
secret_entries: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"password": CANARY},
        {"connectionString": CANARY},
        {"nested": {"registryPassword": CANARY, "x": [{"primaryKey": CANARY}]}},
        {"text": f"HostName=h;SharedAccessKey={CANARY}=="},
        {"plain": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": CANARY}},
        {"registries": [{"address": "a", "password": CANARY}]},
        {"configToml": f"[provisioning]\nx = '{CANARY}'"},
        {"declared": CANARY},
        {"deployment": {"env": {"API_TOKEN": CANARY}, "module": "m"}},
        {"manifest": {"env": {"API_TOKEN": {"value": CANARY}}}},
        {"__provider": CANARY},
    ]
)


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::p::{draw(st.sampled_from(TYPES))}::{draw(names)}"
    state: dict[str, Any] = {
        "inputs": draw(st.dictionaries(names, values, max_size=4)) | draw(secret_entries),
        "custom": draw(st.booleans()),
    }
    other: dict[str, Any] = {
        "inputs": draw(st.dictionaries(names, values, max_size=4)) | draw(secret_entries),
        "custom": True,
    }
    for one in (state, other):
        one["additionalSecretOutputs"] = ["declared"]
    paths = [
        *dict(state["inputs"]),
        *dict(other["inputs"]),
        "nested.registryPassword",
        "nested.x[0].primaryKey",
        "registries[0].password",
    ]
    details = {path: {"kind": "update", "inputDiff": True} for path in paths}
    return {
        "op": draw(st.sampled_from(["create", "update", "delete", "replace", "same", "create-replacement"])),
        "urn": urn,
        "oldState": state,
        "newState": other,
        "detailedDiff": draw(st.sampled_from([None, details])),
        "replaceReasons": draw(st.lists(names, max_size=2)),
    }


previews = st.builds(
    lambda made, errors: {
        "steps": made,
        "changeSummary": {"update": 1234567, "same": 3},
        "diagnostics": [{"severity": "error", "message": message} for message in errors],
    },
    st.lists(steps(), max_size=8),
    st.lists(texts, max_size=2),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(previews, st.integers())
def test_any_preview(document: dict[str, Any], seed: int) -> None:
    made = render(parse(json.dumps(document)), Context("dev"))
    assert len(made) <= LIMIT
    assert "1234567 to be updated" in made
    assert CANARY not in made
    assert "__provider" not in made
    again = json.loads(json.dumps(document))
    urns = [step["urn"] for step in again["steps"]]
    if len(set(urns)) == len(urns):
        random.Random(seed).shuffle(again["steps"])
        assert render(parse(json.dumps(again)), Context("dev")) == made


def test_a_huge_preview_keeps_its_totals_and_its_warning() -> None:
    step = {
        "op": "replace",
        "oldState": {"custom": True, "inputs": {"a": "x" * 500}},
        "newState": {"custom": True, "inputs": {"a": "y" * 500}},
        "detailedDiff": {"a": {"kind": "update-replace", "inputDiff": True}},
        "replaceReasons": ["a"],
    }
    many = [{**step, "urn": f"urn:pulumi:dev::p::{TYPES[0]}::hub-{number:05}-{'n' * 300}"} for number in range(3000)]
    errors = [{"severity": "error", "message": "e" * 200_000}]
    document = {"steps": many, "changeSummary": {"replace": 3000}, "diagnostics": errors}
    violations = [Violation(f"policy-{number}", "mandatory", "r" * 400, "m" * 900) for number in range(500)]
    made = render(parse(json.dumps(document)), Context("dev", violations=violations))
    assert len(made) <= LIMIT
    assert "3000 to be replaced" in made
    assert "3000 stateful resources would be deleted or replaced" in made
    assert "more are not shown here" in made


def test_unknowns_are_the_sdks() -> None:
    assert {
        value
        for name, value in vars(rpc).items()
        if re.fullmatch(r"UNKNOWN\w*|_?unknown\w*", name) and isinstance(value, str)
    } <= UNKNOWNS
    assert rpc.UNKNOWN in UNKNOWNS


@given(st.text(alphabet="a`|\n<>@ ", max_size=60))
def test_a_code_span_is_closed_by_its_own_ticks_only(text: str) -> None:
    made = code(text)
    assert "\n" not in made
    if made.startswith("`"):
        ticks = re.match(r"`+", made)
        assert ticks
        assert re.findall(rf"(?<!`)`{{{len(ticks[0])}}}(?!`)", made).__len__() == 2


@given(st.text(alphabet="a`\n", max_size=60))
def test_a_fence_is_longer_than_what_it_holds(text: str) -> None:
    first, *body, last = fence(text).split("\n")
    assert first == last
    assert all(first not in line for line in body)


def test_secrets_in_free_text() -> None:
    for text in (
        f"login failed: HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={CANARY}=",
        f"password: {CANARY}",
        f"https://user:{CANARY}@host/x",
        f"Authorization: Bearer {CANARY}.x.y",
        f"https://store/blob?sv=1&sig={CANARY}%3D&se=2",
    ):
        assert CANARY not in scrub(text)
