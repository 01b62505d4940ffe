"""What a request to ARM needs: the action and the scope at which somebody must have it.

Rule: learn.microsoft.com/azure/role-based-access-control/role-definitions ("Actions": `{provider}/{type}/{read|write|delete|action}`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localazure.arm.ids import Target

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
_POLLS = ("operationstatuses", "operationresults", "asyncoperations", "workspaceoperationsstatus")
# The name checks that a Reader may make, by their documented names; the others are actions.
_READ_CHECKS = ("microsoft.storage", "microsoft.keyvault", "microsoft.containerregistry")


@dataclass(frozen=True)
class Need:
    """`action` at `scope`. With `anywhere`, some right at or below the scope will do: subscriptions and operations are shown to all
    who have anything in them, and a subscription's lists hold what the caller may read."""

    action: str
    scope: str
    anywhere: bool = False
    filtered: bool = False
    """The answer is a list of which the caller gets what it may read."""


def need_of(method: str, target: Target) -> Need | None:
    """None for what every authenticated caller may do (tenants, the list of subscriptions)."""
    steps = target.key.strip("/").split("/")
    if steps == ["subscriptions"]:
        return Need("Microsoft.Resources/subscriptions/read", "", anywhere=True, filtered=True)
    if steps[0] != "subscriptions":
        return None
    subscription = f"/subscriptions/{target.subscription}"
    if len(steps) == 2:
        return Need("Microsoft.Resources/subscriptions/read", subscription, anywhere=True)
    if any(segment in _POLLS for segment in steps[2:-1]):
        return Need("Microsoft.Resources/subscriptions/operationresults/read", subscription, anywhere=True)
    if target.namespace is None:
        return _of_resources(method, target, steps, subscription)
    return _of_provider(method, target, steps, subscription)


def links_of(method: str, target: Target, body: Mapping[str, Any] | None) -> list[Need]:
    """What a body's references to other resources ask for: user-assigned identities (learn.microsoft.com/entra/identity/
    managed-identities-azure-resources/how-manage-user-assigned-managed-identities) and the source of an importImage
    (learn.microsoft.com/azure/container-registry/container-registry-import-images)."""
    found = []
    identity = (body or {}).get("identity")
    assigned = identity.get("userAssignedIdentities") if isinstance(identity, Mapping) else None
    if method in ("PUT", "PATCH") and isinstance(assigned, Mapping):
        action = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
        found += [Need(action, str(one)) for one, value in assigned.items() if value is not None]
    source = (body or {}).get("source")
    held = source.get("resourceId") if isinstance(source, Mapping) else None
    if method == "POST" and target.key.endswith("/importimage") and isinstance(held, str):
        found.append(Need("Microsoft.ContainerRegistry/registries/read", held))
    return found


def _of_resources(method: str, target: Target, steps: list[str], subscription: str) -> Need:
    if steps[2] == "resourcegroups" and len(steps) > 3:
        group = f"{subscription}/resourceGroups/{target.group}"
        if len(steps) == 4:
            return Need(f"{_GROUPS}/{_VERBS.get(method, 'action')}", group)
        return Need(f"{_GROUPS}/{steps[4]}/read", group)
    word = {"resourcegroups": "resourceGroups"}.get(steps[2], steps[2])
    filtered = steps[2] in ("resourcegroups", "resources")
    return Need(
        f"Microsoft.Resources/subscriptions/{word}/read",
        subscription,
        anywhere=filtered or steps[2] == "providers",
        filtered=filtered,
    )


def _of_provider(method: str, target: Target, steps: list[str], subscription: str) -> Need:
    namespace = target.namespace or ""
    if not target.types:
        return Need("Microsoft.Resources/subscriptions/providers/read", subscription, anywhere=True)
    if method == "POST":
        return Need(_post_action(target, namespace), _holder(target))
    action = f"{target.type}/{_VERBS.get(method, 'action')}"
    if target.is_collection:
        all_groups = _holder(target).casefold() == subscription.casefold()
        return Need(action, _holder(target), anywhere=all_groups, filtered=all_groups)
    return Need(action, target.path)


def _post_action(target: Target, namespace: str) -> str:
    last = target.types[-1] if target.is_collection else target.names[-1]
    kinds = target.types if target.is_collection else (*target.types, last)
    if last.casefold() == "checknameavailability" and namespace.casefold() in _READ_CHECKS:
        return f"{namespace}/checkNameAvailability/read"
    return "/".join((namespace, *kinds, "action"))


def _holder(target: Target) -> str:
    """What an action is done to, or a list is of: the path without its last word."""
    path = target.path.rpartition("/")[0]
    return path if target.names else target.scope
