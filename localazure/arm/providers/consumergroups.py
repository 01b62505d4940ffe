"""Microsoft.Devices: consumer groups of a hub's built-in endpoint (Azure REST API, iothub 2023-06-30). Nobody reads by them here."""

from __future__ import annotations

import base64
import secrets
from types import MappingProxyType

from localazure.arm.errors import ArmError, DevicesError
from localazure.arm.model import Context, NameRule, ResourceType, properties
from localazure.arm.resources import Resource, Resources

DEFAULT = "$Default"


class ConsumerGroup(ResourceType):
    type = "Microsoft.Devices/IotHubs/eventHubEndpoints/ConsumerGroups"
    fixed = MappingProxyType({"eventHubEndpoints": "events"})
    name = NameRule(
        r"\$Default|[a-zA-Z0-9][a-zA-Z0-9._-]{0,49}",
        "BadRequest",
        "The consumer group name '{name}' is not valid: 1 to 50 letters, digits and '.', '_', '-', the first a letter or digit.",
    )
    api_versions = ("2023-06-30", "2021-07-02")
    top = ()
    writable = properties(text="name")
    required = ("properties.name",)
    invalid_code = "BadRequest"
    system_data = False
    etag = True
    create_status = 200

    def error(self, status: int, code: str, message: str) -> ArmError:
        return DevicesError(status, code, message)

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        if new.properties["name"].casefold() != new.name.casefold():
            raise self.error(
                400, "BadRequest", f"The name '{new.properties['name']}' is not that of the path, '{new.name}'."
            )

    async def deprovision(self, context: Context, resource: Resource) -> None:
        if resource.name == DEFAULT and context.resources.get(_hub_of(resource.id)):
            raise self.error(400, "BadRequest", f"The consumer group '{DEFAULT}' cannot be deleted.")


def make_default(resources: Resources, hub: Resource) -> None:
    """The one that every hub has."""
    group = Resource(f"{hub.id}/eventHubEndpoints/events/ConsumerGroups/{DEFAULT}", ConsumerGroup.type, DEFAULT, {})
    if resources.get(group.id) is None:
        group.inputs = {"properties": {"name": DEFAULT}}
        group.state = {"etag": base64.b64encode(secrets.token_bytes(6)).decode()}
        group.decide(provisioningState="Succeeded")
        with resources.store.transaction():
            resources.save(group)


def _hub_of(group_id: str) -> str:
    return group_id.rsplit("/", 4)[0]
