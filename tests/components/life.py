"""What Pulumi's engine and servicer do with one dynamic resource: numbers become floats on the wire, secrets arrive in plain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi.output import Unknown

from components.dynamic import Provider


class CheckError(Exception):
    """A preview would show these; `problems` maps an input to what is wrong with it."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__(str(problems))


class Life:
    """One resource with its state. `id` is None while there is none."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.id: str | None = None
        self.outs: dict[str, Any] = {}

    def check(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As at preview. Raises CheckError."""
        result = self.provider.check(wire(self.outs), wire(inputs))
        if result.failures:
            raise CheckError({failure.property: failure.reason for failure in result.failures})
        return dict(result.inputs)

    def preview(self, inputs: Mapping[str, Any]) -> str:
        """create, update, replace or same."""
        news = wire(self.check(inputs))
        if self.id is None:
            return "create"
        found = self.provider.diff(self.id, wire(self.outs), news)
        if found.replaces:
            return "replace"
        return "same" if found.changes is False else "update"

    def up(self, inputs: Mapping[str, Any]) -> str:
        """Does what `preview` says. A failed operation leaves the state as it was."""
        step, news = self.preview(inputs), wire(self.check(inputs))
        if step == "create":
            created = self.provider.create(news)
            self.id, self.outs = created.id, dict(created.outs or {})
        elif step == "update":
            assert self.id is not None
            self.outs = dict(self.provider.update(self.id, wire(self.outs), news).outs or {})
        elif step == "replace":
            before = Life(self.provider)
            before.id, before.outs = self.id, self.outs
            self.id = None
            self.up(inputs)
            before.destroy()
        return step

    def refresh(self) -> bool:
        """Whether it is still there; what was read becomes the state."""
        assert self.id is not None
        found = self.provider.read(self.id, wire(self.outs))
        if not found.id:
            self.id, self.outs = None, {}
            return False
        self.outs = dict(found.outs or {})
        return True

    def destroy(self) -> None:
        assert self.id is not None
        self.provider.delete(self.id, wire(self.outs))
        self.id, self.outs = None, {}


def wire(value: Any) -> Any:
    """As protobuf's Struct carries it: every number is a double, tuples are lists."""
    if isinstance(value, bool | Unknown):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, Mapping):
        return {key: wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [wire(item) for item in value]
    return value
