"""Names that IoT Edge, IoT Hub and Docker accept: the patterns, and what to tell someone whose name they refuse."""

from __future__ import annotations

import re

MODULE_NAME_RULE = (
    "a module name is 2 to 128 of A-Z a-z 0-9 _ -, starts with a letter or digit, and is neither edgeAgent nor edgeHub"
)
"""The schema of edgeAgent deployments (Azure/azure-iot-cli-extension) allows [a-zA-Z0-9_-]+; the device then makes a container of
that name, and Docker wants a letter or digit first and at least two characters. The two names belong to the runtime."""

DEVICE_ID_RULE = "a device id is 1 to 128 ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '"
"""Azure Event Grid, schema of Microsoft.Devices.DeviceCreated: the identity registry's own rule. Case-sensitive."""

IMAGE_BY_DIGEST_RULE = "an image is written host/name@sha256:<64 hexadecimal digits>, never with a tag"

_MODULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,127}")
_RUNTIME_MODULES = {"edgeagent", "edgehub"}
_DEVICE_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}")

# The grammar of Docker references (distribution/reference): a first component is a host when it has a dot, a port or is localhost.
_HOST = r"(?:localhost|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)(?::[0-9]{1,5})?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"@sha256:[0-9a-f]{64}"
_BY_DIGEST = re.compile(rf"(?P<host>{_HOST})/(?P<name>{_PATH}){_DIGEST}")
_REFERENCE = re.compile(rf"(?:(?:{_HOST}|\$upstream(?::[0-9]{{1,5}})?)/)?{_PATH}(?:{_TAG})?(?:{_DIGEST})?")


def is_module_name(name: str) -> bool:
    """Whether a deployment may call one of its modules so; `$edgeAgent` and `$edgeHub` already fail by their `$`."""
    return _MODULE_NAME.fullmatch(name) is not None and name.lower() not in _RUNTIME_MODULES


def is_device_id(device_id: str) -> bool:
    """Whether IoT Hub's identity registry accepts the id."""
    return _DEVICE_ID.fullmatch(device_id) is not None


def is_image_by_digest(reference: str) -> bool:
    """Whether the reference names a registry host and a digest, and no tag: what our own module must be deployed as."""
    match = _BY_DIGEST.fullmatch(reference)
    return match is not None and _is_host(match["host"])


def is_image_reference(reference: str) -> bool:
    """Whether Docker can pull the reference; `$upstream:port/...` (nested edge) counts."""
    return _REFERENCE.fullmatch(reference) is not None


def _is_host(first_component: str) -> bool:
    return "." in first_component or ":" in first_component or first_component == "localhost"
