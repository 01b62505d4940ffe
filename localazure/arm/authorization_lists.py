"""Listing role assignments: the one collection that looks above its scope too
(learn.microsoft.com/rest/api/authorization/role-assignments/list-for-scope)."""

from __future__ import annotations

import re

from localazure.arm.engine import Engine
from localazure.arm.errors import ArmError
from localazure.arm.ids import parse
from localazure.arm.model import Answer, Call
from localazure.arm.pages import page
from localazure.arm.resources import Resource

_KIND = "Microsoft.Authorization/roleAssignments"
_PRINCIPAL = re.compile(r"\s*(?:principalId\s+eq\s+'([^']+)'|assignedTo\('([^']+)'\))\s*", re.I)


class RoleAssignments:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def collection(self, call: Call) -> Answer:
        """At, above and below the scope; `atScope()` leaves out those below, `principalId eq '...'` those of others."""
        self._engine.require_scope(call.target)
        scope = call.target.scope.casefold()
        only_at_scope, principal = False, None
        for part in re.split(r"\s+and\s+", call.query.get("$filter", ""), flags=re.I):
            named = _PRINCIPAL.fullmatch(part)
            if named:
                principal = (named[1] or named[2]).casefold()
            elif part.strip().casefold() == "atscope()":
                only_at_scope = True
            elif part.strip():
                raise ArmError(400, "InvalidFilter", f"The filter '{part}' is not supported.")

        def wanted(assignment: Resource) -> bool:
            held = parse(assignment.id).scope.casefold()
            above = f"{scope}/".startswith(f"{held}/")
            below = held.startswith(f"{scope}/") and not only_at_scope
            mine = principal in (None, assignment.properties["principalId"].casefold())
            return (above or below) and mine

        found = [self._engine.present(one) for one in self._engine.resources.below("", _KIND) if wanted(one)]
        return Answer(200, page(call, found, self._engine.context.instance.arm_url))
