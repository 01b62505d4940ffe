"""IoT Hub's service side through `components.services.hub`: every method against the real local hub, faults at a proxy before it."""

from __future__ import annotations

import concurrent.futures
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties

from components.edge import manifest
from components.services import azure as arm
from components.services.errors import ConflictError, NotFoundError, ServiceError
from components.services.hub import ATTEMPTS, POLICY, Hub
from tests.services.cloud import HUB, Cloud, forget
from tests.services.edge import CLOSE, CLOSE_AFTER, Fault, Proxy, proxy


@pytest.fixture(scope="module")
def hub(hub_id: str) -> Hub:
    return Hub(hub_id)


@pytest.fixture(scope="module")
def sdk(hub_id: str, hub: Hub) -> IoTHubRegistryManager:
    """Somebody else at the same hub."""
    key = arm.post(hub_id, f"IotHubKeys/{POLICY}/listkeys")["primaryKey"]
    return IoTHubRegistryManager.from_connection_string(
        f"HostName={hub.host_name};SharedAccessKeyName={POLICY};SharedAccessKey={key}"
    )


@pytest.fixture
def device_id(hub: Hub, request: pytest.FixtureRequest) -> Iterator[str]:
    """A disabled device: its simulated twin cannot connect, so nothing changes but by the test."""
    name = re.sub(r"\W", "-", request.node.name)[:60]
    hub.create_edge_device(name, "disabled", "test")
    yield name
    hub.delete_device(name)


@pytest.fixture
def front(azure: Cloud, hub: Hub, hub_id: str) -> Iterator[tuple[Proxy, Hub]]:
    """The same hub behind a proxy."""
    instance = azure.azure.instance
    with proxy(instance.address, instance.pki, f"https://{hub.host_name}") as made:
        behind = Hub(hub_id)
        for client in (behind.registry, behind.configurations):
            client.protocol.config.base_url = f"https://{made.host}"
        yield made, behind


def test_a_hub_that_is_gone_is_not_found(azure: Cloud) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        Hub(azure.id(HUB, "nowhere"))


def test_an_edge_device_with_keys_of_the_hubs_making(hub: Hub, device_id: str) -> None:
    device = hub.device(device_id)
    assert (device.device_id, device.status, device.status_reason, device.iot_edge) == (
        device_id,
        "disabled",
        "test",
        True,
    )
    assert len({device.primary_key, device.secondary_key, ""}) == 3
    assert device.primary_key not in repr(device)
    assert device.secondary_key not in repr(device)


def test_creating_twice_is_a_conflict_in_the_hubs_words(hub: Hub, device_id: str) -> None:
    with pytest.raises(
        ConflictError, match=f"could not create the device {device_id}: 409 ErrorCode:DeviceAlreadyExists"
    ):
        hub.create_edge_device(device_id, "enabled", "other")
    assert hub.device(device_id).status_reason == "test"


def test_enabling_keeps_keys_reason_and_kind(hub: Hub, device_id: str) -> None:
    before = hub.device(device_id)
    enabled = hub.replace(before, status="enabled")
    after = hub.replace(hub.replace(enabled, status="disabled"), status="disabled")
    for device in (enabled, after):
        assert (device.primary_key, device.secondary_key) == (before.primary_key, before.secondary_key)
        assert (device.status_reason, device.iot_edge, device.scope) == ("test", True, before.scope)


def test_enabling_a_nested_device_leaves_it_below_its_parent(
    hub: Hub, sdk: IoTHubRegistryManager, device_id: str
) -> None:
    parent = hub.device(device_id)
    child = f"{device_id}-child"
    sdk.create_device_with_sas(child, None, None, "disabled", iot_edge=True, parent_scopes=parent.scope)
    try:
        changed = hub.replace(hub.device(child), status="enabled")
        assert changed.parent_scopes == (parent.scope,)
        assert sdk.get_device(child).parent_scopes == [parent.scope]
    finally:
        hub.delete_device(child)


def test_a_device_that_changed_meanwhile_is_not_overwritten(hub: Hub, device_id: str) -> None:
    stale = hub.device(device_id)
    hub.replace(stale, status="enabled")
    with pytest.raises(ServiceError, match="412") as caught:
        hub.replace(stale, status="disabled")
    assert "pulumi refresh" in caught.value.advice
    assert hub.device(device_id).status == "enabled"
    hub.replace(hub.device(device_id), status="disabled")


def test_deleting_twice_is_fine(hub: Hub) -> None:
    hub.create_edge_device("deleted-twice", "disabled", "test")
    hub.delete_device("deleted-twice")
    hub.delete_device("deleted-twice")
    with pytest.raises(NotFoundError, match="404 ErrorCode:DeviceNotFound"):
        hub.device("deleted-twice")


def test_tags_merge_and_none_removes(hub: Hub, device_id: str) -> None:
    assert hub.tags(device_id) == {}
    hub.merge_tags(device_id, {"site": "lab", "place": {"floor": 3, "room": "a"}})
    hub.merge_tags(device_id, {"site": None, "place": {"room": "b"}})
    assert hub.tags(device_id) == {"place": {"floor": 3, "room": "b"}}


def test_apply_replaces_what_the_device_is_to_run(hub: Hub, device_id: str) -> None:
    hub.apply(device_id, manifest.base_manifest())
    first, reported = hub.agent_twin(device_id)
    assert "lastDesiredVersion" not in reported
    hub.apply(device_id, manifest.base_manifest({"runtimeVersion": "1.5"}))
    second, _ = hub.agent_twin(device_id)
    assert second["$version"] > first["$version"]
    assert second["systemModules"]["edgeAgent"]["settings"]["image"].endswith(":1.5")
    routes, _ = hub.module_twin(device_id, "$edgeHub")
    assert routes["schemaVersion"] == "1.1"


def test_reported_properties_are_the_agents(hub: Hub, sdk: IoTHubRegistryManager, device_id: str) -> None:
    """The service side cannot write them: what is read here came from a device, or is empty."""
    sdk.update_module_twin(device_id, "$edgeAgent", Twin(properties=TwinProperties(desired={"a": 1})), "*")
    desired, reported = hub.agent_twin(device_id)
    assert desired["a"] == 1
    assert {key for key in reported if not key.startswith("$")} == set()


def test_a_disabled_device_is_not_online(hub: Hub, device_id: str) -> None:
    assert hub.is_online(device_id) is False


@pytest.mark.parametrize(
    "call",
    [
        lambda hub: hub.device("absent"),
        lambda hub: hub.tags("absent"),
        lambda hub: hub.merge_tags("absent", {"a": "b"}),
        lambda hub: hub.apply("absent", manifest.base_manifest()),
        lambda hub: hub.agent_twin("absent"),
        lambda hub: hub.is_online("absent"),
    ],
)
def test_an_absent_device_is_not_found_by_every_method(hub: Hub, call: Callable[[Hub], Any]) -> None:
    with pytest.raises(NotFoundError, match=r"absent.*: 404 ErrorCode:") as caught:
        call(hub)
    assert "pulumi refresh" in caught.value.advice


def test_what_the_hub_refuses_is_said_in_its_words(hub: Hub, device_id: str) -> None:
    with pytest.raises(ServiceError, match="400 ErrorCode:ArgumentInvalid"):
        hub.merge_tags(device_id, {"too": "x" * 5000})


class TestFaults:
    def test_throttled_posts_and_patches_are_repeated_as_the_hub_asks(
        self, front: tuple[Proxy, Hub], device_id: str
    ) -> None:
        made, hub = front
        made.faults += [
            Fault("POST", "applyConfigurationContent", 429, headers={"Retry-After": "2"}),
            Fault("PATCH", "/twins/", 429, headers={"Retry-After": "1"}),
        ]
        begun = time.monotonic()
        hub.apply(device_id, manifest.base_manifest())
        assert time.monotonic() - begun >= 2
        hub.merge_tags(device_id, {"a": "b"})
        assert hub.tags(device_id) == {"a": "b"}
        assert made.count("POST", "applyConfigurationContent") == 2
        assert made.count("PATCH", "/twins/") == 2

    @pytest.mark.parametrize("kind", [503, CLOSE, CLOSE_AFTER])
    def test_a_broken_apply_or_patch_is_repeated(self, front: tuple[Proxy, Hub], device_id: str, kind: int) -> None:
        made, hub = front
        made.faults += [Fault("POST", "applyConfigurationContent", kind), Fault("PATCH", "/twins/", kind)]
        hub.apply(device_id, manifest.base_manifest())
        hub.merge_tags(device_id, {"a": "b"})
        assert made.count("POST", "applyConfigurationContent") == 2
        assert hub.tags(device_id) == {"a": "b"}

    def test_a_creation_whose_answer_was_lost_is_a_conflict_for_the_caller_to_look_at(
        self, front: tuple[Proxy, Hub]
    ) -> None:
        made, hub = front
        made.faults.append(Fault("PUT", "/devices/lost", CLOSE_AFTER))
        try:
            with pytest.raises(ConflictError):
                hub.create_edge_device("lost", "disabled", "mine")
            assert hub.device("lost").status_reason == "mine"
        finally:
            hub.delete_device("lost")

    def test_retries_end_with_the_hubs_words(self, front: tuple[Proxy, Hub], device_id: str) -> None:
        made, hub = front
        body = b'{"Message": "ErrorCode:ThrottlingException;slow down"}'
        made.faults.append(Fault("POST", "applyConfigurationContent", 429, 99, headers={"Retry-After": "1"}, body=body))
        with pytest.raises(ServiceError, match="429 ErrorCode:ThrottlingException;slow down") as caught:
            hub.apply(device_id, manifest.base_manifest())
        assert made.count("POST", "applyConfigurationContent") == ATTEMPTS
        assert "wait a minute" in caught.value.advice

    def test_nobody_waits_an_hour_because_the_hub_asks_for_it(self, front: tuple[Proxy, Hub], device_id: str) -> None:
        made, hub = front
        made.faults.append(Fault("POST", "applyConfigurationContent", 429, 99, headers={"Retry-After": "3600"}))
        with pytest.raises(ServiceError, match="429"):
            hub.apply(device_id, manifest.base_manifest())
        assert made.count("POST", "applyConfigurationContent") == 1

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refusal_says_what_to_check(self, front: tuple[Proxy, Hub], device_id: str, status: int) -> None:
        made, hub = front
        made.faults.append(Fault("GET", "/devices/", status, 99, body=b'{"Message": "ErrorCode:no"}'))
        with pytest.raises(ServiceError, match=f"{status} ErrorCode:no") as caught:
            hub.device(device_id)
        assert not isinstance(caught.value, NotFoundError)
        assert "keys" in caught.value.advice

    def test_an_answer_that_is_not_the_hubs_is_an_error_of_ours(self, front: tuple[Proxy, Hub], device_id: str) -> None:
        made, hub = front
        made.faults.append(Fault("GET", "/twins/", 200, 99, {"Content-Type": "application/json"}, b"<html>"))
        with pytest.raises(ServiceError, match="could not read the twin of"):
            hub.tags(device_id)

    def test_a_hub_that_does_not_answer_is_an_error_and_not_an_absence(
        self, front: tuple[Proxy, Hub], azure: Cloud
    ) -> None:
        _, hub = front
        hub.registry.protocol.config.base_url = f"https://{azure.azure.instance.address}:9"
        with pytest.raises(ServiceError, match="refused") as caught:
            hub.device("edge-1")
        assert not isinstance(caught.value, NotFoundError)


def test_four_threads_make_their_clients_at_once(hub_id: str, device_id: str) -> None:
    """As Pulumi's provider does: everything that is cached is new to all of them."""
    forget()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Hub(hub_id).device(device_id).status, range(12)))
    assert found == ["disabled"] * 12
