"""A deployment manifest of the user's own, read from a file and judged before it becomes part of a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.edge import validate
from components.settings.problems import Finding, refuse, refuse_all

_FORMS = 'write {"modulesContent": {"$edgeAgent": ..., "$edgeHub": ...}}, as `az iot edge set-modules` takes it'


def read(path: Path, name: str, *, joined: bool) -> dict[str, Any]:
    """Its `modulesContent`, from any of the three forms. `name` is what messages call the file. When our module is `joined` to it,
    its routes may name modules that are not in it.

    Raises:
        PydanticCustomError: with a Finding for every violation, each with its JSON path; for use in a validator.
    """
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        refuse(f"there is no file {name}", _FORMS)
    except (OSError, ValueError, RecursionError) as error:
        refuse(f"{name} cannot be read as JSON: {error}", _FORMS)
    violations = [found for found in validate.validate(document) if not (joined and found.rule == "route-module")]
    if violations:
        refuse_all(Finding(f"{name} {violation}", "correct the file") for violation in violations)
    content: dict[str, Any] = document
    for wrapper in ("content", "modulesContent"):
        content = content.get(wrapper, content)
    if any(key != validate.DESIRED for twin in content.values() for key in twin):
        refuse(f"{name} is a layered deployment", "give the whole manifest of a device; layers are for fleets")
    settings = content["$edgeAgent"][validate.DESIRED]["runtime"].get("settings") or {}
    if settings.get("registryCredentials"):
        refuse(
            f"{name} holds registry credentials, which belong into no file",
            "take registryCredentials out; the stack's registry is added, others by aml-edge:registryLogins",
        )
    return content
