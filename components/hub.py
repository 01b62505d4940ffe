"""The IoT Hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_azure_native import iothub

from components.existing import Existing
from components.settings import Settings


class IotHubArgs(TypedDict):
    existing_id: NotRequired[str | None]
    """ARM id of a hub that somebody else made; then nothing else counts."""
    resource_group_name: Input[str]
    sku: str
    """F1, S1, S2 or S3; Basic tiers cannot deploy to IoT Edge."""
    units: int
    tags: NotRequired[Mapping[str, Input[str]] | None]


def hub_args(settings: Settings, existing: Existing, group: Input[str]) -> IotHubArgs:
    """From a stack's settings."""
    hub = settings.hub
    return {
        "existing_id": existing.hub_id,
        "resource_group_name": group,
        "sku": hub.sku,
        "units": hub.units,
        "tags": settings.tags,
    }


class IotHub(ComponentResource):
    """One hub with Azure's defaults for endpoints and routing."""

    hub_id: Output[str]

    def __init__(self, name: str, args: IotHubArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("amledge:index:IotHub", name, None, opts)
        existing = args.get("existing_id")
        self.hub_id = Output.from_input(existing) if existing else self._make(name, args).id
        self.register_outputs({"hubId": self.hub_id})

    def _make(self, name: str, args: IotHubArgs) -> iothub.IotHubResource:
        return iothub.IotHubResource(
            name,
            resource_group_name=args["resource_group_name"],
            sku=iothub.IotHubSkuInfoArgs(name=args["sku"], capacity=args["units"]),
            tags=args.get("tags"),
            opts=ResourceOptions(parent=self),
        )
