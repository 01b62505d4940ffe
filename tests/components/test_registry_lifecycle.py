from __future__ import annotations

import pytest

from components.registry import RegistryCredentialsProvider
from components.services import azure as arm
from components.services.errors import NotFoundError, ServiceError
from tests.components.life import Life
from tests.services.cloud import REGISTRY, Cloud


@pytest.fixture
def life() -> Life:
    return Life(RegistryCredentialsProvider())


def wanted(registry_id: str, enable: bool = False) -> dict[str, object]:
    return {"registryId": registry_id, "enableAdminUser": enable}


def test_looks_up_login_server_user_and_password(azure: Cloud, life: Life, registry_id: str) -> None:
    assert life.up(wanted(registry_id)) == "create"
    assert life.outs["loginServer"] == azure.properties(registry_id)["loginServer"]
    assert life.outs["username"] == "componentsregistry"
    assert life.outs["password"] == arm.post(registry_id, "listCredentials")["passwords"][0]["value"]
    assert life.id == f"{registry_id}/admin"
    assert life.up(wanted(registry_id)) == "same"


def test_a_regenerated_password_is_seen_at_read(azure: Cloud, life: Life) -> None:
    registry_id = azure.registry("rotated")
    life.up(wanted(registry_id))
    before = life.outs["password"]
    azure.request("POST", f"{registry_id}/regenerateCredential", {"name": "password"})
    assert life.refresh()
    assert life.outs["password"] not in (before, "")
    assert life.up(wanted(registry_id)) == "same", (
        "what is wanted did not change; what depends on it sees the new output"
    )


def test_another_registry_is_another_resource(azure: Cloud, life: Life, registry_id: str) -> None:
    life.up(wanted(registry_id))
    assert life.preview(wanted(azure.registry("another"))) == "replace"


def test_a_disabled_admin_user_is_an_error_with_the_way_out(azure: Cloud, life: Life) -> None:
    registry_id = azure.registry("disabledadmin")
    life.up(wanted(registry_id))
    arm.patch(registry_id, {"properties": {"adminUserEnabled": False}})
    with pytest.raises(ServiceError, match="admin user is disabled") as caught:
        life.refresh()
    assert not isinstance(caught.value, NotFoundError), "the registry is there"
    assert "--admin-enabled true" in str(caught.value)


def test_it_is_enabled_where_that_is_asked_for_and_only_there(azure: Cloud, life: Life) -> None:
    registry_id = azure.registry("tobeenabled", admin=False)
    with pytest.raises(ServiceError, match="disabled"):
        life.up(wanted(registry_id))
    assert azure.properties(registry_id)["adminUserEnabled"] is False
    assert life.up(wanted(registry_id, enable=True)) == "create"
    assert azure.properties(registry_id)["adminUserEnabled"] is True
    assert life.outs["password"]


def test_a_deleted_registry_is_gone_and_forgetting_it_needs_no_azure(azure: Cloud, life: Life) -> None:
    registry_id = azure.registry("deletedregistry")
    life.up(wanted(registry_id))
    kept = dict(life.outs)
    azure.delete(registry_id)
    assert life.refresh() is False
    life.id, life.outs = "again", kept
    life.destroy()


def test_creating_for_a_registry_that_is_not_there_is_an_error(azure: Cloud, life: Life) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        life.up(wanted(azure.id(REGISTRY, "nowhere")))


def test_destroy_leaves_the_registry_as_it_is(azure: Cloud, life: Life, registry_id: str) -> None:
    life.up(wanted(registry_id))
    life.destroy()
    assert azure.properties(registry_id)["adminUserEnabled"] is True
