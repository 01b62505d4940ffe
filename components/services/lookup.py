"""Resources that somebody else made: found by name, by ARM id or by a workspace's config.json. Reads only; a Reader may do it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from components.services import azure
from components.services.errors import NotFoundError, ServiceError

WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
REGISTRY = "Microsoft.ContainerRegistry/registries"
HUB = "Microsoft.Devices/IotHubs"
_KINDS = {WORKSPACE: "Azure ML workspace", REGISTRY: "container registry", HUB: "IoT hub"}


def find(kind: str, name: str) -> dict[str, Any]:
    """The resource as ARM shows it. `name` is a name in the subscription, an ARM id, or (workspaces) a path that ends with .json.

    Raises NotFoundError that says what was looked for and where, ServiceError when the name is ambiguous.
    """
    what = _KINDS[kind]
    if kind == WORKSPACE and name.endswith(".json"):
        return _get(what, _id_from_config(Path(name)))
    if name.startswith("/"):
        if not re.fullmatch(rf"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{kind}/[^/]+", name, re.IGNORECASE):
            advice = f"Write /subscriptions/ID/resourceGroups/GROUP/providers/{kind}/NAME, or the name alone."
            raise ServiceError(f"find the {what}", repr(name), "this is not the ARM id of one", advice)
        return _get(what, name)
    subscription = subscription_id()
    where = f"the subscription {subscription}"
    there = azure.collection(f"/subscriptions/{subscription}/providers/{kind}")
    same = [resource for resource in there if resource["name"].casefold() == name.casefold()]
    if not same:
        names = ", ".join(sorted(resource["name"] for resource in there)) or "none"
        advice = "Correct the name in the stack file, or leave `existing` out to make a new one."
        raise NotFoundError(f"find the {what}", repr(name), f"{where} has {names}", advice)
    if len(same) > 1:
        groups = ", ".join(resource["id"].split("/")[4] for resource in same)
        advice = "Write its ARM id instead of its name."
        raise ServiceError(f"find the {what}", repr(name), f"{where} has it in the resource groups {groups}", advice)
    return same[0]


def registry_of(workspace: dict[str, Any]) -> str:
    """ARM id of the registry that a workspace is attached to. Raises ServiceError when Azure ML has not attached one yet."""
    attached: str | None = workspace["properties"].get("containerRegistry")
    if not attached:
        raise ServiceError(
            "find the container registry of the Azure ML workspace",
            repr(workspace["name"]),
            "it is attached to none yet; Azure ML makes one when it first builds an image",
            f"Name one in aml-edge:registry.existing and attach it: az ml workspace update --name {workspace['name']} "
            "--container-registry ID --update-dependent-resources",
        )
    return attached


def subscription_id() -> str:
    """`ARM_SUBSCRIPTION_ID`, else the only subscription that the login can see."""
    given = os.environ.get("ARM_SUBSCRIPTION_ID")
    if given:
        return given
    visible = [entry["subscriptionId"] for entry in azure.collection("/subscriptions")]
    if len(visible) != 1:
        raise ServiceError(
            "choose a subscription among", str(len(visible)), "none is named", "Set ARM_SUBSCRIPTION_ID."
        )
    return str(visible[0])


def _get(what: str, resource_id: str) -> dict[str, Any]:
    try:
        return azure.get(resource_id)
    except NotFoundError as error:
        raise NotFoundError(f"find the {what}", resource_id, error.answer, "Correct it in the stack file.") from error


def _id_from_config(path: Path) -> str:
    try:
        config = json.loads(path.read_text())
        group = f"/subscriptions/{config['subscription_id']}/resourceGroups/{config['resource_group']}"
        return f"{group}/providers/{WORKSPACE}/{config['workspace_name']}"
    except OSError as error:
        raise NotFoundError(
            "read the workspace's", str(path), error.strerror or "unreadable", "Correct the path."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        advice = "It is the file that the Azure portal offers as 'Download config.json'."
        answer = "it lacks subscription_id, resource_group or workspace_name"
        raise ServiceError("read the workspace's", str(path), answer, advice) from error
