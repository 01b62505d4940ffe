"""Unmodified azure-iot-hub against the live REST listener."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

from localazure.hub.policies import new_key
from localazure.identity import Tokens
from tests.hub.live import Live
from tests.hub.manifest import manifest


def refused(status: int, name: str, call: Any) -> str:
    with pytest.raises(HttpOperationError) as caught:
        call()
    response = caught.value.response
    message = response.json()["Message"]
    assert (response.status_code, response.headers["iothub-errorcode"]) == (status, name)
    assert message.startswith(f"ErrorCode:{name};")
    assert response.json()["ExceptionMessage"].startswith("Tracking ID:")
    return message


def test_device_life(azure: Live) -> None:
    registry = azure.registry()
    refused(404, "DeviceNotFound", lambda: registry.get_device("life"))
    first, second = new_key(), new_key()
    device = registry.create_device_with_sas("life", first, second, "enabled", iot_edge=True)
    assert device.capabilities.iot_edge
    assert device.authentication.symmetric_key.primary_key == first
    assert device.device_scope == f"ms-azure-iot-edge://life-{device.generation_id}"
    assert device.connection_state == "Disconnected"
    refused(409, "DeviceAlreadyExists", lambda: registry.create_device_with_sas("life", first, second, "enabled"))
    assert {module.module_id for module in registry.get_modules("life")} == {"$edgeAgent", "$edgeHub"}
    assert registry.get_module("life", "$edgeAgent").authentication.symmetric_key.primary_key
    other = new_key()
    updated = registry.update_device_with_sas("life", device.etag, other, second, "disabled", iot_edge=True)
    assert (updated.status, updated.etag != device.etag, updated.generation_id) == (
        "disabled",
        True,
        device.generation_id,
    )
    refused(
        412,
        "PreconditionFailed",
        lambda: registry.update_device_with_sas("life", device.etag, other, second, "enabled", iot_edge=True),
    )
    refused(412, "PreconditionFailed", lambda: registry.delete_device("life", device.etag))
    registry.update_device_with_sas("life", None, other, second, "enabled", iot_edge=True)
    registry.delete_device("life")
    for gone in (
        lambda: registry.get_device("life"),
        lambda: registry.get_twin("life"),
        lambda: registry.get_modules("life"),
        lambda: registry.get_module_twin("life", "$edgeAgent"),
        lambda: registry.delete_device("life"),
        lambda: registry.update_device_with_sas("life", None, other, second, "enabled"),
    ):
        refused(404, "DeviceNotFound", gone)
    mine = [(event[1], event[2]) for event in azure.edge_events if event[1] == "life"]
    assert mine == [("life", first), ("life", other), ("life", None)]


def test_keys_are_made_and_checked(azure: Live) -> None:
    registry = azure.registry()
    made = registry.create_device_with_sas("made", "", "", "enabled").authentication.symmetric_key
    assert len(base64.b64decode(made.primary_key)) == 32
    assert made.primary_key != made.secondary_key
    for primary, secondary in (("x", "y"), (new_key(), ""), ("AAAA", "AAAA")):
        refused(
            400,
            "ArgumentInvalid",
            lambda p=primary, s=secondary: registry.create_device_with_sas("bad", p, s, "enabled"),
        )
    refused(501, "NotImplemented", lambda: registry.create_device_with_x509("bad", "A" * 40, "B" * 40, "enabled"))
    for name in ("with blank", "a" * 129, "slash\\", "ü"):
        refused(400, "ArgumentInvalid", lambda n=name: registry.create_device_with_sas(n, "", "", "enabled"))
    odd = "a-b:c.d+e%_#*?!(),=@;$'"
    assert registry.create_device_with_sas(odd, "", "", "enabled").device_id == odd
    assert registry.get_twin(odd).device_id == odd


def test_modules(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("mods", "", "", "enabled")
    module = registry.create_module_with_sas("mods", "m1", "me", new_key(), new_key())
    assert (module.device_id, module.module_id, module.managed_by) == ("mods", "m1", "me")
    refused(409, "ModuleAlreadyExistsOnDevice", lambda: registry.create_module_with_sas("mods", "m1", "me", "", ""))
    refused(404, "ModuleNotFound", lambda: registry.get_module("mods", "m2"))
    refused(404, "ModuleNotFound", lambda: registry.get_module_twin("mods", "m2"))
    refused(404, "DeviceNotFound", lambda: registry.create_module_with_sas("none", "m1", "me", "", ""))
    refused(412, "PreconditionFailed", lambda: registry.delete_module("mods", "m1", "AAAA"))
    changed = registry.update_module_with_sas("mods", "m1", "you", module.etag, new_key(), new_key())
    assert changed.managed_by == "you"
    registry.delete_module("mods", "m1")
    assert registry.get_modules("mods") == []


def test_twin_semantics(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("twin", "", "", "enabled")
    fresh = registry.get_twin("twin")
    assert (fresh.etag, fresh.version) == ("AAAAAAAAAAE=", 2)
    assert fresh.properties.desired["$version"] == fresh.properties.reported["$version"] == 1
    patch = Twin(
        tags={"env": "test"}, properties=TwinProperties(desired={"a": {"b": 1, "c": 2.5}, "t": True, "n": 4294967295})
    )
    one = registry.update_twin("twin", patch)
    assert (one.tags, one.properties.desired["$version"]) == ({"env": "test"}, 2)
    two = registry.update_twin("twin", Twin(properties=TwinProperties(desired={"a": {"b": None, "d": "x"}, "t": None})))
    desired = two.properties.desired
    assert desired["a"] == {"c": 2.5, "d": "x"}
    assert "t" not in desired
    assert (desired["n"], desired["$version"], two.tags) == (4294967295, 3, {"env": "test"})
    metadata = desired["$metadata"]
    assert (
        metadata["$lastUpdatedVersion"]
        == metadata["a"]["$lastUpdatedVersion"]
        == metadata["a"]["d"]["$lastUpdatedVersion"]
        == 3
    )
    assert metadata["a"]["c"]["$lastUpdatedVersion"] == metadata["n"]["$lastUpdatedVersion"] == 2
    assert "t" not in metadata
    assert metadata["a"]["c"]["$lastUpdated"] < metadata["a"]["d"]["$lastUpdated"]
    refused(412, "PreconditionFailed", lambda: registry.update_twin("twin", Twin(tags={"x": 1}), one.etag))
    back = registry.update_twin(
        "twin", Twin(properties=TwinProperties(desired=desired)), two.etag
    )  # with its $metadata
    assert {k: v for k, v in back.properties.desired.items() if k[0] != "$"} == {
        "a": {"c": 2.5, "d": "x"},
        "n": 4294967295,
    }
    replaced = registry.replace_twin("twin", Twin(properties=TwinProperties(desired={"z": 1})))
    assert {k: v for k, v in replaced.properties.desired.items() if k[0] != "$"} == {"z": 1}
    assert (replaced.tags, replaced.properties.desired["$version"]) == ({}, 5)


def test_module_twins(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("twins", "", "", "enabled")
    registry.create_module_with_sas("twins", "m", "me", "", "")
    patched = registry.update_module_twin(
        "twins", "m", Twin(properties=TwinProperties(desired={"a": 1, "b": {"c": 2}}))
    )
    assert (patched.device_id, patched.module_id, patched.properties.desired["$version"]) == ("twins", "m", 2)
    again = registry.update_module_twin(
        "twins", "m", Twin(properties=TwinProperties(desired={"a": None})), patched.etag
    )
    assert "a" not in again.properties.desired
    refused(
        412,
        "PreconditionFailed",
        lambda: registry.replace_module_twin("twins", "m", Twin(tags={"x": 1}), patched.etag),
    )
    replaced = registry.replace_module_twin("twins", "m", Twin(properties=TwinProperties(desired={"z": 1})), again.etag)
    assert {key for key in replaced.properties.desired if key[0] != "$"} == {"z"}
    assert registry.get_twin("twins").properties.desired["$version"] == 1


@pytest.mark.parametrize(
    ("desired", "status", "name"),
    [
        ({"v": "x" * 4097}, 400, "ArgumentInvalid"),
        ({f"k{i}": "x" * 4000 for i in range(9)}, 403, "DeviceModelMaxPropertiesExceeded"),
        ({"a.b": 1}, 400, "ArgumentInvalid"),
        ({"a b": 1}, 400, "ArgumentInvalid"),
        ({"x" * 1025: 1}, 400, "ArgumentInvalid"),
        ({"l": [{"$bad": 1}]}, 400, "ArgumentInvalid"),
        ({"n": 4503599627370496}, 400, "ArgumentInvalid"),
    ],
)
def test_twin_limits(azure: Live, desired: dict[str, Any], status: int, name: str) -> None:
    registry = azure.registry()
    if not any(device.device_id == "limits" for device in registry.get_devices()):
        registry.create_device_with_sas("limits", "", "", "enabled")
    refused(status, name, lambda: registry.update_twin("limits", Twin(properties=TwinProperties(desired=desired))))
    assert registry.get_twin("limits").properties.desired["$version"] == 1


def test_twin_depth(azure: Live) -> None:
    registry = azure.registry()
    registry.create_device_with_sas("deep", "", "", "enabled")

    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels else {"leaf": 1}

    registry.update_twin("deep", Twin(properties=TwinProperties(desired=nested(10))))
    refused(
        400,
        "ArgumentInvalid",
        lambda: registry.update_twin("deep", Twin(properties=TwinProperties(desired=nested(11)))),
    )


def test_apply(azure: Live) -> None:
    registry, configurations = azure.registry(), azure.configurations()
    registry.create_device_with_sas("edge", "", "", "enabled", iot_edge=True)
    registry.create_module_with_sas("edge", "mine", "somebody", "", "")

    def apply(*names: str, **extra: Any) -> None:
        content = ConfigurationContent(modules_content={**manifest(*names), **extra})
        assert configurations.apply_configuration_on_edge_device("edge", content) is None

    apply("one", twin={"properties.desired": {"speed": 1}})
    modules = {module.module_id: module for module in registry.get_modules("edge")}
    assert set(modules) == {"$edgeAgent", "$edgeHub", "mine", "one", "twin"}
    assert modules["one"].managed_by == "iotEdge"
    agent = registry.get_module_twin("edge", "$edgeAgent").properties.desired
    assert {k: v for k, v in agent.items() if k[0] != "$"} == manifest("one")["$edgeAgent"]["properties.desired"]
    assert agent["$version"] == 2
    assert registry.get_module_twin("edge", "twin").properties.desired["speed"] == 1
    key = modules["one"].authentication.symmetric_key.primary_key
    apply("two", "one")
    after = {module.module_id: module for module in registry.get_modules("edge")}
    assert set(after) == {"$edgeAgent", "$edgeHub", "mine", "one", "two"}
    assert after["one"].authentication.symmetric_key.primary_key == key
    assert set(registry.get_module_twin("edge", "$edgeAgent").properties.desired["modules"]) == {"one", "two"}
    assert registry.get_module_twin("edge", "$edgeAgent").properties.desired["$version"] == 3
    refused(400, "ArgumentInvalid", lambda: registry.delete_module("edge", "$edgeAgent"))


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"$edgeAgent": {"properties.desired": {}}},
        {**manifest(), "$edgeHub": {"desired": {}}},
        {**manifest(), "$edgeHub": {"properties.desired": {}, "properties.desired.routes.x": "y"}},
        {**manifest(), "no/name": {"properties.desired": {}}},
        {**manifest(), "$edgeAgent": {"properties.desired": {"modules": {"bad name": {}}}}},
    ],
)
def test_apply_refuses_and_changes_nothing(azure: Live, broken: dict[str, Any]) -> None:
    registry, configurations = azure.registry(), azure.configurations()
    if not any(device.device_id == "strict" for device in registry.get_devices()):
        registry.create_device_with_sas("strict", "", "", "enabled", iot_edge=True)
    content = ConfigurationContent(modules_content=broken)
    apply = configurations.apply_configuration_on_edge_device
    assert "content provided for configuration is invalid" in refused(
        400, "InvalidConfigurationContent", lambda: apply("strict", content)
    )
    assert registry.get_module_twin("strict", "$edgeAgent").properties.desired["$version"] == 1


def test_apply_is_all_or_nothing(azure: Live) -> None:
    registry, configurations = azure.registry(), azure.configurations()
    registry.create_device_with_sas("atomic", "", "", "enabled", iot_edge=True)
    registry.create_device_with_sas("leafy", "", "", "enabled")
    content = {**manifest("one"), "zz": {"properties.desired": {"v": "x" * 5000}}}
    apply = configurations.apply_configuration_on_edge_device
    refused(400, "ArgumentInvalid", lambda: apply("atomic", ConfigurationContent(modules_content=content)))
    assert registry.get_module_twin("atomic", "$edgeAgent").properties.desired["$version"] == 1
    assert {module.module_id for module in registry.get_modules("atomic")} == {"$edgeAgent", "$edgeHub"}
    good = ConfigurationContent(modules_content=manifest())
    refused(400, "InvalidConfigurationContent", lambda: apply("leafy", good))
    refused(404, "DeviceNotFound", lambda: apply("none", good))


def test_configurations(azure: Live) -> None:
    configurations = azure.configurations()
    content = ConfigurationContent(modules_content=manifest("one"))
    wanted = Configuration(
        id="dep1",
        content=content,
        labels={"v": "1"},
        target_condition="tags.env='test'",
        priority=5,
        metrics=ConfigurationMetrics(queries={"m": "select deviceId from devices"}),
    )
    made = configurations.create_configuration(wanted)
    assert (made.priority, made.metrics.queries) == (5, {"m": "select deviceId from devices"})
    assert "targetedCount" in made.system_metrics.queries
    refused(409, "ConfigurationAlreadyExists", lambda: configurations.create_configuration(wanted))
    made.priority = 7
    refused(
        409, "ConfigurationAlreadyExists", lambda: configurations.update_configuration(made, made.etag)
    )  # the known SDK bug
    changed = configurations.update_configuration(made, f'"{made.etag}"')
    assert (changed.priority, changed.created_time_utc) == (7, made.created_time_utc)
    refused(412, "PreconditionFailed", lambda: configurations.update_configuration(made, f'"{made.etag}"'))
    changed.content = ConfigurationContent(modules_content=manifest("two"))
    refused(
        400,
        "CannotModifyImmutableConfigurationContent",
        lambda: configurations.update_configuration(changed, f'"{changed.etag}"'),
    )
    assert [one.id for one in configurations.get_configurations(10)] == ["dep1"]
    refused(412, "PreconditionFailed", lambda: configurations.delete_configuration("dep1", '"AAAA"'))
    configurations.delete_configuration("dep1")
    refused(404, "ConfigurationNotFound", lambda: configurations.delete_configuration("dep1"))


def test_statistics(azure: Live) -> None:
    registry = azure.registry()
    before = registry.get_device_registry_statistics()
    registry.create_device_with_sas("count", "", "", "disabled")
    after = registry.get_device_registry_statistics()
    assert after.total_device_count - before.total_device_count == 1
    assert after.disabled_device_count - before.disabled_device_count == 1
    assert registry.get_service_statistics().connected_device_count == 0


def test_token_credentials(azure: Live) -> None:
    tokens = Tokens(azure.instance)

    class Credential:
        def __init__(self, token: str) -> None:
            self.token = token

        def get_token(self, *_: Any, **__: Any) -> AccessToken:
            return AccessToken(self.token, int(time.time()) + 600)

    def with_token(token: str) -> Any:
        return azure.trusting(IoTHubRegistryManager.from_token_credential(azure.host, Credential(token)))

    assert isinstance(with_token(tokens.issue("https://iothubs.azure.net")).get_devices(), list)
    for token in (
        tokens.issue("https://management.azure.com/"),
        tokens.issue("https://iothubs.azure.net", lifetime=-60),
        "x",
    ):
        refused(401, "IotHubUnauthorizedAccess", with_token(token).get_devices)


def test_regenerated_keys_count_at_once(azure: Live) -> None:
    old = azure.registry("registryRead")
    old.get_devices()
    azure.call(lambda: azure.service.regenerate(azure.hub, "registryRead", "primary"))
    refused(401, "IotHubUnauthorizedAccess", old.get_devices)
    azure.registry("registryRead").get_devices()
