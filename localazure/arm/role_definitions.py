"""Role definitions to read, at any scope (Azure REST API, authorization 2022-04-01): the built-in roles that `rbac` enforces."""

from __future__ import annotations

import re

from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError
from localazure.arm.model import Answer, Call
from localazure.arm.pages import page
from localazure.arm.rbac.roles import DEFINITIONS, ROLES, Role
from localazure.arm.resources import Json

_NAME = re.compile(r"\s*roleName\s+eq\s+'([^']*)'\s*", re.I)
_TYPE = re.compile(r"\s*type\s+eq\s+'(BuiltInRole|CustomRole)'\s*", re.I)


class RoleDefinitions:
    """Custom roles are not part of this cloud."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, call: Call) -> Answer:
        self._engine.require_scope(call.target)
        role = next((role for role in ROLES if role.id == call.target.name.casefold()), None)
        if role is None:
            message = f"The specified role definition with ID '{call.target.name.replace('-', '')}' does not exist."
            raise ArmError(404, "RoleDefinitionDoesNotExist", message)
        return Answer(200, _shown(role))

    async def collection(self, call: Call) -> Answer:
        self._engine.require_scope(call.target)
        found = [_shown(role) for role in ROLES if _wanted(role, call.query.get("$filter", ""))]
        return Answer(200, page(call, found, self._engine.context.instance.arm_url))


def _wanted(role: Role, text: str) -> bool:
    for part in filter(str.strip, re.split(r"\s+and\s+", text, flags=re.I)):
        name, kind = _NAME.fullmatch(part), _TYPE.fullmatch(part)
        if name and name[1].casefold() != role.name.casefold():
            return False
        if kind and kind[1].casefold() != "builtinrole":
            return False
        if not name and not kind and part.strip().casefold() != "atscopeandbelow()":
            raise ArmError(400, "InvalidFilter", f"The filter '{part}' is not supported.")
    return True


def _shown(role: Role) -> Json:
    permissions = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": [],
    }
    properties = {
        "roleName": role.name,
        "type": "BuiltInRole",
        "description": role.description,
        "assignableScopes": ["/"],
        "permissions": [permissions],
    }
    return {
        "id": f"{DEFINITIONS}{role.id}",
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
        "properties": properties,
    }
