"""The IoT Hub."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi_azure_native import iothub


class IotHubArgs(TypedDict):
    resource_group_name: Input[str]
    sku: str
    """F1, S1, S2 or S3; Basic tiers cannot deploy to IoT Edge."""
    units: int
    tags: NotRequired[Input[dict[str, Input[str]]]]


class IotHub(ComponentResource):
    """One hub with Azure's defaults for endpoints and routing."""

    hub_id: Output[str]
    hub_name: Output[str]

    def __init__(self, name: str, args: IotHubArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("amledge:index:IotHub", name, None, opts)
        hub = iothub.IotHubResource(
            name,
            resource_group_name=args["resource_group_name"],
            sku=iothub.IotHubSkuInfoArgs(name=args["sku"], capacity=args["units"]),
            tags=args.get("tags"),
            opts=ResourceOptions(parent=self),
        )
        self.hub_id = hub.id
        self.hub_name = hub.name
        self.register_outputs({"hubId": self.hub_id, "hubName": self.hub_name})
