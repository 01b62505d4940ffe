"""The resource providers of the local Azure: one small file each."""

from __future__ import annotations

from localazure.arm.model import ResourceType
from localazure.arm.providers.authorization import RoleAssignment
from localazure.arm.providers.blobcontainers import BlobContainer
from localazure.arm.providers.consumergroups import ConsumerGroup
from localazure.arm.providers.containerregistry import Registry
from localazure.arm.providers.devices import IotHub
from localazure.arm.providers.insights import Component
from localazure.arm.providers.keyvault import Vault
from localazure.arm.providers.machinelearning import MlWorkspace
from localazure.arm.providers.managedidentity import UserAssignedIdentity
from localazure.arm.providers.operationalinsights import LogWorkspace
from localazure.arm.providers.resourcegroups import ResourceGroup
from localazure.arm.providers.storage import StorageAccount


def all_types() -> list[ResourceType]:
    return [
        ResourceGroup(),
        StorageAccount(),
        BlobContainer(),
        Vault(),
        LogWorkspace(),
        Component(),
        Registry(),
        MlWorkspace(),
        IotHub(),
        ConsumerGroup(),
        RoleAssignment(),
        UserAssignedIdentity(),
    ]
