"""The container registry with its admin user, and the credentials that devices pull with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from pulumi import ComponentResource, Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, ReadResult, UpdateResult
from pulumi_azure_native import containerregistry

from components.dynamic import DynamicResource, Provider, gone
from components.existing import Existing
from components.services import registry
from components.services.errors import NotFoundError
from components.settings import Settings


class ContainerRegistryArgs(TypedDict):
    existing_id: NotRequired[str | None]
    """ARM id of a registry that somebody else made; then nothing else counts but `enable_admin_user`."""
    enable_admin_user: NotRequired[bool]
    resource_group_name: Input[str]
    sku: str
    """Basic, Standard or Premium."""
    tags: NotRequired[Mapping[str, Input[str]] | None]


def registry_args(settings: Settings, existing: Existing, group: Input[str]) -> ContainerRegistryArgs:
    """From a stack's settings."""
    return {
        "existing_id": existing.registry_id,
        "enable_admin_user": settings.registry.enable_admin_user,
        "resource_group_name": group,
        "sku": settings.registry.sku,
        "tags": settings.tags,
    }


def device_logins(settings: Settings, own: dict[str, Output[str]]) -> list[Any]:
    """`{address, username, password}` of every registry that the devices pull from: the stack's `own` one, and those of the settings.
    Of two for one address the later counts: a token that may only pull can stand in for the admin user."""
    others = (
        {
            "address": login.address,
            "username": login.username,
            "password": Output.secret(login.password.get_secret_value()),
        }
        for login in settings.registry_logins
    )
    return [own, *others]


class ContainerRegistry(ComponentResource):
    """A registry whose admin user is enabled: IoT Edge manifests know user names and passwords only."""

    registry_id: Output[str]
    credentials: RegistryCredentials

    def __init__(self, name: str, args: ContainerRegistryArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("amledge:index:ContainerRegistry", name, None, opts)
        existing = args.get("existing_id")
        made = None if existing else self._make(name, args)
        self.registry_id = made.id if made else Output.from_input(existing or "")
        self.credentials = RegistryCredentials(
            f"{name}-credentials",
            {"registryId": self.registry_id, "enableAdminUser": bool(existing and args.get("enable_admin_user"))},
            ResourceOptions(parent=self, deleted_with=made, protect=False),  # looked up, so nothing is lost with it
        )
        self.register_outputs({"registryId": self.registry_id, "loginServer": self.credentials.login_server})

    def _make(self, name: str, args: ContainerRegistryArgs) -> containerregistry.Registry:
        return containerregistry.Registry(
            name,
            resource_group_name=args["resource_group_name"],
            sku=containerregistry.SkuArgs(name=args["sku"]),
            admin_user_enabled=True,
            tags=args.get("tags"),
            opts=ResourceOptions(parent=self),
        )


class RegistryCredentialsInputs(TypedDict):
    registryId: Input[str]
    """ARM id."""
    enableAdminUser: bool
    """Turn the admin user on where it is off."""


class RegistryCredentialsProvider(Provider):
    """Looks up the admin user of a registry; enables it where that is asked for.

    The password is fetched at create and seen again at read: a regenerated one appears at `pulumi refresh` and makes the
    deployments change, because devices must pull with it.
    """

    replaces = ("registryId",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['registryId']}/admin", self._look_up(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return ReadResult(id_, {**props, **_credentials(props["registryId"])})
        except NotFoundError:
            return gone()

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self._look_up(_news))

    def _look_up(self, props: dict[str, Any]) -> dict[str, Any]:
        if props.get("enableAdminUser"):
            registry.enable_admin_user(props["registryId"])
        return {**props, **_credentials(props["registryId"])}


def _credentials(registry_id: str) -> dict[str, str]:
    found = registry.admin_credentials(registry_id)
    return {"loginServer": found.login_server, "username": found.username, "password": found.password}


class RegistryCredentials(DynamicResource, module="edge", name="RegistryCredentials"):
    """Login server, user name and password of a registry's admin user."""

    computed = ("loginServer", "username", "password")
    secret = ("password",)

    def __init__(self, name: str, inputs: RegistryCredentialsInputs, opts: ResourceOptions | None = None) -> None:
        super().__init__(RegistryCredentialsProvider(), name, inputs, opts)

    @property
    def login_server(self) -> Output[str]:
        return self.output("loginServer")

    @property
    def username(self) -> Output[str]:
        return self.output("username")

    @property
    def password(self) -> Output[str]:
        return self.output("password")

    @property
    def login(self) -> dict[str, Output[str]]:
        """What a device pulls with: {address, username, password}."""
        return {"address": self.login_server, "username": self.username, "password": self.password}
