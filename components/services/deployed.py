"""Which images must stay in the registry: those that a hub's devices run, are to run, or ran lately."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

from components.edge.identity_mark import IMAGES_TAG
from components.services.configurations import Configurations
from components.services.errors import NotFoundError
from components.services.hub import Hub


def note(images: Iterable[str]) -> dict[str, str | None]:
    """The twin tag that says which images a device's deployment and its history name (`server/name@sha256:...` each)."""
    digests = dict.fromkeys(image.partition("@")[2] for image in images if "@sha256:" in image)
    return {IMAGES_TAG: " ".join(digests) or None}


class ImagesInUse:
    """Asked once: what every one of `devices` has, is to have and has noted, and what every automatic deployment of the hub holds.

    A device that is not made yet has none. Raises ServiceError when the hub cannot be asked.
    """

    def __init__(self, hub_id: str, devices: Iterable[str]) -> None:
        hub = Hub(hub_id)
        self._texts = [json.dumps(content) for content in Configurations(hub).contents()]
        for device in devices:
            with contextlib.suppress(NotFoundError):
                self._texts.append(json.dumps([hub.agent_twin(device), hub.tags(device)]))

    def __contains__(self, ref: object) -> bool:
        """Whether somebody names the digest of `server/name@sha256:...`."""
        digest = str(ref).partition("@")[2]
        return any(digest in text for text in self._texts)
