"""What cannot be made again."""

from __future__ import annotations

from collections.abc import Iterator

from policy.subject import Settings, Subject

STATEFUL = frozenset(
    {
        "azure-native:machinelearningservices:Workspace",
        "azure-native:containerregistry:Registry",
        "azure-native:iothub:IotHubResource",
        "azure-native:storage:StorageAccount",
        "azure-native:keyvault:Vault",
        "azure-native:operationalinsights:Workspace",
        "azure-native:applicationinsights:Component",
        "azure-native:resources:ResourceGroup",
        "pulumi-python:dynamic/edge:DeviceIdentity",
        "pulumi-python:dynamic/edge:DeviceFleet",
    }
)


def protected(subject: Subject, _settings: Settings) -> Iterator[str]:
    if subject.type in STATEFUL and not subject.protect:
        yield "it is not protected"
