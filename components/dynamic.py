"""What our dynamic providers have in common: the lifecycle, explained once.

Pulumi pickles a provider into the state. Classes in an importable module without instance state are pickled by reference, so that
editing their code makes no diff; their import path is thereby part of the state: whoever moves one must leave a re-export behind.

- `check` turns Pulumi's floats into ints and reports bad inputs at preview.
- `diff` compares new inputs with what the last operation returned. It answers `changes=None` where inputs differ, so that the
  engine shows the properties one by one, and `changes=True` only for drift that no input shows.
- `create` is find-or-create with deterministic names: a killed run is adopted, never doubled.
- `read` says "gone" only on the service's own 404; every other failure is an error and leaves the state as it was.
- `update` is always implemented and returns everything; what it leaves out would vanish from the state. What was deleted behind
  our back is an error that says `pulumi refresh`: made again in silence, it would lack what other resources had put on it.
- `delete` takes absence as success.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pulumi import Output, ResourceOptions
from pulumi.dynamic import CheckFailure, CheckResult, DiffResult, ReadResult, Resource, ResourceProvider
from pulumi.output import Unknown


class Provider(ResourceProvider):
    """Base of our providers. Outputs are the inputs plus what the service answered."""

    serialize_as_secret_always = False  # pickled by reference, there is nothing secret in it
    replaces: ClassVar[Sequence[str]] = ()
    """Inputs that make it another resource."""
    ignores: ClassVar[Sequence[str]] = ()
    """Inputs that only tell how to get there (local paths, credentials of the moment): a change of them alone is none."""

    optional: ClassVar[Sequence[str]] = ()
    """Inputs that a program may leave out, which is the same as giving them empty."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Every method gets JSON as Python means it: the dynamic protocol only knows floats, `check`'s ints among them."""
        super().__init_subclass__(**kwargs)
        for name in ("create", "read", "update", "delete"):
            if name in cls.__dict__:
                setattr(cls, name, _with_plain_arguments(cls.__dict__[name]))

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        inputs = plain(news)
        return CheckResult(inputs, [CheckFailure(key, reason) for key, reason in self.problems(inputs)])

    def problems(self, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(input, reason) for what is wrong. At preview some values may still be unknown: see `is_unknown`."""
        return []

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        olds, news = plain(_olds), plain(_news)
        changed = [key for key in news if not key.startswith("__") and olds.get(key) != news[key]]
        changed += [key for key in self.optional if key not in news and olds.get(key)]
        changed = [key for key in changed if key not in self.optional or olds.get(key) or news.get(key)]
        telling = [key for key in changed if key not in self.ignores]
        if telling:
            return DiffResult(changes=None, replaces=[key for key in telling if key in self.replaces])
        return DiffResult(changes=self.drifted(olds, news))

    def drifted(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """Whether what `read` saw differs from what we made, where no input shows it."""
        return False


def _with_plain_arguments(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(self: Provider, *arguments: Any) -> Any:
        return method(self, *map(plain, arguments))

    return called


def gone() -> ReadResult:
    """The answer of `read` for a resource that does not exist. Its outs must be a dict: Pulumi breaks on None."""
    return ReadResult("", {})


def plain(value: Any) -> Any:
    """JSON as Python means it: whole floats become ints (the dynamic protocol only knows floats)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def is_unknown(value: Any) -> bool:
    """Whether the value, or one inside it, will only be known when another resource has been made."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Mapping):
        return any(is_unknown(item) for item in value.values())
    return isinstance(value, list | tuple) and any(is_unknown(item) for item in value)


class DynamicResource(Resource):
    """A resource of ours: names its computed outputs and which of them are secret, so that no caller can forget it."""

    computed: ClassVar[Sequence[str]] = ()
    secret: ClassVar[Sequence[str]] = ()
    guarded: ClassVar[Sequence[str]] = ()
    """Inputs that a program gives as an Output where they hold a secret: the outputs of the same names are secret then."""

    def __init__(
        self, provider: Provider, name: str, inputs: Mapping[str, Any], opts: ResourceOptions | None = None
    ) -> None:
        """Inputs that are None are left out. Outputs have their names in the state: `output("modelId")`."""
        given = {key: value for key, value in inputs.items() if value is not None}
        hidden = [key for key in self.guarded if isinstance(given.get(key), Output)]
        secrets = ResourceOptions(additional_secret_outputs=[*self.secret, *hidden])
        super().__init__(
            provider, name, {**dict.fromkeys(self.computed), **given}, ResourceOptions.merge(opts, secrets)
        )

    def output(self, key: str) -> Output[Any]:
        """The output or input `key`; unknown in previews that would change it."""
        found: Output[Any] = self.__dict__[key]
        return found
