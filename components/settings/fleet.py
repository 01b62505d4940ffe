"""The settings of fleet deployments: what runs on the devices of a target condition."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from components.edge import fleet, target_condition
from components.edge.names import IMAGE_BY_DIGEST_RULE, is_image_by_digest
from components.settings.base import SettingsModel, Tags, Whole
from components.settings.deployment import DeploymentSettings
from components.settings.devices import DeviceSettings
from components.settings.problems import Finding, Location, refuse_all

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class RolloutSettings(SettingsModel):
    waves: list[str] = Field(default_factory=lambda: [target_condition.EVERYTHING])
    """Target conditions; those up to `wave` are reached. The last is `*`: the rest of targetCondition."""
    wave: Whole = 1
    min_success: float = 1.0
    """The share of the devices reached that must report success."""
    within_minutes: float = 30.0


class FleetSettings(SettingsModel):
    name: str
    """What the ids of its configurations begin with."""
    target_condition: str
    """`tags.site = 'lab' AND NOT tags.ring = 'spare'`, `*` for every IoT Edge device of the hub, empty for none."""
    priority: Whole = 10
    """The highest of those that target a device applies; a layered one needs more than the deployment that it is laid over."""
    labels: Tags = Field(default_factory=dict)
    metrics: Tags = Field(default_factory=dict)
    """Name -> query; the hub counts its rows."""
    layered: bool = False
    """Whether it only adds its module to what another deployment gives the device."""
    image: str | None = None
    """`server/name@sha256:...` in place of the image that the stack builds."""
    deployment: DeploymentSettings | None = None
    """In place of aml-edge:deployment; its `verify` and `onFailure` are a single device's and mean nothing here."""
    rollout: RolloutSettings | None = None
    """Left out: everybody at once, and nobody is waited for."""

    def for_inputs(self) -> dict[str, Any]:
        """name, targetCondition, priority, labels, metrics, rollout: plain values under their camelCase keys."""
        chosen = {"name", "target_condition", "priority", "labels", "metrics", "rollout"}
        return self.model_dump(by_alias=True, include=chosen)

    @model_validator(mode="after")
    def _rules(self) -> FleetSettings:
        findings = [Finding(reason, _MEND, _location(path)) for path, reason in fleet.problems(self.for_inputs())]
        if self.image is not None and not is_image_by_digest(self.image):
            findings.append(Finding(IMAGE_BY_DIGEST_RULE, _MEND, ("image",)))
        if self.layered and self.deployment:
            rule = "is said by the deployment below: a layer adds modules, routes and desired properties"
            said = [name for name in _NOT_OF_A_LAYER if name in self.deployment.model_fields_set]
            findings += [Finding(rule, "leave it out", ("deployment", to_camel(name))) for name in said]
        if findings:
            refuse_all(findings)
        return self


_NOT_OF_A_LAYER = ("edge_agent", "edge_hub", "time_to_live_secs", "manifest")
_MEND = "correct it in the stack file: docs/fleet.md has the rules"


def conflicts(deployments: Sequence[FleetSettings], devices: Sequence[DeviceSettings]) -> Iterator[Finding]:
    """What several settings break together: doubled names, layers below their base, devices that have a deployment of their own."""
    names = [one.name for one in deployments]
    for index, one in enumerate(deployments):
        if one.name in names[:index]:
            yield Finding("another fleet deployment has this name", "give each its own", ("fleet", index, "name"))
        bases = [base.priority for base in deployments if not base.layered]
        if one.layered and bases and one.priority <= min(bases):
            rule = f"a layer applies only over a deployment of lower priority, and those here have {min(bases)} or more"
            yield Finding(rule, "raise the layer's priority", ("fleet", index, "priority"))
        reached = [
            device.id for device in devices if target_condition.matches(one.target_condition, device.id, device.tags)
        ]
        if reached:
            shown = ", ".join(reached[:5]) + (", ..." if len(reached) > 5 else "")
            rule = f"reaches devices of aml-edge:devices, which have a deployment of their own: {shown}"
            fix = "narrow the condition, or move these devices to aml-edge:fleetDevices"
            yield Finding(rule, fix, ("fleet", index, "targetCondition"))


def fleet_device_findings(devices: Sequence[DeviceSettings], own: Sequence[DeviceSettings]) -> Iterator[Finding]:
    """What a device of aml-edge:fleetDevices cannot be."""
    taken = {device.id for device in own}
    for index, device in enumerate(devices):
        if device.existing:
            yield Finding(
                "an existing device needs no registration", "leave it out", ("fleetDevices", index, "existing")
            )
        if device.key_generation != 1:
            rule = "keys of fleet devices are rotated at the hub: their generation is not kept here"
            yield Finding(rule, "leave it out", ("fleetDevices", index, "keyGeneration"))
        if device.id in taken:
            yield Finding(
                f"{device.id!r} is in aml-edge:devices too", "keep it in one of them", ("fleetDevices", index, "id")
            )


def _location(path: str) -> Location:
    return tuple(int(number) if number else name for name, number in _STEP.findall(path))
