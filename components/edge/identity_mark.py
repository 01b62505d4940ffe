"""How an identity in the hub says whose it is and which keys it has: the text in its `statusReason`.

The hub writes it in the same request as the identity and its keys. A run that is killed right after such a request knows by it what
is done already: its own device is taken over, and keys are not rotated twice.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MANAGED_BY = "aml-edge"
OWN_DEPLOYMENT_TAG, IMAGES_TAG, FLEET_TAG = "ownDeployment", "deployedImages", "deviceFleet"
"""Twin tags of ours: on a device with a deployment of its own (the value "device"), which fleet deployments must not reach, and the digests
of the images in that deployment and its history; on one of a DeviceFleet, which it finds its devices by."""
TAGS = {
    "managedBy": "marks the devices that this program made",
    OWN_DEPLOYMENT_TAG: "marks the devices that have a deployment of their own",
    IMAGES_TAG: "says which images the device's deployment and its history name",
    FLEET_TAG: "marks the devices of aml-edge:fleetDevices",
}
"""The tags that are ours alone to set, and what each says."""
_CHARACTERS = 128  # the hub's limit of `statusReason`
_OWNER_CHARACTERS = 80
_MARK = re.compile(rf"managed by {MANAGED_BY}, (?P<owner>.*?)(?:, key generation (?P<generation>\d+))?")


class Mark(NamedTuple):
    owner: str
    """`project/stack`, its first 80 characters."""
    generation: int = 1
    """How often the keys were made, rotations included."""

    def __str__(self) -> str:
        rotated = f", key generation {self.generation}" if self.generation > 1 else ""
        return f"managed by {MANAGED_BY}, {self.owner[:_OWNER_CHARACTERS]}{rotated}"[:_CHARACTERS]

    def is_of(self, owner: str) -> bool:
        return self.owner[:_OWNER_CHARACTERS] == owner[:_OWNER_CHARACTERS]


def read(status_reason: str) -> Mark | None:
    """None for a text that is not ours."""
    match = _MARK.fullmatch(status_reason)
    return Mark(match["owner"], int(match["generation"] or 1)) if match else None
