"""Who may do what: role assignments of the database against what a request needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localazure.arm.errors import ArmError
from localazure.arm.ids import Target, parse
from localazure.arm.rbac import roles
from localazure.arm.rbac.needs import Need, links_of, need_of
from localazure.arm.resources import Json, Resources
from localazure.principals import Principals
from localazure.store import Store

ASSIGNMENTS = "Microsoft.Authorization/roleAssignments"
_TABLE = "CREATE TABLE IF NOT EXISTS arm_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);"


class Access:
    """`strict` says whether role assignments are enforced; a change counts from the next request on and survives restarts.

    The default principal is Owner of everything by an assignment that no list shows.
    """

    def __init__(self, store: Store, resources: Resources, principals: Principals) -> None:
        store.script(_TABLE)
        self._store, self._resources, self._principals = store, resources, principals

    @property
    def strict(self) -> bool:
        row = self._store.one("SELECT value FROM arm_settings WHERE name = 'strict-rbac'")
        return row is not None and row["value"] == "on"

    @strict.setter
    def strict(self, value: bool) -> None:
        self._store.execute("INSERT OR REPLACE INTO arm_settings VALUES ('strict-rbac', ?)", "on" if value else "off")

    def check(self, method: str, target: Target, claims: Mapping[str, Any]) -> Need | None:
        """Raise 403 AuthorizationFailed; else what was needed, None when nothing is to be filtered afterwards."""
        if not self.strict:
            return None
        need = need_of(method, target)
        if need is None:
            return None
        object_id = claims["oid"]
        if self.allowed(object_id, need.action, need.scope):
            return None
        if not need.scope or (need.anywhere and self._has_any_below(object_id, need.scope)):
            return need
        raise forbidden(claims, need.action, need.scope)

    def check_links(self, method: str, target: Target, body: Json | None, claims: Mapping[str, Any]) -> None:
        """Raise 403 LinkedAuthorizationFailed for a resource that the body names and the caller has no right to."""
        for need in links_of(method, target, body) if self.strict else ():
            if not self.allowed(claims["oid"], need.action, need.scope):
                own = need_of(method, target)
                raise ArmError(
                    403,
                    "LinkedAuthorizationFailed",
                    f"The client '{claims['appid']}' with object id '{claims['oid']}' has permission to perform action "
                    f"'{own.action if own else method}' on scope '{target.path}'; however, it does not have permission to perform "
                    f"action(s) '{need.action}' on the linked scope(s) '{need.scope}' (respectively) or the linked scope(s) are invalid.",
                )

    def allowed(self, object_id: str, action: str, scope: str, *, data: bool = False) -> bool:
        """Rights at a scope hold for all that is below it."""
        where = f"{scope.rstrip('/').casefold()}/"
        return any(
            where.startswith(f"{held}/") and role.allows(action, data) for held, role in self._assigned(object_id)
        )

    def readable(self, object_id: str, values: list[Json]) -> list[Json]:
        """Those of a list that the caller may read."""
        return [one for one in values if self._may_read(object_id, one["id"])]

    def _may_read(self, object_id: str, resource_id: str) -> bool:
        target = parse(resource_id)
        if target.namespace is None and target.group is None:
            return self._has_any_below(object_id, resource_id)
        kind = "Microsoft.Resources/subscriptions/resourceGroups" if target.is_group else target.type
        return self.allowed(object_id, f"{kind}/read", resource_id)

    def _has_any_below(self, object_id: str, scope: str) -> bool:
        where = scope.rstrip("/").casefold()
        return any(
            f"{held}/".startswith(f"{where}/") or f"{where}/".startswith(f"{held}/")
            for held, _ in self._assigned(object_id)
        )

    def _assigned(self, object_id: str) -> list[tuple[str, roles.Role]]:
        """(scope in folded case, role) of the principal's assignments."""
        found = []
        if object_id == self._principals.default.object_id:
            found.append(("", roles.ROLES[0]))
            found += [("", role) for role in roles.ROLES if role.data_actions]  # it was always let into the data planes
        for one in self._resources.below("", ASSIGNMENTS):
            role = roles.find(one.properties["roleDefinitionId"])
            if role and one.properties["principalId"].casefold() == object_id.casefold():
                found.append((parse(one.id).scope.casefold(), role))
        return found


def forbidden(claims: Mapping[str, Any], action: str, scope: str) -> ArmError:
    return ArmError(403, "AuthorizationFailed", refusal(claims, action, scope))


def refusal(claims: Mapping[str, Any], action: str, scope: str) -> str:
    """ARM's own words."""
    return (
        f"The client '{claims['appid']}' with object id '{claims['oid']}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )
