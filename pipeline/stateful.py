"""What holds something that cannot be made again, and what is lost with it."""

from __future__ import annotations

from pipeline.preview import Change

FLEET = "pulumi-python:dynamic/edge:DeviceFleet"
LOSSES = {
    "azure-native:resources:ResourceGroup": "everything in the group",
    "azure-native:machinelearningservices:Workspace": "its models, images and history; the name stays taken until it is purged",
    "azure-native:containerregistry:Registry": "all images; devices that pull again will fail",
    "azure-native:iothub:IotHubResource": "all device identities and twins; every device must be provisioned again",
    "azure-native:storage:StorageAccount": "the artifacts of the workspace",
    "azure-native:keyvault:Vault": "the workspace's secrets; the name stays taken until it is purged",
    "azure-native:operationalinsights:Workspace": "logs",
    "azure-native:applicationinsights:Component": "telemetry",
    "pulumi-python:dynamic/edge:DeviceIdentity": "the device's keys; it must be provisioned again",
    FLEET: "the keys of all its devices; each must be provisioned again",
    "pulumi-python:dynamic/edge:RegisteredModel": "the registered versions of the model",
    "pulumi-python:dynamic/edge:ModelImage": "the images that were pushed",
    "pulumi-python:dynamic/edge:PromotedImage": "the image in this stack's registry",
}
DANGEROUS = ("replace", "delete")


def loss(change: Change) -> str | None:
    """What replacing or deleting it would lose; None where that is harmless."""
    if change.operation not in DANGEROUS:
        return None
    return LOSSES.get(change.type)


def leaving(change: Change) -> list[str]:
    """The devices that an update takes out of a fleet, and deletes."""
    if change.type != FLEET or change.operation != "update":
        return []
    before, after = change.inputs("old").get("devices"), change.inputs("new").get("devices")
    return sorted(set(before) - set(after)) if isinstance(before, dict) and isinstance(after, dict) else []


def kept(change: Change) -> str:
    """Why it may not come to that."""
    if change.old.get("protect"):
        return "protected: the update will refuse"
    if change.old.get("retainOnDelete") or change.new.get("retainOnDelete"):
        return "retained in the cloud"
    return ""
