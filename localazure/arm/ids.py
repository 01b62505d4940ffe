"""What an ARM path names. Paths compare case-insensitively and keep the case in which they were first given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A path taken apart. `types` and `names` alternate after the last `/providers/<namespace>`; when there is one more type than
    names the path names a collection (GET) or an action (POST)."""

    path: str
    subscription: str | None
    group: str | None
    namespace: str | None
    types: tuple[str, ...]
    names: tuple[str, ...]
    scope: str
    """What the provider's part hangs on: '', a subscription, a resource group, or another resource (extension resources)."""

    @property
    def key(self) -> str:
        return self.path.casefold()

    @property
    def type(self) -> str:
        """`Microsoft.X/a/b` in the request's own case."""
        return "/".join((self.namespace or "", *self.types))

    @property
    def name(self) -> str:
        return self.names[-1] if self.names else ""

    @property
    def is_group(self) -> bool:
        """Exactly a resource group."""
        return self.group is not None and self.path.count("/") == 4

    @property
    def is_collection(self) -> bool:
        return len(self.types) > len(self.names)

    @property
    def top(self) -> Target:
        """Of a nested path: the resource of the provider's own to which it belongs."""
        return parse(f"{self.scope}/providers/{self.namespace}/{self.types[0]}/{self.names[0]}")

    def parent(self) -> tuple[Target, str]:
        """An action's resource and its name: `.../registries/r/listCredentials` -> (`.../registries/r`, `listCredentials`)."""
        path, _, action = self.path.rpartition("/")
        return parse(path), action


def parse(path: str) -> Target:
    """Take a path or resource id apart; never fails: what is not there is None or empty."""
    segments = [segment for segment in path.split("/") if segment]
    folded = [segment.casefold() for segment in segments]
    subscription = segments[1] if len(segments) > 1 and folded[0] == "subscriptions" else None
    in_group = subscription is not None and len(segments) > 3 and folded[2] == "resourcegroups"
    anchor = max((index for index, segment in enumerate(folded[:-1]) if segment == "providers"), default=None)
    tail = segments[anchor + 2 :] if anchor is not None else []
    holder = segments[:2] if in_group and len(segments) == 4 else segments[:anchor]
    return Target(
        path="/" + "/".join(segments),
        subscription=subscription,
        group=segments[3] if in_group else None,
        namespace=segments[anchor + 1] if anchor is not None else None,
        types=tuple(tail[0::2]),
        names=tuple(tail[1::2]),
        scope="".join(f"/{segment}" for segment in holder),
    )
