"""Where the images that devices run come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from policy.rules import modules
from policy.subject import Settings, Subject

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_OWN = ("mcr.microsoft.com/",)
"""The IoT Edge runtime itself."""
_CREDENTIALS = "pulumi-python:dynamic/edge:RegistryCredentials"
_BUILT = "pulumi-python:dynamic/edge:ModelImage"


def by_digest(subject: Subject, _settings: Settings) -> Iterator[str]:
    for where, image in named(subject):
        if isinstance(image, str) and not _DIGEST.search(image):
            yield f"{where} names the image {image!r} without its digest"


def from_known_registry(subjects: Sequence[Subject], settings: Settings) -> Iterator[tuple[Subject, str]]:
    servers = [subject.props.get("loginServer") for subject in subjects if subject.type == _CREDENTIALS]
    if not all(isinstance(server, str) for server in servers):
        return  # the registry has no name yet (outputs that are not known are left out), so no image can be compared with it
    allowed = [
        *_OWN,
        *(f"{server}/" for server in servers if isinstance(server, str)),
        *map(_prefix, settings.get("allow") or []),
    ]
    for subject in subjects:
        for where, image in named(subject):
            if isinstance(image, str) and not image.startswith(tuple(allowed)):
                yield subject, f"{where} names {image!r}, which is in none of {', '.join(allowed)}"


def not_built(subject: Subject, _settings: Settings) -> Iterator[str]:
    if subject.type == _BUILT:
        yield "it builds an image"


def named(subject: Subject) -> Iterator[tuple[str, Any]]:
    """(where, image) of every image that a deployment names, those of further modules and of the runtime included."""
    for path, _, given in modules.settings(subject):
        yield from ((f"{path}.{key}", item) for key, item in given.items() if key.lower() == "image")


def _prefix(allowed: str) -> str:
    """`ghcr.io/team` allows `ghcr.io/team/x`, never `ghcr.io/teammate/x`."""
    return allowed if allowed.endswith("/") else f"{allowed}/"
