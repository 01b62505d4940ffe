"""What environments differ in: protection, tags, who builds; and the stack files that are committed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import Settings, SettingsError, load

Load = Callable[..., Settings]
Refused = Callable[..., str]
PROJECT = Path(__file__).parents[2]
REF = {"ref": "r.io/anomaly@sha256:" + "a" * 64, "fingerprint": "f1"}


def committed(stack: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return config


def test_without_a_word_nothing_is_protected_or_tagged(load_with: Load) -> None:
    settings = load_with()
    assert (settings.protect, settings.tags) == (False, None)


def test_tags_and_protection(load_with: Load) -> None:
    settings = load_with(tags='{"environment": "prod", "cost-center": ""}', protect="true")
    assert (settings.protect, settings.tags) == (True, {"environment": "prod", "cost-center": ""})


@pytest.mark.parametrize(
    ("key", "tags", "said"),
    [
        ("tags", {f"t{number}": "x" for number in range(51)}, "at most 50"),
        ('tags["a/b"]', {"a/b": "x"}, "none of"),
        (f"tags.{'n' * 129}", {"n" * 129: "x"}, "1 to 128 characters"),
        ("tags.a", {"a": "v" * 257}, "at most 256"),
        ("tags.env", {"Env": "x", "env": "y"}, "the same name as 'Env'"),
        ("tags.microsoftTeam", {"microsoftTeam": "x"}, "Azure's own"),
        ("tags.a", {"a": 5}, "must be text"),
    ],
)
def test_tags_that_azure_would_refuse(problem: Refused, key: str, tags: dict[str, Any], said: str) -> None:
    assert said in problem(key, tags=tags)


def test_the_longest_tags_are_taken(load_with: Load) -> None:
    tags = {f"{number:02}{'n' * 126}": "v" * 256 for number in range(50)}
    assert load_with(tags=tags).tags == tags


def test_a_stack_that_builds_nothing_needs_an_image(load_with: Load, problem: Refused) -> None:
    assert "make promote" in problem("image.ref", image={"builder": "none"})
    assert load_with(image={"builder": "none", **REF}).image.ref == REF["ref"]


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_staging_and_prod_run_what_was_promoted_and_refuse_to_build(stack: str) -> None:
    config = committed(stack)
    image = config["aml-edge:image"]
    assert image["builder"] == "none"
    bare = {key: value for key, value in image.items() if key not in REF}
    with pytest.raises(SettingsError, match="this stack builds nothing"):
        load({**config, "aml-edge:image": bare}, root=PROJECT)
    load({**config, "aml-edge:image": {**bare, **REF}}, root=PROJECT)


def test_environments_differ_where_they_should() -> None:
    made = {stack: committed(stack) for stack in ("dev", "staging", "prod")}
    for stack, config in made.items():
        assert config["aml-edge:tags"] == {"environment": stack}
    assert [str(config.get("aml-edge:protect", False)).lower() for config in made.values()] == [
        "false",
        "false",
        "true",
    ]
    assert [config["aml-edge:registry"]["sku"] for config in made.values()] == ["Basic", "Basic", "Standard"]
    assert made["prod"]["aml-edge:image"]["retain"] is made["prod"]["aml-edge:model"]["retain"] is True
    devices = [entry["id"] for config in made.values() for entry in config["aml-edge:devices"]]
    assert devices == ["edge-1", "staging-1", "prod-1"]
