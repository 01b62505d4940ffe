"""Logins of registries beside the stack's own, for the devices that pull from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator

from components.edge.manifest import credential_id
from components.settings.base import SettingsModel
from components.settings.problems import Finding, Problem, key, refuse, refuse_all

NAME = "registryLogins"


class RegistryLoginSettings(SettingsModel):
    address: str
    """The host that image references begin with. The stack's own registry may be named: this login is then used in place of the
    admin user's."""
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)
    """Only as a secret of the stack's configuration."""

    @field_validator("address")
    @classmethod
    def _address(cls, address: str) -> str:
        if not address or "/" in address or address.strip() != address:
            refuse("is not the host of a registry", "write it as image references begin: contoso.azurecr.io")
        return address


def _different(logins: list[RegistryLoginSettings]) -> list[RegistryLoginSettings]:
    counts = Counter(credential_id(login.address) for login in logins)
    doubled = [login.address for login in logins if counts[credential_id(login.address)] > 1]
    if doubled:
        refuse_all(
            [Finding(f"the logins of {', '.join(doubled)} are one to a device", "give every registry one login")]
        )
    return logins


RegistryLogins = Annotated[list[RegistryLoginSettings], AfterValidator(_different)]


def plain_passwords(given: object, is_secret: bool) -> Iterator[Problem]:
    """Pulumi knows of a setting as a whole whether it holds a secret."""
    if given and not is_secret:
        rule = "holds passwords that the stack's file shows in plain text"
        yield Problem(key((NAME,)), None, rule, f"pulumi config set --path --secret '{key((NAME, 0, 'password'))}'")
