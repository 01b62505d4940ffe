"""What one device is to run: the manifest applied to it, and the wait until it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult
from pulumi.runtime.config import is_config_secret

from components import content
from components.dynamic import DynamicResource, Provider, gone
from components.edge import manifest
from components.edge.create_options import APP_ROOT, PACKAGE_SOURCE
from components.edge.identity_mark import IMAGES_TAG, OWN_DEPLOYMENT_TAG
from components.services import deployed, probe, progress, rollback, rollout
from components.services.errors import NotFoundError, RolloutError, ServiceError
from components.services.hub import Hub
from components.settings import NAMESPACE, DeploymentSettings, DeviceSettings, Settings

HISTORY = 3
"""How many deployments the outputs remember."""
_BASE_SECONDS = 60  # how long `destroy` gives a connected device to stop its modules


class EdgeDeploymentInputs(TypedDict):
    hubId: Input[str]
    deviceId: Input[str]
    deployment: Any
    """The settings of `components.edge.manifest.Deployment` (module, env, routes, ...), its `image` being a ModelImage's ref."""
    registries: list[Any]
    """`{address, username, password}` of every registry that the device pulls from."""
    verify: dict[str, Any]
    """{enabled, timeoutSeconds, stableSeconds, probe: {reading, expect, timeoutSeconds}}"""
    onFailure: NotRequired[str]
    """rollback: the last good manifest again, the base manifest where there was none; keep: leave it as it is."""


def deployment_inputs(
    settings: Settings,
    device: DeviceSettings,
    hub_id: Input[str],
    device_id: Input[str],
    image: Input[str],
    logins: list[Any],
) -> EdgeDeploymentInputs:
    """From a stack's settings, for one of its devices. One that is disabled cannot connect, so that nobody waits for it."""
    verify = settings.deployment.verify.model_dump(by_alias=True)
    if device.status == "disabled" and not device.existing:
        verify["enabled"] = False
    return {
        "hubId": hub_id,
        "deviceId": device_id,
        "deployment": guarded(module_inputs(settings, settings.deployment, image)),
        "registries": logins,
        "verify": verify,
        "onFailure": settings.deployment.on_failure,
    }


def guarded(deployment: dict[str, Any], *settings: str) -> Any:
    """As a secret where the stack's file keeps any part of the settings encrypted, say a variable of the module's environment."""
    secret = any(is_config_secret(f"{NAMESPACE}:{name}") for name in ("deployment", *settings))
    return Output.secret(deployment) if secret else deployment


def module_inputs(settings: Settings, deployment: DeploymentSettings, image: Input[str]) -> dict[str, Any]:
    """The input `deployment` of a module that runs the stack's image."""
    made = deployment.for_manifest()
    if settings.image.mode == "package" and settings.image.builder in ("azureml", "none"):
        own = {"Entrypoint": ["python", f"{APP_ROOT}/{PACKAGE_SOURCE}/edge_runtime"]}
        made["createOptions"] = {**own, **made.get("createOptions", {})}
    return {**made, "image": image}


class EdgeDeploymentProvider(Provider):
    """Applies the manifest and verifies it. The manifest is rendered here, so that previews show one setting changing."""

    replaces = ("hubId", "deviceId")
    ignores = ("verify", "onFailure")

    def problems(self, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
        return content.problems(inputs)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['hubId']}/devices/{props['deviceId']}/deployment", _roll_out(props, None))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            hub = Hub(props["hubId"])
            applied = _applied(hub, props["deviceId"], list(props["applied"]))
        except NotFoundError:
            return gone()
        seen = content.content_hash(applied)
        if content.logins(applied) != content.logins(content.rendered(props)["modulesContent"]):
            seen += ", other registry logins"  # which no hash may hold
        return ReadResult(id_, {**props, "contentHash": seen})

    def drifted(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        return "contentHash" in olds and olds["contentHash"] != content.content_hash(
            content.rendered(news)["modulesContent"]
        )

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_roll_out(_news, _olds))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The base manifest in the hub is what counts; that the device has taken it up is only waited for."""
        device_id = _props["deviceId"]
        say = _say(device_id)
        try:
            hub = Hub(_props["hubId"])
            version = hub.apply(device_id, manifest.base_manifest())
            hub.merge_tags(device_id, {OWN_DEPLOYMENT_TAG: None, IMAGES_TAG: None})
            if not hub.is_online(device_id):
                say("left with the base manifest; the device is not connected and takes it up when it is")
                return
            rollout.verify(hub, device_id, version, _BASE_SECONDS, say)
        except NotFoundError:
            return
        except RolloutError as error:
            say(f"left with the base manifest, which the device has not confirmed ({error.answer})")


def _roll_out(props: Mapping[str, Any], good: Mapping[str, Any] | None) -> dict[str, Any]:
    """Apply and verify. `good` are the outputs of the last deployment that succeeded: what a rollback goes back to."""
    device_id, say = props["deviceId"], _say(props["deviceId"])
    made = content.rendered(props)["modulesContent"]
    hub = Hub(props["hubId"])
    _refuse_ruled(hub, device_id)
    image = what_runs(props["deployment"])
    ran = [entry for entry in (good or {}).get("history") or [] if entry["image"] != image]
    named = deployed.note([image, *(entry["image"] for entry in ran)])
    hub.merge_tags(device_id, {OWN_DEPLOYMENT_TAG: "device", **named})
    version = hub.apply(device_id, {"modulesContent": made})
    say(f"applied version {version} of the deployment")
    health = "not verified"
    if props["verify"].get("enabled", True):
        timeout, stable = float(props["verify"]["timeoutSeconds"]), float(props["verify"].get("stableSeconds", 0))
        try:
            rollout.verify(hub, device_id, version, timeout, say, stable)
            if props["verify"].get("probe"):
                probe.run(hub, device_id, props["deployment"]["module"], props["verify"]["probe"], say)
        except RolloutError as failure:
            if failure.replaced or props.get("onFailure", "rollback") != "rollback":
                raise
            before, called = _before(good, props["registries"])
            module = props["deployment"]["module"]
            raise rollback.roll_back(hub, device_id, failure, module, before, called, timeout, say) from None
        health = "healthy"
    return {
        **props,
        "version": version,
        "health": health,
        "history": [{"image": image, "version": version}, *ran][:HISTORY],
        "applied": sorted(made),
        "contentHash": content.content_hash(made),
    }


def _refuse_ruled(hub: Hub, device_id: str) -> None:
    """A device takes either a deployment of its own or automatic ones; Azure would let the latter win without a word."""
    ruling = hub.ruling(device_id)
    if ruling:
        raise ServiceError(
            "deploy to the device",
            device_id,
            f"the automatic deployment {', '.join(ruling)} rules it",
            "Take the device out of that deployment's target condition, or register it in aml-edge:fleetDevices, where it has no "
            "deployment of its own.",
        )


def _before(good: Mapping[str, Any] | None, registries: list[Any]) -> tuple[dict[str, Any], str]:
    """The manifest to go back to, with today's credentials, and what to call it."""
    if good is None:
        return manifest.base_manifest(), "the base manifest, without modules"
    return content.rendered({**good, "registries": registries}), f"the deployment of {what_runs(good['deployment'])}"


def what_runs(deployment: Mapping[str, Any]) -> str:
    """Our module's image; another name for a manifest of the user's own that has not got it."""
    if deployment.get("manifest") is None or deployment.get("addModule", True):
        return str(deployment["image"])
    return f"manifest {content.content_hash(deployment['manifest'])[:12]}"


def _applied(hub: Hub, device_id: str, modules: list[str]) -> dict[str, Any]:
    """The desired properties in the hub, in the form that was applied."""
    return {
        module: {"properties.desired": _without_metadata(hub.module_twin(device_id, module)[0])} for module in modules
    }


def _without_metadata(desired: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in desired.items() if key not in ("$metadata", "$version")}


def _say(device_id: str) -> Any:
    return lambda line: progress.say(f"deployment {device_id}", line)


class EdgeDeployment(DynamicResource, module="edge", name="EdgeDeployment"):
    """The deployment of one device. Not to be mixed with automatic deployments on the same device."""

    computed = ("version", "health", "history", "applied", "contentHash")
    secret = ("registries",)
    guarded = ("deployment",)

    def __init__(self, name: str, inputs: EdgeDeploymentInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(EdgeDeploymentProvider(), name, inputs, opts)

    @property
    def summary(self) -> Output[dict[str, Any]]:
        """{version, health, history} for the stack's outputs; history: the images that ran, the newest first."""
        return Output.all(version=self.output("version"), health=self.output("health"), history=self.output("history"))
