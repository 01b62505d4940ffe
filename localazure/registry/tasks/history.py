"""Takes what the service put into an image out of it again, in the registry: nothing but the configuration changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from localazure.registry.distribution import Distribution, Manifest

_ARGUMENTS = re.compile(r"\|(\d+) ")


async def publish(
    registry: Distribution, repository: str, draft: str, tags: Iterable[str], label: str, settings: Mapping[str, str]
) -> str:
    """Give the image whose manifest has the digest `draft` its tags, without label and settings; remove the draft. The digest."""
    manifest = await registry.find(repository, draft)
    assert manifest, f"{repository}@{draft} was pushed a moment ago"
    body = manifest.body
    old = body["config"]["digest"]
    configuration = await registry.read_blob(repository, old)
    cleaned = json.dumps(clean(json.loads(configuration), label, settings), separators=(",", ":")).encode()
    body["config"] |= {"digest": await registry.put_blob(repository, cleaned), "size": len(cleaned)}
    content = json.dumps(body, indent=3).encode()
    published = Manifest(manifest.media_type, content)
    for tag in tags:
        await registry.put(repository, tag, published)
    if published.digest != manifest.digest:
        await registry.delete(repository, manifest.digest)
        await registry.delete_blob(repository, old)
    return published.digest


def clean(configuration: dict[str, Any], label: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """An image configuration without the label `key=value` and the build arguments `settings` (OCI image specification).

    The classic builder writes `|<count> NAME=value ... <command>` into the history for what ran with arguments.
    """
    ours = {f"/bin/sh -c #(nop)  ARG {name}" for name in settings} | {f"/bin/sh -c #(nop)  LABEL {label}"}
    kept = [
        {**entry, "created_by": _without(entry["created_by"], settings)} if entry.get("created_by") else entry
        for entry in configuration.get("history", [])
        if entry.get("created_by") not in ours
    ]
    # These describe the last container of the build, arguments and all; nobody reads them.
    cleaned = {key: value for key, value in configuration.items() if key not in ("container", "container_config")}
    labels = dict(configuration["config"].get("Labels") or {})
    labels.pop(label.partition("=")[0], None)
    return {**cleaned, "config": {**configuration["config"], "Labels": labels or None}, "history": kept}


def _without(words: str, settings: Mapping[str, str]) -> str:
    match = _ARGUMENTS.match(words)
    if not match:
        return words
    count, rest = int(match[1]), words[match.end() :]
    for name, value in settings.items():
        shorter = rest.replace(f"{name}={value} ", "", 1)
        count, rest = count - (shorter != rest), shorter
    return f"|{count} {rest}" if count else rest
