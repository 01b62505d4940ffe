"""References to images, without a registry's host (grammar: distribution/reference)."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from localazure.registry.tasks.errors import invalid

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_VARIABLE = re.compile(r"\{\{\s*(\.Run\.[A-Za-z]+)\s*\}\}")


@dataclass(frozen=True)
class ImageName:
    """`reference` is a tag or a digest."""

    repository: str
    reference: str

    @property
    def is_digest(self) -> bool:
        return self.reference.startswith("sha256:")

    def __str__(self) -> str:
        return f"{self.repository}{'@' if self.is_digest else ':'}{self.reference}"


def parse(text: str, *, tag: str = "latest") -> ImageName:
    """`repo`, `repo:tag` or `repo@sha256:...`; `tag` where there is none. Raises TaskError 400."""
    repository, at, digest = text.partition("@")
    if at:
        name = ImageName(repository, digest)
        valid = _DIGEST.match(digest)
    else:
        repository, _, given = text.partition(":")
        name = ImageName(repository, given or tag)
        valid = _TAG.match(name.reference)
    if not valid or not _REPOSITORY.match(name.repository) or len(name.repository) > 255:
        raise invalid(
            f"The image '{text}' is not a valid reference: it must be repository:tag or repository@digest, without the "
            "host of a registry, the repository in lower case."
        )
    return name


def render(
    template: str, *, run: str, registry: str, login_server: str, when: datetime.datetime, platform: str
) -> ImageName:
    """The name that an `imageNames` entry gives to the image of a run (ACR Tasks reference, "Run variables").

    `platform` is `os/architecture`.
    """
    system, _, architecture = platform.partition("/")
    values = {
        ".Run.ID": run,
        ".Run.Registry": login_server,
        ".Run.RegistryName": registry,
        ".Run.Date": when.strftime("%Y%m%d-%H%M%Sz"),
        ".Run.OS": system,
        ".Run.Architecture": architecture,
    }

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise invalid(f"The image name '{template}' uses {match[1]}, which a quick build does not have.")
        return values[match[1]]

    name = parse(_VARIABLE.sub(value, template).removeprefix(f"{login_server}/"))
    first, slash, _ = name.repository.partition("/")
    if slash and "." in first:  # as Docker reads it
        raise invalid(
            f"The image name '{template}' must be without the host of a registry: a build is pushed to its own."
        )
    if name.is_digest:
        raise invalid(f"The image name '{template}' must have a tag, not a digest.")
    return name
