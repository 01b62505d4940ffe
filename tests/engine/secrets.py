"""Finds secrets where none may be. Looks for the values themselves, also as JSON, URL and base64 would carry them."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import Any
from urllib.parse import quote

from tests.support import ROOT, LocalAzure
from tests.waiting import PATIENCE

_HUB_KEYS = """
import json, sys
from components.services import azure
hub = json.load(sys.stdin)
rules = azure.post(hub, "listkeys")["value"]
print(json.dumps([rule[which] for rule in rules for which in ("primaryKey", "secondaryKey")]))
"""


def canaries(outputs: dict[str, Any], azure: LocalAzure) -> dict[str, str]:
    """Every secret that a stack works with: what -> value. `outputs` with their secrets shown."""
    found = {"registry password": outputs["registryPassword"]}
    for device, connection in outputs["connectionStrings"].items():
        key = re.search("SharedAccessKey=(.+)$", connection)
        assert key
        found["device key" if device == "edge-1" else f"key of {device}"] = key.group(1)
    done = subprocess.run(
        [sys.executable, "-c", _HUB_KEYS],
        cwd=ROOT,
        env=azure.env,
        input=json.dumps(outputs["hubId"]),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    keys = json.loads(done.stdout)
    found["hub key"] = keys[0]
    found.update({f"hub key {number}": key for number, key in enumerate(keys[1:], 2)})
    return found


def leaks(text: str, secrets: dict[str, str]) -> list[str]:
    """The names of the secrets that occur in the text."""
    return [name for name, value in secrets.items() if any(form in text for form in _forms(value))]


def _forms(value: str) -> set[str]:
    return {
        value,
        quote(value, safe=""),
        json.dumps(value)[1:-1],
        base64.b64encode(value.encode()).decode().rstrip("="),
    }
