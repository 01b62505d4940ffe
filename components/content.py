"""What the inputs of a deployment, of one device or of a fleet, make: its content, what is wrong with it, its hash.

Content is rendered by the providers and not by the program, so that previews show one setting changing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from components.dynamic import is_unknown
from components.edge import manifest, validate

_SOME_IMAGE = f"registry.invalid/image@sha256:{'0' * 64}"


def rendered(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """`{"modulesContent": ...}` of `deployment` with the logins of `registries`, both as in EdgeDeploymentInputs. Raises ValueError."""
    logins = {manifest.credential_id(entry["address"]): entry for entry in inputs["registries"]}
    if inputs.get("layered"):
        return manifest.render_layer(inputs["deployment"], logins)
    return manifest.render(inputs["deployment"], logins)


def problems(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(input, reason) for everything that a device or the hub would refuse. What is not known yet at a preview is passed over."""
    if is_unknown(inputs["deployment"]) and not isinstance(inputs["deployment"], Mapping):
        return []
    deployment = dict(inputs["deployment"])
    if is_unknown(deployment.get("image")):
        deployment["image"] = _SOME_IMAGE  # not built yet; the rest can be judged all the same
    if is_unknown(deployment):
        return []
    registries = [] if is_unknown(inputs["registries"]) else inputs["registries"]
    try:
        content = rendered({**inputs, "deployment": deployment, "registries": registries})
    except ValueError as error:
        return [("deployment", str(error))]
    return [("deployment", str(violation)) for violation in validate.validate(content)]


def content_hash(modules_content: Mapping[str, Any]) -> str:
    """Of everything but the registries' logins: passwords must not be guessable from the state."""
    bare = manifest.without_credentials({"modulesContent": modules_content})
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


def logins(modules_content: Mapping[str, Any]) -> Any:
    """The registry logins of a complete deployment; None where there are none."""
    agent = modules_content["$edgeAgent"]["properties.desired"]
    return ((agent.get("runtime") or {}).get("settings") or {}).get("registryCredentials") or None
