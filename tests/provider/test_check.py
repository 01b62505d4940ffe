"""Check: names, locations, and the texts of what is refused, as the real provider words them."""

from __future__ import annotations

import re
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pulumi.runtime.proto import provider_pb2

from localazure.provider.values import UNKNOWN
from tests.provider.arm_double import ArmDouble, Scripted
from tests.provider.conftest import Plugin

ACCOUNT = "azure-native:storage:StorageAccount"
GROUP = "azure-native:resources:ResourceGroup"
REGISTRY = "azure-native:containerregistry:Registry"
TOKEN = "azure-native:containerregistry:Token"
VAULT = "azure-native:keyvault:Vault"
HUB = "azure-native:iothub:IotHubResource"
ROLE = "azure-native:authorization:RoleAssignment"
LOGS = "azure-native:operationalinsights:Workspace"
WORKSPACE = "azure-native:machinelearningservices:Workspace"

Autonaming = provider_pb2.CheckRequest.AutonamingOptions
SKU = {"sku": {"name": "Basic"}}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def _registry(**more: Any) -> dict[str, Any]:
    return {"resourceGroupName": "rg", "location": "westeurope", **SKU, **more}


def test_defaults_of_a_registry(plugin: Plugin) -> None:
    checked, failures = plugin.check(REGISTRY, {"resourceGroupName": "rg", **SKU}, name="MyRegistry")
    assert failures == []
    assert re.fullmatch("MyRegistry[0-9a-f]{8}", checked.pop("registryName"))
    assert checked == {
        "resourceGroupName": "rg",
        "sku": {"name": "Basic"},
        "location": "westeurope",  # azure-native:location
        "azureApiVersion": "2023-01-01-preview",
        "__createBeforeDelete": True,
    }


def test_a_name_that_is_given_stays_and_needs_deletion_first(plugin: Plugin) -> None:
    checked, _ = plugin.check(REGISTRY, _registry(registryName="mine1"))
    assert checked["registryName"] == "mine1"
    assert "__createBeforeDelete" not in checked


def test_random_names_follow_the_seed(plugin: Plugin) -> None:
    def name(seed: bytes) -> str:
        return plugin.check(REGISTRY, _registry(), randomSeed=seed)[0]["registryName"]

    assert name(b"one") == name(b"one") != name(b"two")
    assert name(b"") != name(b"")


@pytest.mark.parametrize("flag", [True, False])
def test_an_old_name_is_kept_with_its_flag(plugin: Plugin, flag: bool) -> None:
    olds = {"registryName": "thing0123abcd", "__createBeforeDelete": flag}
    checked, _ = plugin.check(REGISTRY, _registry(), olds)
    assert checked["registryName"] == "thing0123abcd"
    assert checked.get("__createBeforeDelete", False) is flag


def test_children_take_the_logical_name_and_assignments_a_uuid(plugin: Plugin) -> None:
    checked, failures = plugin.check(TOKEN, {"resourceGroupName": "rg", "registryName": "registry1"}, name="device")
    assert checked["tokenName"] == "device"
    assert "__createBeforeDelete" not in checked
    assert "location" not in checked  # a type without one
    assert failures == []
    checked, failures = plugin.check(ROLE, {"scope": "/s", "principalId": "p", "roleDefinitionId": "r"})
    assert re.fullmatch(UUID, checked["roleAssignmentName"])
    assert checked["__createBeforeDelete"] is True
    assert failures == []


@pytest.mark.parametrize(
    ("token", "mode", "expected"),
    [
        (REGISTRY, Autonaming.ENFORCE, "proposed"),
        (REGISTRY, Autonaming.PROPOSE, "proposed"),
        (TOKEN, Autonaming.PROPOSE, "proposed"),
        (ROLE, Autonaming.ENFORCE, "proposed"),
        (ROLE, Autonaming.PROPOSE, None),
    ],
)
def test_the_engines_naming(plugin: Plugin, token: str, mode: Any, expected: str | None) -> None:
    inputs = {"resourceGroupName": "rg", "registryName": "registry1"} if token == TOKEN else _registry()
    options = Autonaming(proposed_name="proposed", mode=mode)
    checked, _ = plugin.check(token, inputs, autonaming=options)
    name = checked[{REGISTRY: "registryName", TOKEN: "tokenName", ROLE: "roleAssignmentName"}[token]]
    assert re.fullmatch(expected or UUID, name)
    assert checked["__createBeforeDelete"] is True


def test_naming_can_be_forbidden(plugin: Plugin) -> None:
    _, failures = plugin.check(REGISTRY, _registry(), autonaming=Autonaming(mode=Autonaming.DISABLE))
    assert failures == ["missing required property 'registryName'"]


def test_location_comes_from_the_state_first(plugin: Plugin) -> None:
    checked, _ = plugin.check(REGISTRY, {"resourceGroupName": "rg", **SKU}, {"location": "northeurope"})
    assert checked["location"] == "northeurope"


class TestWithoutConfiguredLocation:
    @pytest.fixture
    def plugin(self, unconfigured: Plugin, arm: ArmDouble) -> Plugin:
        unconfigured.configure()
        return unconfigured

    def test_it_is_the_groups(self, plugin: Plugin, arm: ArmDouble) -> None:
        group = f"/subscriptions/{plugin.subscription}/resourceGroups/rg"
        arm.script("GET", group, Scripted(200, {"location": "eastus"}))
        for _ in range(2):
            checked, failures = plugin.check(REGISTRY, {"resourceGroupName": "rg", **SKU})
            assert checked["location"] == "eastus"
            assert failures == []
        assert [(one.path, one.query) for one in arm.requests] == [(group, {"api-version": "2020-10-01"})]

    def test_an_unknown_group_has_an_unknown_one(self, plugin: Plugin, arm: ArmDouble) -> None:
        checked, failures = plugin.check(REGISTRY, {"resourceGroupName": UNKNOWN, **SKU})
        assert checked["location"] is UNKNOWN
        assert failures == []
        assert arm.requests == []

    def test_a_group_that_is_not_there_gives_none(self, plugin: Plugin) -> None:
        _, failures = plugin.check(REGISTRY, {"resourceGroupName": "rg", **SKU})
        assert len(failures) == 1

    def test_none_at_all_is_refused(self, plugin: Plugin) -> None:
        _, failures = plugin.check(GROUP, {})
        assert failures == [
            "missing required property 'location'. Either set it explicitly or configure it with "
            "'pulumi config set azure-native:location <value>'."
        ]

    def test_a_workspace_is_left_to_arm(self, plugin: Plugin) -> None:
        """Its swagger does not require a location."""
        assert plugin.check(WORKSPACE, {"resourceGroupName": "rg"})[1] == []


@pytest.mark.parametrize(
    ("token", "inputs", "failures"),
    [
        (ACCOUNT, {"resourceGroupName": "rg"}, ["missing required property 'kind'", "missing required property 'sku'"]),
        (REGISTRY, SKU, ["missing required property 'resourceGroupName'"]),
        (REGISTRY, {"resourceGroupName": "rg", "sku": {}}, ["missing required property 'sku.name'"]),
        (
            VAULT,
            {"resourceGroupName": "rg", "vaultName": "vault1", "properties": {"sku": {"family": "A"}}},
            ["missing required property 'properties.tenantId'", "missing required property 'properties.sku.name'"],
        ),
        (
            ACCOUNT,
            {"resourceGroupName": "rg", "kind": "StorageV2", **SKU, "accountName": "machinetemperature0123abcdefg"},
            ["'accountName' is too long (29): at most 24 characters allowed"],
        ),
        (
            REGISTRY,
            _registry(registryName="a-b"),
            [
                "'registryName' is too short (3): at least 5 characters required",
                "'registryName' does not match expression '^[a-zA-Z0-9]*$'",
            ],
        ),
        (
            VAULT,
            {
                "resourceGroupName": "rg",
                "vaultName": "x",
                "properties": {"sku": {"family": "A", "name": "standard"}, "tenantId": "t"},
            },
            ["'vaultName' does not match expression '^[a-zA-Z0-9-]{3,24}$'"],
        ),
        (
            REGISTRY,
            _registry(adminUserEnabled="yes"),
            ["'adminUserEnabled' should be of type 'boolean' but got a string"],
        ),
        (REGISTRY, _registry(adminUserEnabled=1), ["'adminUserEnabled' should be of type 'boolean' but got a number"]),
        (REGISTRY, _registry(location=["a"]), ["'location' should be of type 'string' but got an array"]),
        (
            LOGS,
            {"resourceGroupName": "rg", "retentionInDays": 1.5},
            ["'retentionInDays' must be an integer but got 1.500000"],
        ),
        (
            HUB,
            {
                "resourceGroupName": "rg",
                "sku": {"name": "S1", "capacity": 1},
                "properties": {"routing": {"routes": [{"name": "r", "source": "DeviceMessages", "isEnabled": True}]}},
            },
            ["missing required property 'properties.routing.routes[0].endpointNames'"],
        ),
    ],
)
def test_what_is_refused(plugin: Plugin, token: str, inputs: dict[str, Any], failures: list[str]) -> None:
    found = plugin.check(token, inputs)[1]
    assert sorted(found) == sorted(failures)


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        (REGISTRY, _registry(sku={"name": "Gigantic"})),  # enumerations are ARM's to check
        (REGISTRY, _registry(unheardOf=1)),
        (REGISTRY, _registry(sku=UNKNOWN, registryName=UNKNOWN, adminUserEnabled=UNKNOWN)),
        (REGISTRY, _registry(sku={"name": UNKNOWN})),
        (ACCOUNT, {"resourceGroupName": "rg", "kind": "StorageV2", **SKU, "accountName": "UPPER"}),  # ARM refuses it
        (
            WORKSPACE,
            {"resourceGroupName": "rg", "identity": {"type": "UserAssigned", "userAssignedIdentities": ["/a"]}},
        ),
    ],
)
def test_what_is_left_to_arm(plugin: Plugin, token: str, inputs: dict[str, Any]) -> None:
    assert plugin.check(token, inputs)[1] == []


def test_checked_inputs_keep_unknowns_and_drop_nulls(plugin: Plugin) -> None:
    checked, _ = plugin.check(REGISTRY, _registry(registryName="mine1", tags={"a": UNKNOWN, "b": None}))
    assert checked["tags"] == {"a": UNKNOWN}


def test_an_unknown_type_is_named(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        plugin.check("azure-native:web:WebApp", {})
    assert "Resource type azure-native:web:WebApp not found" in caught.value.details()
    assert "local azure-native plugin does not know it" in caught.value.details()
