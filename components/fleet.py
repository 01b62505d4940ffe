"""What a fleet is to run: one resource for any number of devices, on IoT Hub's own engine (automatic and layered deployments)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, Resource, ResourceOptions
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, UpdateResult

from components import content
from components.deployment import guarded, module_inputs
from components.dynamic import DynamicResource, Provider, gone, is_unknown, plain
from components.edge import fleet
from components.edge.identity_mark import MANAGED_BY, OWN_DEPLOYMENT_TAG
from components.services import progress
from components.services.configurations import Configurations, Deployed, Terms
from components.services.errors import NotFoundError, ServiceError
from components.services.fleet_rollout import Wanted, carry_out
from components.services.hub import Hub
from components.settings import FleetSettings, Settings


class FleetDeploymentInputs(TypedDict):
    hubId: Input[str]
    name: str
    """What the ids of its configurations begin with."""
    owner: str
    """`project/stack`"""
    layered: bool
    """Whether it adds its module to what another deployment gives the device."""
    deployment: Any
    """As in EdgeDeploymentInputs."""
    registries: list[Any]
    """As in EdgeDeploymentInputs."""
    targetCondition: str
    priority: int
    labels: NotRequired[dict[str, str]]
    metrics: NotRequired[dict[str, str]]
    """Name -> query."""
    rollout: NotRequired[dict[str, Any] | None]
    """{waves, wave, minSuccess, withinMinutes}; without it everybody is reached at once and nobody is waited for."""


def fleet_inputs(
    settings: Settings, fleet_settings: FleetSettings, hub_id: Input[str], image: Input[str], logins: list[Any]
) -> FleetDeploymentInputs:
    """From a stack's settings, for one of its fleet deployments."""
    deployment = fleet_settings.deployment or settings.deployment
    if fleet_settings.image:  # not the stack's own: nothing is known of what it starts
        module = {**deployment.for_manifest(), "image": fleet_settings.image}
    else:
        module = module_inputs(settings, deployment, image)
    return {
        "hubId": hub_id,
        "owner": f"{pulumi.get_project()}/{pulumi.get_stack()}",
        "layered": fleet_settings.layered,
        "deployment": guarded(module, "fleet"),
        "registries": logins,
        **fleet_settings.for_inputs(),  # type: ignore[typeddict-item]
    }


class FleetDeploymentProvider(Provider):
    """Content is immutable in the hub: another one is another configuration, made before the old one is removed. That is an update
    here and not a replacement, because for as long as there are waves to come both are there, through several runs."""

    replaces = ("hubId", "name")
    ignores = ("owner",)
    optional = ("labels", "metrics", "rollout")

    def problems(self, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
        known = {key: value for key, value in inputs.items() if not is_unknown(value)}
        own = [(path, f"{path}: {reason}" if "." in path else reason) for path, reason in fleet.problems(known)]
        found = [(path.partition(".")[0], reason) for path, reason in own]
        return [*found, *content.problems(inputs)]

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        for line in _warnings(
            plain(_olds), plain(_news)
        ):  # not refused: so is the way back to a content that everybody had
            progress.say(f"fleet {_news['name']}", line)
        return super().diff(_id, _olds, _news)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['hubId']}/configurations/{props['name']}", _carry_out(props, None))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            found = Configurations(Hub(props["hubId"])).labelled(fleet.MANAGED_FOR, _label(props))
        except NotFoundError:
            return gone()
        return ReadResult(id_, {**props, "seen": _shown(found)}) if found else gone()

    def drifted(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        return bool(olds.get("seen") != olds.get("configurations"))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_carry_out(_news, _olds))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The devices keep what they run: a hub takes no module away when a deployment is deleted."""
        try:
            configurations = Configurations(Hub(_props["hubId"]))
        except NotFoundError:
            return
        for one in configurations.labelled(fleet.MANAGED_FOR, _label(_props)):
            configurations.delete(one.id)


def _warnings(olds: Mapping[str, Any], news: Mapping[str, Any]) -> Iterator[str]:
    """What a preview says of waves that do not go up one by one."""
    rollout, before = news.get("rollout") or {}, olds.get("rollout") or {}
    waves, wave, had = len(rollout.get("waves") or []), rollout.get("wave", 0), before.get("wave", 0)
    if olds.get("deployment") != news.get("deployment"):
        if waves > 1 and wave == waves:
            yield f"new content goes to everybody at once, rollout.wave being {waves} of {waves}; 1 begins with the first wave"
    elif olds and fleet.is_last_wave(before) and not fleet.is_last_wave(rollout):
        yield f"wave {wave} of {waves} for content that everybody has: the devices of later waves keep it and are nobody's"
    elif 0 < wave < had:
        yield f"rollout.wave goes from {had} to {wave}: the devices of the later waves go back to the content before"


def _carry_out(props: Mapping[str, Any], olds: Mapping[str, Any] | None) -> dict[str, Any]:
    modules = content.rendered(props)["modulesContent"]
    own = {fleet.MANAGED_BY: MANAGED_BY, fleet.MANAGED_FOR: _label(props)}
    wanted = Wanted(
        name=props["name"],
        label=_label(props),
        content=modules,
        content_hash=content.content_hash(modules),
        terms=Terms(
            target=props["targetCondition"],
            priority=props["priority"],
            labels={**(props.get("labels") or {}), **own},
            metrics=props.get("metrics") or {},
        ),
        rollout=props.get("rollout"),
    )
    configurations = Configurations(Hub(props["hubId"]))
    _refuse_devices_of_their_own(configurations, props)
    say = lambda line: progress.say(f"fleet {props['name']}", line)  # noqa: E731 - a name for one argument
    outcome = carry_out(configurations, wanted, (olds or {}).get("generation", 1), say)
    there = _shown([one for one in (outcome.beside, outcome.deployed) if one])
    counts = outcome.progress
    return {
        **props,
        "configurationId": outcome.deployed.id,
        "generation": outcome.generation,
        "reaches": outcome.deployed.terms.target,
        "devices": {"targeted": counts.targeted, "successful": counts.succeeded, "failed": counts.failed}
        if counts
        else {},
        "configurations": there,
        "seen": there,
    }


def _refuse_devices_of_their_own(configurations: Configurations, props: Mapping[str, Any]) -> None:
    """A device takes either an automatic deployment or one of its own."""
    devices = configurations.with_own_deployment(props["targetCondition"], most=6)
    if devices:
        shown = ", ".join(devices[:5]) + (", ..." if len(devices) > 5 else "")
        raise ServiceError(
            "deploy to the fleet",
            props["name"],
            f"its target condition reaches devices that have a deployment of their own (aml-edge:devices): {shown}",
            "Narrow the target condition, or register these devices in aml-edge:fleetDevices instead. (What marks them is the twin "
            f"tag {OWN_DEPLOYMENT_TAG}: remove it from a device whose own deployment is gone.)",
        )


def _label(props: Mapping[str, Any]) -> str:
    return fleet.owner_label(props["owner"], props["name"])


def _shown(found: list[Deployed]) -> dict[str, Any]:
    """What is in the hub, for the state: no content, which may hold credentials."""
    return {
        one.id: {
            "targetCondition": one.terms.target,
            "priority": one.terms.priority,
            "labels": dict(one.terms.labels),
            "metrics": dict(one.terms.metrics),
        }
        for one in found
    }


class FleetDeployment(DynamicResource, module="edge", name="FleetDeployment"):
    """What the devices of a target condition run. Not to be mixed with deployments of their own on the same devices."""

    computed = ("configurationId", "generation", "reaches", "devices", "configurations", "seen")
    secret = ("registries",)
    guarded = ("deployment",)

    def __init__(self, name: str, inputs: FleetDeploymentInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(FleetDeploymentProvider(), name, inputs, opts)
        if not inputs["targetCondition"].strip():
            pulumi.log.warn("its target condition is empty, so that it targets no device; '*' is for all of them", self)

    @property
    def summary(self) -> Output[dict[str, Any]]:
        """{configurationId, reaches, devices} for the stack's outputs."""
        keys = ("configurationId", "reaches", "devices")
        return Output.all(**{key: self.output(key) for key in keys})


def fleet_deployments(
    settings: Settings, hub_id: Input[str], image: Input[str], logins: list[Any], devices: Resource | None
) -> dict[str, FleetDeployment]:
    """The stack's fleet deployments by their names, made when its devices are there: a rollout waits for them."""
    opts = ResourceOptions(depends_on=[devices] if devices else [])
    return {
        one.name: FleetDeployment(f"{one.name}-fleet", fleet_inputs(settings, one, hub_id, image, logins), opts)
        for one in settings.fleet
    }
