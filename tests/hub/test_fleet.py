"""At-scale deployments on a live hub, through unmodified azure-iot-hub."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    ConfigurationQueriesTestInput,
    DeviceCapabilities,
    ExportImportDevice,
    QuerySpecification,
    Twin,
)
from msrest.exceptions import HttpOperationError

from localazure.hub.identities import Key
from localazure.hub.settings import HubSettings
from tests.hub.live import Live, live
from tests.hub.manifest import manifest
from tests.hub.test_service_sdk import refused
from tests.waiting import until

LAYER = {"$edgeAgent": {"properties.desired.modules.extra": {"settings": {"image": "x"}}}}


@pytest.fixture(autouse=True)
def _clean(azure: Live) -> None:
    """Every test begins without configurations and devices."""
    configurations, registry = azure.configurations(), azure.registry()
    for one in configurations.get_configurations():
        configurations.delete_configuration(one.id)
    names = [device.device_id for device in registry.get_devices()]
    for first in range(0, len(names), 100):
        gone = [ExportImportDevice(id=name, import_mode="delete") for name in names[first : first + 100]]
        assert registry.bulk_create_or_update_devices(gone).is_successful


def edge(azure: Live, device_id: str, **tags: Any) -> None:
    registry = azure.registry()
    registry.create_device_with_sas(device_id, "", "", "enabled", iot_edge=True)
    registry.update_twin(device_id, Twin(tags=tags))


def deploy(
    azure: Live, name: str, target: str, priority: int = 1, modules: Any = None, **metrics: str
) -> Configuration:
    configuration = Configuration(
        id=name,
        content=ConfigurationContent(modules_content=modules or manifest(name)),
        target_condition=target,
        priority=priority,
        metrics=ConfigurationMetrics(queries=metrics),
    )
    return azure.configurations().create_configuration(configuration)


def assigned(azure: Live, device_id: str) -> dict[str, str]:
    twin = azure.registry().get_module_twin(device_id, "$edgeAgent")
    return {name: one["status"] for name, one in twin.additional_properties.get("configurations", {}).items()}


def running(azure: Live, device_id: str) -> set[str]:
    return set(azure.registry().get_module_twin(device_id, "$edgeAgent").properties.desired.get("modules", {}))


def becomes(azure: Live, device_id: str, **statuses: str) -> None:
    until(lambda: assigned(azure, device_id) == statuses)


def system(azure: Live, name: str) -> list[int]:
    results = azure.configurations().get_configuration(name).system_metrics.results
    return [results[f"{kind}Count"] for kind in ("targeted", "applied", "reportedSuccessful", "reportedFailed")]


def report(azure: Live, device_id: str, version: int, code: int) -> None:
    hub = azure.service._get(azure.hub)
    patch = {"lastDesiredVersion": version, "lastDesiredStatus": {"code": code}}
    azure.call(lambda: hub.report(Key(device_id, "$edgeAgent"), patch))


def test_targets_follow_tags_and_identities(azure: Live) -> None:
    registry = azure.registry()
    edge(azure, "e1", env="prod")
    edge(azure, "e2", env="test")
    registry.create_device_with_sas("leaf", "", "", "enabled")
    registry.update_twin("leaf", Twin(tags={"env": "prod"}))
    deploy(azure, "base", "tags.env='prod'")
    becomes(azure, "e1", base="Applied")
    assert assigned(azure, "e2") == {}
    assert running(azure, "e1") == {"base"}
    assert {module.module_id for module in registry.get_modules("e1")} == {"$edgeAgent", "$edgeHub", "base"}
    assert system(azure, "base") == [1, 1, 0, 0]
    registry.update_twin("e2", Twin(tags={"env": "prod"}))
    becomes(azure, "e2", base="Applied")
    edge(azure, "e3", env="prod")
    becomes(azure, "e3", base="Applied")
    hub = azure.service._get(azure.hub)
    azure.call(lambda: hub.report(Key("e1"), {"site": "x"}))
    registry.update_twin("e1", Twin(tags={"env": None}))
    becomes(azure, "e1")
    assert running(azure, "e1") == {"base"}, "Azure: the modules are not removed"
    assert system(azure, "base") == [2, 2, 0, 0]
    registry.delete_device("e3")
    assert system(azure, "base") == [1, 1, 0, 0]
    deploy(azure, "by-report", "properties.reported.site = 'x'", 2)
    becomes(azure, "e1", **{"by-report": "Applied"})


def test_priority_rollback_and_layers(azure: Live) -> None:
    edge(azure, "e", ring=1)
    deploy(azure, "old", "tags.ring=1", 1)
    becomes(azure, "e", old="Applied")
    first = azure.registry().get_module("e", "old").authentication.symmetric_key.primary_key
    assert first
    deploy(azure, "new", "*", 2)
    becomes(azure, "e", old="Targeted", new="Applied")
    assert running(azure, "e") == {"new"}
    assert {module.module_id for module in azure.registry().get_modules("e")} == {"$edgeAgent", "$edgeHub", "new"}
    assert (system(azure, "old")[:2], system(azure, "new")[:2]) == ([1, 0], [1, 1])
    deploy(azure, "layer", "tags.ring=1", 2, LAYER)
    becomes(azure, "e", old="Targeted", new="Applied", layer="Targeted")
    layer = azure.configurations().get_configuration("layer")
    layer.priority = 3
    layer = azure.configurations().update_configuration(layer, f'"{layer.etag}"')
    becomes(azure, "e", old="Targeted", new="Applied", layer="Applied")
    assert running(azure, "e") == {"new", "extra"}
    azure.configurations().delete_configuration("new")
    becomes(azure, "e", old="Applied", layer="Applied")
    assert running(azure, "e") == {"old", "extra"}
    layer.target_condition = ""
    azure.configurations().update_configuration(layer, f'"{layer.etag}"')
    becomes(azure, "e", old="Applied")
    assert running(azure, "e") == {"old"}
    assert {module.module_id for module in azure.registry().get_modules("e")} == {"$edgeAgent", "$edgeHub", "old"}


def test_metrics_say_what_their_queries_find(azure: Live) -> None:
    registry = azure.registry()
    for number in range(4):
        edge(azure, f"e{number}", ring=number)
    metric = "SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent' AND properties.reported.lastDesiredStatus.code = 500"
    deploy(azure, "base", "tags.ring < 3", broken=metric, all="SELECT * FROM devices")
    for number in range(3):
        becomes(azure, f"e{number}", base="Applied")
    version = registry.get_module_twin("e0", "$edgeAgent").properties.desired["$version"]
    report(azure, "e0", version, 200)
    report(azure, "e1", version, 500)
    report(azure, "e2", version - 1, 200)
    assert system(azure, "base") == [3, 3, 1, 1]
    got = until(
        lambda: (one := azure.configurations().get_configuration("base")).metrics.results["broken"] == 1 and one
    )
    assert got.metrics.results == {"broken": 1, "all": 4}
    for name, query in got.system_metrics.queries.items():
        found = registry.query_iot_hub(QuerySpecification(query=query)).items
        assert len(found) == got.system_metrics.results[name], name
    [listed] = azure.configurations().get_configurations()
    assert listed.system_metrics.results == got.system_metrics.results


def test_what_cannot_be_applied_stays_targeted(azure: Live) -> None:
    edge(azure, "full")
    edge(azure, "free")
    for number in range(40):
        azure.registry().create_module_with_sas("full", f"own{number}", "me", "", "")
    deploy(azure, "base", "*", 1, manifest(*(f"m{number}" for number in range(20))))
    becomes(azure, "free", base="Applied")
    becomes(azure, "full", base="Targeted")
    assert azure.registry().get_module_twin("full", "$edgeAgent").properties.desired["$version"] == 1
    assert system(azure, "base")[:2] == [2, 1]


def test_per_device_content_is_refused_beside_a_deployment(azure: Live) -> None:
    edge(azure, "e")
    content = ConfigurationContent(modules_content=manifest("own"))
    apply = azure.configurations().apply_configuration_on_edge_device
    apply("e", content)
    deploy(azure, "base", "*")
    becomes(azure, "e", base="Applied")
    assert running(azure, "e") == {"base"}
    assert "base" in refused(400, "InvalidOperation", lambda: apply("e", content))
    azure.configurations().delete_configuration("base")
    becomes(azure, "e")
    apply("e", content)
    assert running(azure, "e") == {"own"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"target_condition": "tags.a IN ['x']"}, "InvalidConfigurationTargetCondition"),
        ({"target_condition": 'tags.a = "x"'}, "InvalidConfigurationTargetCondition"),
        ({"target_condition": "edgeDeviceVM"}, "InvalidConfigurationTargetCondition"),
        ({"metrics": ConfigurationMetrics(queries={"m": "SELECT"})}, "InvalidConfigurationCustomMetricsQuery"),
        (
            {"metrics": ConfigurationMetrics(queries={f"m{n}": "SELECT * FROM devices" for n in range(6)})},
            "InvalidConfigurationCustomMetricsQuery",
        ),
        ({"labels": {"a": "$x"}}, "ArgumentInvalid"),
        ({"labels": {"a" * 129: "x"}}, "ArgumentInvalid"),
        ({"id": "Upper"}, "ArgumentInvalid"),
        ({"priority": -1}, "ArgumentInvalid"),
        ({"content": ConfigurationContent(modules_content={})}, "InvalidConfigurationContent"),
        (
            {"content": ConfigurationContent(modules_content={"m": {"properties.desired": {}}})},
            "InvalidConfigurationContent",
        ),
        (
            {"content": ConfigurationContent(modules_content=manifest(), device_content={"properties.desired.x": {}})},
            "InvalidConfigurationContent",
        ),
        (
            {
                "content": ConfigurationContent(
                    modules_content={**manifest(), "m": {"properties.desired": {"v": "x" * 4097}}}
                )
            },
            "ArgumentInvalid",
        ),
    ],
)
def test_refused_configurations(azure: Live, changes: dict[str, Any], name: str) -> None:
    good: dict[str, Any] = {"id": "good", "content": ConfigurationContent(modules_content=manifest()), "priority": 1}
    refused(400, name, lambda: azure.configurations().create_configuration(Configuration(**{**good, **changes})))
    assert azure.configurations().get_configurations() == []


def test_queries_are_tested(azure: Live) -> None:
    def tested(target: str, **metrics: str) -> Any:
        wanted = ConfigurationQueriesTestInput(target_condition=target, custom_metric_queries=metrics)
        return azure.configurations().test_configuration_queries(wanted)

    good = tested("tags.a = 'x'", m="SELECT deviceId FROM devices")
    assert (good.target_condition_error, good.custom_metric_query_errors) == (None, {})
    bad = tested("tags.a IN ['x']", m="SELECT deviceId FROM devices", n="nonsense")
    assert "InvalidConfigurationTargetCondition" in bad.target_condition_error
    assert list(bad.custom_metric_query_errors) == ["n"]


def test_device_configurations_are_only_stored(azure: Live) -> None:
    edge(azure, "e")
    content = ConfigurationContent(device_content={"properties.desired.x": {"y": 1}})
    configurations = azure.configurations()
    made = configurations.create_configuration(
        Configuration(id="adm", content=content, target_condition="*", priority=1)
    )
    assert made.content.device_content == {"properties.desired.x": {"y": 1}}
    deploy(azure, "base", "*")
    becomes(azure, "e", base="Applied")
    assert configurations.get_configuration("adm").system_metrics.results == {}
    assert "x" not in azure.registry().get_twin("e").properties.desired


def test_left_over_work_is_done_after_a_restart(tmp_path: Path) -> None:
    """The hub ends before the delay is over."""
    slow = HubSettings(throttling=False, evaluation_delay=600)
    with live(tmp_path, settings=slow) as azure:
        edge(azure, "e")
        deploy(azure, "base", "*")
        time.sleep(0.2)
        assert assigned(azure, "e") == {}
    with live(tmp_path) as azure:
        becomes(azure, "e", base="Applied")
        version = azure.registry().get_module_twin("e", "$edgeAgent").properties.desired["$version"]
        assert system(azure, "base") == [1, 1, 0, 0]
    with live(tmp_path) as azure:  # nothing is done twice
        time.sleep(0.2)
        assert azure.registry().get_module_twin("e", "$edgeAgent").properties.desired["$version"] == version


def test_a_thousand_devices(azure: Live) -> None:
    """Bounded in time, and without keeping the event loop from others: measured as time on the processor, as the machine may be shared,
    and the pieces as shares of all of it, as the processor may be slow. One piece may hold a hiccup of the machine's, but not the work."""
    registry, count = azure.registry(), 1000
    pieces: list[float] = []

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            pieces.append(time.thread_time() - before)

    watching = azure.call(lambda: asyncio.ensure_future(watch()))
    for first in range(0, count, 100):
        devices = [
            ExportImportDevice(
                id=f"d{number:04}",
                import_mode="create",
                status="enabled",
                capabilities=DeviceCapabilities(iot_edge=True),
                tags={"ring": number % 10},
            )
            for number in range(first, first + 100)
        ]
        assert registry.bulk_create_or_update_devices(devices).is_successful
    deploy(azure, "base", "tags.ring < 9", ring="SELECT deviceId FROM devices WHERE tags.ring = 1")
    until(lambda: system(azure, "base")[:2] == [900, 900])
    deploy(azure, "layer", "tags.ring = 0", 2, LAYER)
    until(lambda: system(azure, "layer")[:2] == [100, 100])
    until(lambda: azure.configurations().get_configuration("base").metrics.results == {"ring": 100})
    azure.call(watching.cancel)
    pieces.sort()
    busy = sum(pieces)
    assert busy < 60, "seconds; two are usual"
    assert pieces[-1] < 0.25 * busy and pieces[-2] < 0.1 * busy, "the event loop was kept busy in one piece"
    assert pieces[int(len(pieces) * 0.99)] < 0.05 * busy
    names = set()
    token = None
    while True:
        page = registry.query_iot_hub(QuerySpecification(query="SELECT deviceId FROM devices"), token, "300")
        names |= {item.additional_properties.get("deviceId") or item.device_id for item in page.items}
        token = page.continuation_token
        assert len(page.items) == 100
        if not token:
            break
    assert names == {f"d{number:04}" for number in range(count)}


def test_limits_of_a_free_hub(tmp_path: Path) -> None:
    with live(tmp_path) as azure:
        azure.run(lambda: azure.service.create(azure.hub, "F1", 1))
        for number in range(10):
            deploy(azure, f"c{number}", "")
        message = refused(413, "ConfigurationCountLimitExceeded", lambda: deploy(azure, "c10", ""))
        assert "Number of deployments exceed the maximum quota 10" in message
        content = ConfigurationContent(device_content={"properties.desired.x": 1})
        azure.configurations().create_configuration(Configuration(id="adm", content=content))
        azure.configurations().delete_configuration("c0")
        deploy(azure, "c10", "")
        azure.run(lambda: azure.service.create(azure.hub, "S1", 1))
        deploy(azure, "c11", "")


def test_the_basic_tier_has_no_edge(tmp_path: Path) -> None:
    with live(tmp_path) as azure:
        azure.run(lambda: azure.service.create(azure.hub, "B1", 1))
    with live(tmp_path) as azure:  # the plan is kept
        registry, configurations = azure.registry(), azure.configurations()
        registry.create_device_with_sas("plain", "", "", "enabled")
        refusals = [
            lambda: registry.create_device_with_sas("e", "", "", "enabled", iot_edge=True),
            lambda: registry.create_module_with_sas("plain", "m", "me", "", ""),
            lambda: registry.get_twin("plain"),
            lambda: deploy(azure, "base", "*"),
            configurations.get_configurations,
            lambda: configurations.apply_configuration_on_edge_device("plain", ConfigurationContent()),
        ]
        for refusal in refusals:
            refused(403, "OperationNotAvailableInCurrentTier", refusal)
        with pytest.raises(HttpOperationError):
            registry.get_device("e")
