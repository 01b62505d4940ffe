"""The words in which a resource provider describes its types; `providers/` holds one file a provider."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from localazure.arm.errors import ArmError
from localazure.arm.ids import Target
from localazure.arm.resources import Json, Resource, Resources, Tombstone
from localazure.identity import Tokens
from localazure.instance import Instance
from localazure.principals import Principals


class Registries(Protocol):
    """The registry room's door. `create`, `delete` and `set_admin` may be called again after a crash: they must be repeatable."""

    async def create(self, name: str) -> str: ...
    async def delete(self, name: str) -> None: ...
    def set_admin(self, name: str, enabled: bool) -> None: ...
    def passwords(self, name: str) -> tuple[str, str]: ...
    async def regenerate(self, name: str, which: str) -> Any: ...


class Tasks(Protocol):
    """What registries do by themselves; repeatable."""

    async def forget(self, registry: str) -> None: ...


class Hubs(Protocol):
    """The hub room's door; `create` must be repeatable too."""

    async def create(self, name: str, sku: str = ..., units: int = ...) -> str: ...
    async def delete(self, name: str) -> None: ...
    def keys(self, name: str) -> list[dict[str, str]]: ...
    def set_policies(self, name: str, policies: list[dict[str, str]]) -> None: ...
    def usage(self, name: str) -> tuple[int, int]: ...
    def names(self) -> list[str]: ...


@dataclass(frozen=True)
class Context:
    """What a provider's hooks may use."""

    instance: Instance
    resources: Resources
    tokens: Tokens
    registries: Registries
    hubs: Hubs
    principals: Principals
    tasks: Tasks | None = None


@dataclass(frozen=True)
class Call:
    """One request, authenticated and with its api-version checked."""

    method: str
    target: Target
    query: Mapping[str, str]
    """Names in folded case."""
    headers: Mapping[str, str]
    body: Json | None
    claims: Mapping[str, Any]

    @property
    def api_version(self) -> str:
        return self.query["api-version"]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LongRunning:
    """How a type answers when work goes on after the first response.

    `monitor` becomes the Azure-AsyncOperation header, `result` the Location header; both are templates of {subscription}, {group},
    {name}, {location}, {operation}. Without either, clients watch provisioningState.
    """

    status: int
    state: str
    """provisioningState while it runs."""
    monitor: str | None = None
    result: str | None = None
    prefix: str = ""
    """Of the operation's id."""
    running: str = "InProgress"
    """Status word while it runs."""
    body: bool = True


@dataclass(frozen=True)
class NameRule:
    pattern: str
    code: str
    message: str
    """A template of {name}."""
    status: int = 400

    def allows(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None

    def check(self, name: str, error: Callable[[int, str, str], ArmError]) -> None:
        if not self.allows(name):
            raise error(self.status, self.code, self.message.format(name=name))


JsonTypes = tuple[type, ...]
Action = Callable[[Context, Resource, Call], Awaitable[Answer]]


class ResourceType:
    """One ARM type: its rules as class attributes, what cannot be said that way as hooks."""

    type: ClassVar[str]
    """Canonical case, e.g. `Microsoft.Storage/storageAccounts`."""
    name: ClassVar[NameRule]
    fixed: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Of a nested type: segments above it that have one name only."""
    api_versions: ClassVar[tuple[str, ...]]
    """Newest first; shown by the provider listing. Any well-formed version is accepted."""

    top: ClassVar[tuple[str, ...]] = ("location", "tags")
    """Writable members beside `properties`."""
    writable: ClassVar[Mapping[str, JsonTypes]] = MappingProxyType({})
    """Writable `properties` with their JSON types; others are dropped, as Azure does."""
    required: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Dotted path -> allowed words (any case; answered in this one)."""
    immutable: ClassVar[tuple[str, ...]] = ()
    immutable_error: ClassVar[tuple[int, str]] = (409, "PropertyChangeNotAllowed")
    invalid_code: ClassVar[str] = "InvalidParameter"
    patchable: ClassVar[tuple[str, ...] | None] = None
    """Members that PATCH changes; None is all of them."""
    cloud_wide: ClassVar[bool] = False
    """Names are unique over all subscriptions."""
    system_data: ClassVar[bool] = True
    etag: ClassVar[bool] = False
    secrets: ClassVar[Mapping[str, Callable[[], str]]] = MappingProxyType({})

    create_status: ClassVar[int] = 201
    create: ClassVar[LongRunning | None] = None
    update: ClassVar[LongRunning | None] = None
    delete: ClassVar[LongRunning | None] = None
    delete_shows: ClassVar[bool] = False
    """A synchronous DELETE answers the deleted resource."""

    def actions(self) -> Mapping[str, Action]:
        """POST actions by folded name."""
        return {}

    def error(self, status: int, code: str, message: str) -> ArmError:
        return ArmError(status, code, message)

    # --- what GET answers: defaults <- inputs <- derived <- state

    def defaults(self, resource: Resource) -> Json:
        return {}

    def derived(self, context: Context, resource: Resource) -> Json:
        """Read-only values that follow from the inputs."""
        return {}

    def present(self, context: Context, resource: Resource) -> Json:
        body = merge(self.defaults(resource), resource.inputs)
        body = merge(merge(body, self.derived(context, resource)), resource.state)
        body.pop("internal", None)  # the engine's own notes
        return {"id": resource.id, "name": resource.name, "type": self.type} | body

    # --- the life of a resource

    def check(self, context: Context, new: Resource, old: Resource | None) -> None:
        """Raise ArmError on what the declarations above cannot say. May complete `new.inputs`."""

    def taken(self, new: Resource, holder: Resource) -> ArmError:
        """The refusal when another resource holds a cloud-wide name."""
        return self.error(409, "Conflict", f"The name '{new.name}' is already in use.")

    def revive(self, tombstone: Tombstone, new: Resource) -> Json:
        """A soft-deleted resource has this id: the inputs with which it is recovered, or ArmError."""
        raise self.error(409, "Conflict", f"'{new.name}' exists in deleted state.")

    def born(self, context: Context, resource: Resource) -> None:
        """Decide ids and times once, when a resource is first put."""

    async def provision(self, context: Context, resource: Resource) -> Json:
        """Make or change what stands behind the resource; additions to `state`. May run again after a crash."""
        return {}

    async def deprovision(self, context: Context, resource: Resource) -> None:
        """Remove what stands behind it. May run again after a crash."""

    def retention(self, resource: Resource, call: Call | None) -> float | None:
        """Seconds for which a deleted resource is kept; None deletes for good."""
        return None


def properties(
    *, text: str = "", flag: str = "", number: str = "", objects: str = "", lists: str = ""
) -> Mapping[str, JsonTypes]:
    """Writable properties by JSON type, names separated by spaces."""
    kinds: list[tuple[str, JsonTypes]] = [
        (text, (str,)),
        (flag, (bool,)),
        (number, (int, float)),
        (objects, (dict,)),
        (lists, (list,)),
    ]
    return MappingProxyType({name: types for names, types in kinds for name in names.split()})


def merge(base: Json, over: Mapping[str, Any]) -> Json:
    """Deep merge of objects into a new one; lists and scalars are replaced."""
    result = dict(base)
    for key, value in over.items():
        held = result.get(key)
        result[key] = merge(held, value) if isinstance(held, dict) and isinstance(value, Mapping) else value
    return result


def lookup(body: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None."""
    value: Any = body
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
