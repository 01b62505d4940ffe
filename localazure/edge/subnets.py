"""Small subnets for the networks of devices. Pure.

Docker's own pools hold about thirty networks and give a /16 to each: a stack with forty devices, or a few test runs, would leave none
for anybody else on the machine. A device needs an address for each of its modules, of which it has fifty at most.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator

RANGE = ipaddress.IPv4Network("172.16.0.0/16")  # private, and just below the first of Docker's own pools
PREFIX = 26  # 62 hosts
_SHORTEST_ROUTE = 8


def free(taken: Iterable[str], dice: random.Random | None = None) -> Iterator[ipaddress.IPv4Network]:
    """Subnets of RANGE that overlap none of `taken` (networks in CIDR form), in random order: two clones that
    look at the same moment should not fight for the same one."""
    others = [network for text in taken if (network := _parse(text)) and network.overlaps(RANGE)]
    candidates = list(RANGE.subnets(new_prefix=PREFIX))
    (dice or random.Random()).shuffle(candidates)  # noqa: S311 - nothing secret
    for candidate in candidates:
        if not any(candidate.overlaps(other) for other in others):
            yield candidate


def routes(table: str) -> list[str]:
    """The networks of Linux's `/proc/net/route`: where a VPN or a company's network is, no device may be. The default route is left
    out, also where a VPN writes it as two halves."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[index]), "little") for index in (1, 7))
        if mask.bit_count() >= _SHORTEST_ROUTE:
            found.append(f"{ipaddress.IPv4Address(destination)}/{mask.bit_count()}")
    return found


def _parse(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:  # IPv6
        return None
