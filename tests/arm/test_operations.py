"""Long-running operations: what each type answers first, how it is polled, what survives a restart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.arm.bodies import (
    COMPONENT,
    HUB,
    LOGS,
    REGISTRY,
    STORAGE,
    VAULT,
    WORKSPACE,
    Body,
    component,
    hub,
    logs,
    make_dependencies,
    registry,
    storage,
    vault,
    workspace,
)
from tests.arm.cloud import LOCATION, Cloud
from tests.waiting import until

GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def at(body: Body) -> Body:
    return {"location": LOCATION} | body


@pytest.fixture
def slow(tmp_path: Path) -> Cloud:
    """A cloud whose operations take until it is restarted with another delay. The test starts and stops it."""
    return Cloud(tmp_path / "azure", delay=3600)


def test_registry_create_is_201_with_a_monitor(cloud: Cloud) -> None:
    target = cloud.id(REGISTRY, "acr12345")
    with cloud.held():
        first = cloud.put(target, at(registry(admin=True)))
        assert first.status_code == 201
        assert first.json()["properties"]["provisioningState"] == "Creating"
        assert "location" not in first.headers
        monitor = first.headers["azure-asyncoperation"]
        assert re.fullmatch(
            re.escape(f"{cloud.instance.arm_url}{target}")
            + rf"/operationStatuses/registries-{GUID}\?api-version=2023-01-01-preview",
            monitor,
        )
        assert first.headers["retry-after"] == "1"
        assert cloud.get(monitor).json()["status"] == "Creating"
    assert cloud.finish(first).json()["status"] == "Succeeded"
    assert cloud.get(target).json()["properties"]["loginServer"].startswith("127.0.0.1:")
    assert cloud.registries.made["acr12345"]["admin"] is True


def test_registry_update_is_200_at_once_and_reaches_the_registry(cloud: Cloud) -> None:
    target = cloud.make(REGISTRY, "acr12345", registry())["id"]
    answer = cloud.patch(target, {"properties": {"adminUserEnabled": True}})
    assert (answer.status_code, answer.json()["properties"]["provisioningState"]) == (200, "Succeeded")
    assert cloud.registries.made["acr12345"]["admin"] is True
    # PUT replaces: what is left out goes back to its default.
    assert cloud.put(target, at({"sku": {"name": "Basic"}})).json()["properties"]["adminUserEnabled"] is False
    assert cloud.registries.made["acr12345"]["admin"] is False


def test_registry_delete_is_202_with_body_and_location(cloud: Cloud) -> None:
    target = cloud.make(REGISTRY, "acr12345", registry())["id"]
    with cloud.held():
        first = cloud.delete(target)
        assert (first.status_code, first.json()["properties"]["provisioningState"]) == (202, "Deleting")
        assert (
            "/providers/Microsoft.ContainerRegistry/locations/westeurope/operationResults/registries-"
            in first.headers["location"]
        )
        polled = cloud.get(first.headers["location"])
        assert (polled.status_code, polled.content) == (202, b"")
        assert "location" in polled.headers
        again = cloud.delete(target)  # asked twice: the same operation
        assert again.headers["location"] == first.headers["location"]
    done = cloud.finish(first)
    assert (done.status_code, done.content) == (200, b"")
    assert cloud.get(target).status_code == 404
    assert "acr12345" not in cloud.registries.made


def test_storage_create_is_202_without_body_and_the_location_ends_with_the_account(cloud: Cloud) -> None:
    target = cloud.id(STORAGE, "account1")
    with cloud.held():
        first = cloud.put(target, at(storage()))
        assert (first.status_code, first.content) == (202, b"")
        assert re.search(
            rf"/locations/westeurope/asyncoperations/{GUID}\?monitor=true&api-version=2024-01-01$",
            first.headers["location"],
        )
        assert cloud.get(target).json()["properties"]["provisioningState"] == "Creating"
    done = cloud.finish(first)
    assert (done.status_code, done.json()) == (200, cloud.get(target).json())
    assert cloud.put(target, at(storage())).status_code == 200
    assert cloud.delete(target).status_code == 200
    assert cloud.delete(target).status_code == 204


def test_vault_and_logs_are_watched_by_their_state(cloud: Cloud) -> None:
    for kind, name, body, status, state in (
        (VAULT, "vault-1", vault(cloud), 200, "RegisteringDns"),
        (LOGS, "logs1", logs(), 201, "Creating"),
    ):
        with cloud.held():
            first = cloud.put(cloud.id(kind, name), at(body))
            assert (first.status_code, first.json()["properties"]["provisioningState"]) == (status, state)
            assert not {"azure-asyncoperation", "location"} & set(first.headers)
            # Clients without a hint wait 10 or 30 seconds between two looks.
            assert first.headers["retry-after"] == "1"
            assert cloud.get(cloud.id(kind, name)).headers["retry-after"] == "1"
        cloud.settled(cloud.id(kind, name))
        assert "retry-after" not in cloud.get(cloud.id(kind, name)).headers


def test_component_is_synchronous_and_always_200(cloud: Cloud) -> None:
    target = cloud.id(COMPONENT, "insights")
    for _ in range(2):
        answer = cloud.put(target, at(component()))
        assert (answer.status_code, answer.json()["properties"]["provisioningState"]) == (200, "Succeeded")
    assert cloud.delete(target).status_code == 200


def test_hub_has_no_host_name_until_it_is_active(cloud: Cloud) -> None:
    target = cloud.id(HUB, "hub-1")
    with cloud.held():
        first = cloud.put(target, at(hub()))
        held = first.json()["properties"]
        assert (first.status_code, held["state"], held["provisioningState"]) == (201, "Activating", "Accepted")
        assert "hostName" not in held
        assert "/providers/Microsoft.Devices/operationResults/" in first.headers["azure-asyncoperation"]
        assert "operationSource=os_ih&asyncinfo" in first.headers["azure-asyncoperation"]
        assert cloud.get(first.headers["azure-asyncoperation"]).json()["status"] == "Running"
    cloud.finish(first)
    held = cloud.get(target).json()["properties"]
    assert (held["state"], held["hostName"]) == ("Active", "127.0.0.1:20500")

    update = cloud.patch(target, {"tags": {"a": "b"}, "properties": {"features": "DeviceManagement"}})
    assert update.status_code == 200
    cloud.finish(update)
    after = cloud.get(target).json()
    assert (after["tags"], after["properties"]["features"]) == ({"a": "b"}, "None")  # PATCH knows tags only

    gone = cloud.delete(target)
    assert (gone.status_code, gone.json()["properties"]["state"]) == (202, "Deleting")
    assert {"azure-asyncoperation", "location"} <= set(gone.headers)
    assert cloud.finish(gone).json()["status"] == "Succeeded"
    assert cloud.get(target).status_code == 404
    assert cloud.hubs.made == set()


def test_workspace_answers_202_with_both_headers(cloud: Cloud) -> None:
    make_dependencies(cloud)
    target = cloud.id(WORKSPACE, "workspace")
    with cloud.held():
        first = cloud.put(target, at(workspace(cloud)))
        assert (first.status_code, first.content) == (202, b"")
        assert "/workspaceOperationsStatus/" in first.headers["azure-asyncoperation"]
        assert "type=async" in first.headers["azure-asyncoperation"]
        assert cloud.get(first.headers["location"]).status_code == 202
    assert cloud.finish(first).json()["status"] == "Succeeded"
    located = cloud.get(first.headers["location"])
    assert (located.status_code, located.json()) == (200, cloud.get(target).json())
    assert cloud.patch(target, {"tags": {"a": "b"}}).status_code == 202


def test_group_delete_takes_everything_with_it(cloud: Cloud) -> None:
    make_dependencies(cloud)
    cloud.make(REGISTRY, "acr12345", registry())
    cloud.make(HUB, "hub-1", hub())
    with cloud.held():
        cloud.put(cloud.id(LOGS, "logs1"), at(logs()))  # still at work when its group goes
        first = cloud.delete(cloud.group_id())
        assert (first.status_code, first.content) == (202, b"")
        assert f"{cloud.subscription}/operationresults/" in first.headers["location"]
        assert cloud.get(cloud.group_id()).json()["properties"]["provisioningState"] == "Deleting"
        refused = cloud.put(cloud.id(STORAGE, "late"), at(storage()))
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ResourceGroupBeingDeleted")
    done = cloud.finish(first)
    assert (done.status_code, done.content) == (200, b"")
    assert cloud.get(f"{cloud.subscription}/resources").json()["value"] == []
    assert (cloud.registries.made, cloud.hubs.made) == ({}, set())
    assert cloud.get(cloud.group_id()).json()["error"]["code"] == "ResourceGroupNotFound"


def test_group_delete_gives_up_when_a_member_refuses_and_rolls_back(cloud: Cloud) -> None:
    cloud.make(REGISTRY, "acr12345", registry())
    cloud.make(STORAGE, "account1", storage())
    cloud.registries.broken.add("delete")
    done = cloud.finish(cloud.delete(cloud.group_id()))
    assert (done.status_code, done.json()["error"]["code"]) == (409, "ResourceGroupDeletionBlocked")
    assert "acr12345" in done.json()["error"]["message"]
    assert cloud.get(cloud.group_id()).json()["properties"]["provisioningState"] == "Succeeded"
    left = cloud.get(f"{cloud.group_id()}/resources").json()["value"]
    assert [one["name"] for one in left] == ["acr12345"]
    cloud.registries.broken.clear()
    assert cloud.finish(cloud.delete(cloud.group_id())).status_code == 200


def test_a_failing_backend_makes_a_failed_operation_and_the_next_put_mends_it(cloud: Cloud) -> None:
    cloud.registries.broken.add("create")
    target = cloud.id(REGISTRY, "acr12345")
    done = cloud.finish(cloud.put(target, at(registry()))).json()
    assert (done["status"], done["error"]["code"]) == ("Failed", "InternalServerError")
    assert "create: no free port" in done["error"]["message"]
    assert target in done["error"]["message"]
    assert cloud.get(target).json()["properties"]["provisioningState"] == "Failed"
    cloud.registries.broken.clear()
    assert cloud.put(target, at(registry())).json()["properties"]["provisioningState"] == "Succeeded"
    assert "loginServer" in cloud.get(target).json()["properties"]


def test_one_operation_at_a_time(cloud: Cloud) -> None:
    target = cloud.id(REGISTRY, "acr12345")
    with cloud.held():
        first = cloud.put(target, at(registry()))
        for answer in (cloud.put(target, at(registry())), cloud.patch(target, {"tags": {}}), cloud.delete(target)):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "AnotherOperationInProgress")
        assert cloud.post(f"{target}/listCredentials").status_code == 409
    cloud.finish(first)
    assert cloud.patch(target, {"tags": {}}).status_code == 200


def test_operations_outlive_the_daemon(slow: Cloud) -> None:
    slow.start()
    slow.make_group()
    target = slow.id(REGISTRY, "acr12345")
    first = slow.put(target, at(registry()))
    deleting = slow.put(slow.group_id("doomed"), {"location": LOCATION})
    deleting = slow.delete(slow.group_id("doomed"))
    assert slow.get(first.headers["azure-asyncoperation"]).json()["status"] == "Creating"
    slow.stop()
    slow.delay = 0.05
    slow.start()
    try:
        assert slow.finish(first).json()["status"] == "Succeeded"
        assert slow.get(target).json()["properties"]["provisioningState"] == "Succeeded"
        assert slow.finish(deleting).status_code == 200
        assert slow.get(slow.group_id("doomed")).status_code == 404
        assert slow.get(slow.group_id()).status_code == 200
    finally:
        slow.stop()


def test_unknown_operations_are_404_or_501_but_never_done(cloud: Cloud) -> None:
    for path in (
        f"{cloud.subscription}/operationresults/00000000-0000-0000-0000-000000000000",
        f"{cloud.subscription}/providers/Microsoft.Storage/locations/westeurope/asyncoperations/none?monitor=true&api-version=2024-01-01",
    ):
        assert cloud.get(path).status_code in (404, 501)


def test_polling_takes_no_longer_than_the_work(cloud: Cloud) -> None:
    first = cloud.put(cloud.id(STORAGE, "account1"), at(storage()))
    until(lambda: not cloud.inside(lambda: dict(cloud.service._operations._tasks)))
    assert cloud.get(first.headers["location"]).status_code == 200, "the first look after the work"
