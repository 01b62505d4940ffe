"""Tags of Azure resources, by the rules of Azure Resource Manager.

Source: learn.microsoft.com/azure/azure-resource-manager/management/tag-resources.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from components.settings.base import Tags
from components.settings.problems import Finding, refuse_all

_MOST = 50
_NAME_CHARACTERS = 128
"""Of storage accounts; every other resource takes 512, but all of a stack get the same tags."""
_VALUE_CHARACTERS = 256
_FORBIDDEN = frozenset("<>%&\\?/")
_RESERVED = ("microsoft", "azure", "windows")


def _azure_tags(tags: Tags) -> Tags | None:
    if findings := list(_findings(tags)):
        refuse_all(findings)
    return tags or None  # an empty object would be a change of what was made without tags


def _findings(tags: Tags) -> Iterator[Finding]:
    if len(tags) > _MOST:
        yield Finding(f"are {len(tags)} tags; a resource has at most {_MOST}", "take some out")
    seen: dict[str, str] = {}
    for name, value in tags.items():
        if not name or len(name) > _NAME_CHARACTERS or _FORBIDDEN & set(name):
            rule = f"a tag's name has 1 to {_NAME_CHARACTERS} characters, none of {' '.join(sorted(_FORBIDDEN))}"
            yield Finding(rule, "rename it", (name,))
        if name.lower().startswith(_RESERVED):
            yield Finding(f"names that start with {', '.join(_RESERVED)} are Azure's own", "rename it", (name,))
        if len(value) > _VALUE_CHARACTERS:
            yield Finding(f"a tag's value has at most {_VALUE_CHARACTERS} characters", "shorten it", (name,))
        if (other := seen.setdefault(name.casefold(), name)) != name:
            yield Finding(f"Azure takes it for the same name as {other!r}", "remove one of them", (name,))


AzureTags = Annotated[Tags, AfterValidator(_azure_tags)]
"""Without tags the value is None."""
