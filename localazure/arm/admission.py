"""A request body becomes a resource's inputs, or is refused. Pure functions; the rules are the type's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localazure.arm import regions
from localazure.arm.errors import ArmError, invalid_content
from localazure.arm.ids import parse
from localazure.arm.model import ResourceType, lookup, merge
from localazure.arm.resources import Json, Resource

# What ARM's own front end knows of any tracked resource; it refuses other members before a provider sees them.
_MEMBERS = frozenset(
    {
        "id",
        "name",
        "type",
        "apiVersion",
        "location",
        "extendedLocation",
        "tags",
        "kind",
        "sku",
        "plan",
        "identity",
        "properties",
    }
    | {
        "managedBy",
        "managedByExtended",
        "zones",
        "placement",
        "etag",
        "systemData",
        "scale",
        "subscriptionid",
        "resourcegroup",
    }
)
_IDENTITIES = ("None", "SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned")
_TAG_FORBIDDEN = set("<>%&\\?/")


def admit_put(kind: ResourceType, body: Json) -> Json:
    """The inputs of a PUT: complete, in canonical case, without read-only and unknown members."""
    inputs = _members(kind, body)
    if "location" in kind.top:
        inputs["location"] = regions.admit(inputs.get("location"), kind.type)
    inputs = _without_nulls(inputs)
    if kind.writable:
        inputs.setdefault("properties", {})
    return _complete(kind, inputs)


def admit_patch(kind: ResourceType, body: Json, held: Json) -> Json:
    """The inputs after a PATCH: objects merge, null removes, tags are replaced as a whole."""
    changes = _members(kind, body)
    if kind.patchable is not None:
        changes = {key: value for key, value in changes.items() if key in kind.patchable}
    if "location" in changes:
        changes["location"] = regions.admit(changes["location"], kind.type)
    tags = changes.pop("tags", held.get("tags"))
    result = merge(held, changes)
    if tags is not None:
        result["tags"] = tags
    return _complete(kind, _without_nulls(result))


def _complete(kind: ResourceType, inputs: Json) -> Json:
    for path in kind.required:
        if lookup(inputs, path) is None:
            raise kind.error(400, kind.invalid_code, f"The value of parameter {path} is missing. '{path}' is required.")
    return inputs


def check_immutable(kind: ResourceType, new: Resource, old: Resource) -> None:
    """A location never changes; nor do the paths that the type names. Leaving out what has a default means the default."""
    if "location" in kind.top and new.location != old.location:
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{old.name}' already exists in location '{old.location}' in resource group '{parse(old.id).group}'. A resource "
            f"with the same name cannot be created in location '{new.location}'. Please select a new resource name.",
        )
    before, after = (merge(kind.defaults(one), one.inputs) for one in (old, new))
    for path in kind.immutable:
        if (_folded(lookup(before, path)) or None) != (
            _folded(lookup(after, path)) or None
        ):  # False is as good as absent
            status, code = kind.immutable_error
            raise kind.error(
                status, code, f"Changing property '{path}' is not allowed: it was set when '{old.name}' was created."
            )


def _members(kind: ResourceType, body: Json) -> Json:
    known = {member.casefold(): member for member in _MEMBERS}
    inputs: Json = {}
    for key, value in body.items():
        member = known.get(key.casefold())
        if member is None:
            raise invalid_content(f"Could not find member '{key}' on object of type 'ResourceDefinition'. Path '{key}'")
        if member in kind.top:
            inputs[member] = value
        elif member == "properties" and kind.writable:
            inputs["properties"] = _properties(kind, value)
    if inputs.get("tags") is not None:
        inputs["tags"] = _tags(inputs["tags"])
    if inputs.get("identity") is not None:
        inputs["identity"] = _identity(inputs["identity"])
    for member, types in (("sku", dict), ("kind", str), ("managedBy", str)):
        if inputs.get(member) is not None and not isinstance(inputs[member], types):
            raise invalid_content(f"Error converting the value of '{member}'")
    _canonical_choices(kind, inputs)
    return inputs


def _properties(kind: ResourceType, value: Any) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_content("Error converting the value of 'properties' to an object")
    known = {name.casefold(): name for name in kind.writable}
    result: Json = {}
    for key, item in value.items():
        name = known.get(key.casefold())
        if name is None:
            continue
        types = kind.writable[name]
        if item is not None and (not isinstance(item, types) or (isinstance(item, bool) and bool not in types)):
            wanted = " or ".join(one.__name__ for one in types)
            raise invalid_content(f"Error converting value of 'properties.{key}' to type '{wanted}'")
        result[name] = item
    return result


def _tags(tags: Any) -> dict[str, str]:
    """learn.microsoft.com/azure/azure-resource-manager/management/tag-resources: 50 pairs, 512 and 256 characters."""
    if not isinstance(tags, dict) or not all(isinstance(value, str | None) for value in tags.values()):
        raise invalid_content("Error converting the value of 'tags': an object of strings is expected")
    if len(tags) > 50:
        raise ArmError(400, "TagsLimitExceeded", f"The number of tags '{len(tags)}' exceeds the limit of 50.")
    for name, value in tags.items():
        if not name or len(name) > 512 or _TAG_FORBIDDEN & set(name):
            raise ArmError(
                400,
                "InvalidTagNameCharacters",
                f"The tag name '{name}' is not valid: 1 to 512 characters, none of <,>,%,&,\\,?,/.",
            )
        if len(value or "") > 256:
            raise ArmError(400, "InvalidTagValueLength", f"The value of tag '{name}' exceeds 256 characters.")
    if len({name.casefold() for name in tags}) < len(tags):
        raise ArmError(
            400, "InvalidRequestContent", "Tag names are case-insensitive: two of the given names are equal."
        )
    return {name: value or "" for name, value in tags.items()}


def _identity(identity: Any) -> Json:
    if not isinstance(identity, dict) or not isinstance(identity.get("type"), str):
        raise invalid_content("Required property 'type' not found in 'identity'")
    words = {word.casefold(): word for word in _IDENTITIES}
    kind = words.get(identity["type"].replace(" ", "").casefold())
    if kind is None:
        raise ArmError(
            400,
            "InvalidIdentityType",
            f"The identity type '{identity['type']}' is not one of {', '.join(_IDENTITIES)}.",
        )
    assigned = identity.get("userAssignedIdentities") or {}
    if "UserAssigned" in kind and not assigned:
        raise ArmError(
            400, "MissingIdentityIds", "The identity ids must not be null or empty for 'UserAssigned' identity type."
        )
    if not isinstance(assigned, dict):
        raise invalid_content("Error converting the value of 'identity.userAssignedIdentities' to an object")
    return {"type": kind} | (
        {"userAssignedIdentities": {key: {} for key in assigned}} if "UserAssigned" in kind else {}
    )


def _canonical_choices(kind: ResourceType, inputs: Json) -> None:
    for path, words in kind.choices.items():
        given = lookup(inputs, path)
        if given is None:
            continue
        word = {word.casefold(): word for word in words}.get(given.casefold()) if isinstance(given, str) else None
        if word is None:
            allowed = ", ".join(words)
            raise kind.error(
                400, kind.invalid_code, f"The value '{given}' of '{path}' is not allowed. Allowed values: {allowed}."
            )
        *steps, last = path.split(".")
        holder = inputs
        for step in steps:
            holder = holder[step]
        holder[last] = word


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _folded(value: Any) -> Any:
    """ARM ids and words compare case-insensitively."""
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, Mapping):
        return {key: _folded(item) for key, item in value.items()}
    return value
