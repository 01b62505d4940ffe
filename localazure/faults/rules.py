"""What a fault is: which requests it hits, what it does to them, how often. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("arm", "ml", "blob", "identity", "hub", "registry")
ACTIONS = ("status", "reset-before", "reset-after", "kill-after", "disconnect", "delay")
AFTER = ("reset-after", "kill-after")
"""These hit a request that was carried out (answered below 400), in place of its answer."""
SERVER_ERRORS = (500, 502, 503, 504)
"""What `5xx` stands for, in turn."""
MAX_DELAY = 600.0
_MEMBERS = {"match", "on", "action", "status", "retry_after", "delay", "device", "credentials", "times"}


class FaultError(ValueError):
    """The fault makes no sense; the message says what is wrong with it."""


@dataclass(frozen=True)
class Place:
    """The service that a request is for: one of KINDS, and the name of the hub or registry ('' for the others)."""

    kind: str
    name: str = ""


@dataclass(frozen=True)
class Fault:
    """`match` is a regular expression (in any case) for the whole of `METHOD /path`; `on` a service as `hub` or `hub:NAME`.

    `status` is 400 to 599 or "5xx"; `retry_after` and `delay` are seconds. With `credentials` only requests that present some are
    hit: the anonymous first request of a registry client is refused anyway. `times` 0 means until it is cleared.
    """

    match: str
    action: str
    on: str = ""
    status: int | str | None = None
    retry_after: int | None = None
    delay: float = 0.0
    device: str = ""
    credentials: bool = False
    times: int = 1
    id: int = 0
    hits: int = 0

    @property
    def exhausted(self) -> bool:
        return bool(self.times) and self.hits >= self.times

    @property
    def status_now(self) -> int:
        if self.status == "5xx":
            return SERVER_ERRORS[self.hits % len(SERVER_ERRORS)]
        return int(self.status or 500)

    def concerns(self, method: str, path: str, place: Place, credentials: bool) -> bool:
        kind, _, name = self.on.partition(":")
        if kind and (kind != place.kind or (name and name.lower() != place.name.lower())):
            return False
        if self.credentials and not credentials:
            return False
        return re.fullmatch(self.match, f"{method} {path}", re.IGNORECASE | re.DOTALL) is not None


def parse(spec: Mapping[str, Any]) -> Fault:
    """A fault from JSON. Raises FaultError that names the member."""
    unknown = set(spec) - _MEMBERS
    if unknown:
        raise FaultError(f"a fault has no {', '.join(sorted(unknown))}")
    given = {"match": ".*", "action": "", **{key: value for key, value in spec.items() if value is not None}}
    for name in ("match", "action", "on", "device"):
        if not isinstance(given.get(name, ""), str):
            raise FaultError(f"{name} {given[name]!r} is not a text")
    if not isinstance(given.get("credentials", False), bool):
        raise FaultError("credentials is neither true nor false")
    fault = Fault(**given)
    _check_match(fault)
    _check_action(fault)
    _check_numbers(fault)
    return fault


def _check_match(fault: Fault) -> None:
    try:
        re.compile(fault.match)
    except re.error as error:
        raise FaultError(f"--match {fault.match!r} is not a regular expression: {error}") from error
    kind, _, name = fault.on.partition(":")
    if kind and (kind not in KINDS or (name and kind not in ("hub", "registry"))):
        raise FaultError(f"--on {fault.on!r} is none of {', '.join(KINDS)}, hub:NAME, registry:NAME")


def _check_action(fault: Fault) -> None:
    if fault.action not in ACTIONS:
        raise FaultError(f"the action {fault.action!r} is none of {', '.join(ACTIONS)}")
    if fault.action == "status" and fault.status != "5xx":
        if not isinstance(fault.status, int) or isinstance(fault.status, bool) or not 400 <= fault.status <= 599:
            raise FaultError(f"--status {fault.status!r} is not 5xx or a number from 400 to 599")
    elif fault.action != "status" and (fault.status is not None or fault.retry_after is not None):
        raise FaultError("--retry-after needs --status, and both exclude --reset, --kill and --disconnect")
    if fault.action == "delay" and not fault.delay:
        raise FaultError("a fault needs one of --status, --delay, --reset, --disconnect, --registry-401, --kill")
    if (fault.action == "disconnect") != bool(fault.device):
        raise FaultError("--disconnect needs the device's id")
    if fault.action == "kill-after" and fault.times == 0:
        raise FaultError("--kill needs --times 1 or more: with 0 the daemon could never be used again")


def _check_numbers(fault: Fault) -> None:
    for name, value, most in (("times", fault.times, 10**6), ("retry-after", fault.retry_after or 0, 86400)):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise FaultError(f"--{name} {value!r} is not a number from 0 to {most}")
    if isinstance(fault.delay, bool) or not isinstance(fault.delay, int | float) or not 0 <= fault.delay <= MAX_DELAY:
        raise FaultError(f"--delay {fault.delay!r} is not from 0 to {MAX_DELAY:g} seconds")
