"""Where the networks of devices get their addresses."""

from __future__ import annotations

import ipaddress
import random

from localazure.edge import subnets

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010010AC	0003	0	0	0	00000000	0	0	0
tun0	00000000	0100080A	0003	0	0	0	00000080	0	0	0
tun0	000010AC	00000000	0001	0	0	0	00C0FFFF	0	0	0
eth0	0000A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""


def test_a_thousand_devices_have_networks_of_their_own() -> None:
    found = list(subnets.free([]))
    assert len(found) == len(set(found)) == 1024
    assert all(network.num_addresses == 64 and network.subnet_of(subnets.RANGE) for network in found)


def test_nothing_that_is_taken_is_given() -> None:
    found = set(map(str, subnets.free(["172.16.0.0/17", "172.16.128.70/32", "172.17.0.0/16", "fd00::/64"])))
    assert len(found) == 511
    assert "172.16.128.64/26" not in found
    assert "172.16.128.0/26" in found


def test_none_is_free_where_a_network_covers_all() -> None:
    assert list(subnets.free(["172.16.0.0/12"])) == []


def test_two_clones_begin_at_different_places() -> None:
    assert next(subnets.free([], random.Random(1))) != next(subnets.free([], random.Random(2)))


def test_routes_of_this_machine_count_but_the_default_one() -> None:
    assert subnets.routes(ROUTES) == ["172.16.0.0/18", "192.168.0.0/24"]
    taken = ipaddress.IPv4Network("172.16.0.0/18")
    assert not any(subnet.overlaps(taken) for subnet in subnets.free(subnets.routes(ROUTES)))
