"""The JSON Schemas of deployment manifests: files of our own writing, one a runtime twin and version, parts in `common.json`."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

AGENT_VERSIONS = {version: f"edgeagent-{version}" for version in ("1.0", "1.1")}
HUB_VERSIONS = {version: f"edgehub-{version}" for version in ("1.0", "1.1", "1.2")}


@cache
def validator(name: str) -> Draft202012Validator:
    """A validator of one schema file, by its name without `.json`."""
    return Draft202012Validator(_read(name), registry=_registry())


@cache
def part_validator(definition: str) -> Draft202012Validator:
    """A validator of one definition in `common.json`, such as `module-1.1`."""
    return Draft202012Validator({"$ref": f"urn:aml-edge:common#/$defs/{definition}"}, registry=_registry())


@cache
def _registry() -> Registry[Any]:
    common = _read("common")
    resource: Resource[Any] = Resource.from_contents(common)
    registry: Registry[Any] = Registry().with_resource(common["$id"], resource)
    return registry


def _read(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
