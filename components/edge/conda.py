"""The conda file as the builders use it: the user's environment and what the module runtime needs on top."""

from __future__ import annotations

import re
from typing import Any

import yaml

RUNTIME_REQUIREMENTS = ("azureml-inference-server-http==1.5.1", "paho-mqtt==2.1.0")
"""The scoring server and the MQTT client of scoring/edge_runtime. A user's own pin of either wins."""


def with_runtime(text: str) -> str:
    """The conda specification with the runtime's pip requirements added where the user names none of that project."""
    specification: dict[str, Any] = yaml.safe_load(text)
    dependencies = list(specification.get("dependencies") or [])
    pip = next((entry for entry in dependencies if isinstance(entry, dict) and "pip" in entry), None)
    if pip is None:
        pip = {"pip": []}
        dependencies.append(pip)
    users = list(pip["pip"] or [])
    named = {project(requirement) for requirement in users}
    pip["pip"] = users + [requirement for requirement in RUNTIME_REQUIREMENTS if project(requirement) not in named]
    return yaml.safe_dump({**specification, "dependencies": dependencies}, sort_keys=False)


def project(requirement: str) -> str:
    """`Scikit_Learn[x]>=1 ; python_version > "3"` -> `scikit-learn` (normalised as PyPI does)."""
    name = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", name.group(1)).lower() if name else ""
