"""What Azure keeps after a DELETE: vaults, Log Analytics workspaces, ML workspaces."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx

from tests.arm.bodies import (
    IDENTITY,
    LOGS,
    STORAGE,
    VAULT,
    WORKSPACE,
    logs,
    make_dependencies,
    storage,
    vault,
    workspace,
)
from tests.arm.cloud import LOCATION, Cloud


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def deleted_vault(cloud: Cloud, name: str) -> httpx.Response:
    return cloud.get(f"{cloud.subscription}/providers/Microsoft.KeyVault/locations/{LOCATION}/deletedVaults/{name}")


def test_a_deleted_vault_blocks_its_name_until_it_is_purged(cloud: Cloud) -> None:
    made = cloud.make(VAULT, "vault-1", vault(cloud, softDeleteRetentionInDays=7) | {"tags": {"a": "b"}})
    assert cloud.delete(made["id"]).status_code == 200
    assert cloud.get(made["id"]).status_code == 404
    held = deleted_vault(cloud, "vault-1").json()
    assert held["type"] == "Microsoft.KeyVault/deletedVaults"
    assert (held["properties"]["vaultId"], held["properties"]["tags"]) == (made["id"], {"a": "b"})
    dates = [datetime.fromisoformat(held["properties"][key]) for key in ("deletionDate", "scheduledPurgeDate")]
    assert dates[1] - dates[0] == timedelta(days=7)
    listed = cloud.get(f"{cloud.subscription}/providers/Microsoft.KeyVault/deletedVaults").json()["value"]
    assert [one["name"] for one in listed] == ["vault-1"]

    for group in ("rg", "other"):
        cloud.make_group(group)
        refused = cloud.put(cloud.id(VAULT, "vault-1", group), {"location": LOCATION} | vault(cloud))
        assert (refused.status_code, code(refused)) == (409, "ConflictError")
    check = cloud.post(f"{cloud.subscription}/providers/Microsoft.KeyVault/checkNameAvailability", {"name": "vault-1"})
    assert check.json()["nameAvailable"] is False

    purge = cloud.post(f"{held['id']}/purge")
    assert purge.status_code == 202
    assert cloud.finish(purge).status_code == 200
    assert deleted_vault(cloud, "vault-1").status_code == 404
    cloud.make(VAULT, "vault-1", vault(cloud))


def test_a_deleted_vault_is_recovered_as_it_was(cloud: Cloud) -> None:
    made = cloud.make(VAULT, "vault-1", vault(cloud, enabledForDeployment=True))
    cloud.delete(made["id"])
    back = cloud.make(VAULT, "vault-1", vault(cloud, createMode="recover"))
    assert back["properties"] == made["properties"]
    assert deleted_vault(cloud, "vault-1").status_code == 404
    missing = cloud.put(cloud.id(VAULT, "vault-2"), {"location": LOCATION} | vault(cloud, createMode="recover"))
    assert missing.status_code == 404


def test_purge_protection_and_soft_delete_cannot_be_taken_back(cloud: Cloud) -> None:
    made = cloud.make(VAULT, "vault-1", vault(cloud, enablePurgeProtection=True))
    for change in ({"enablePurgeProtection": False}, {"enableSoftDelete": False}):
        assert code(cloud.patch(made["id"], {"properties": change})) == "BadRequest"
    assert cloud.make(VAULT, "vault-1", vault(cloud))["properties"]["enablePurgeProtection"] is True
    cloud.delete(made["id"])
    held = deleted_vault(cloud, "vault-1").json()
    assert held["properties"]["purgeProtectionEnabled"] is True
    refused = cloud.post(f"{held['id']}/purge")
    assert (refused.status_code, code(refused)) == (405, "MethodNotAllowed")


def test_a_vault_without_soft_delete_is_gone(cloud: Cloud) -> None:
    made = cloud.make(VAULT, "vault-1", vault(cloud, enableSoftDelete=False))
    cloud.delete(made["id"])
    assert deleted_vault(cloud, "vault-1").status_code == 404
    cloud.make(VAULT, "vault-1", vault(cloud))


def test_a_log_workspace_comes_back_with_its_keys_when_it_is_put_again(cloud: Cloud) -> None:
    made = cloud.make(LOGS, "logs1", logs())
    keys = cloud.post(f"{made['id']}/sharedKeys").json()
    assert set(keys) == {"primarySharedKey", "secondarySharedKey"}
    first = cloud.delete(made["id"])
    assert first.status_code == 202
    assert {"azure-asyncoperation", "location"} <= set(first.headers)
    cloud.finish(first)
    listed = cloud.get(f"{cloud.subscription}/providers/Microsoft.OperationalInsights/deletedWorkspaces").json()[
        "value"
    ]
    assert [one["name"] for one in listed] == ["logs1"]
    elsewhere = cloud.put(made["id"], {"location": "northeurope"} | logs())
    assert elsewhere.status_code == 409
    back = cloud.make(LOGS, "logs1", logs())
    assert back["properties"]["customerId"] == made["properties"]["customerId"]
    assert cloud.post(f"{made['id']}/sharedKeys").json() == keys


def test_a_log_workspace_deleted_by_force_is_gone(cloud: Cloud) -> None:
    made = cloud.make(LOGS, "logs1", logs())
    cloud.finish(cloud.delete(made["id"], {"force": "true"}))
    back = cloud.make(LOGS, "logs1", logs())
    assert back["properties"]["customerId"] != made["properties"]["customerId"]


def test_a_soft_deleted_ml_workspace_blocks_its_name_until_it_is_purged(cloud: Cloud) -> None:
    make_dependencies(cloud)
    made = cloud.make(WORKSPACE, "workspace", workspace(cloud))
    assert cloud.finish(cloud.delete(made["id"])).json()["status"] == "Succeeded"
    assert cloud.get(made["id"]).status_code == 404
    assert cloud.inside(lambda: cloud.service.get(made["id"])) is None
    refused = cloud.put(made["id"], {"location": LOCATION} | workspace(cloud))
    assert (refused.status_code, code(refused)) == (400, "BadRequest")
    assert refused.json()["error"]["message"].startswith("Soft-deleted workspace exists. Please purge or recover it.")
    assert cloud.delete(made["id"]).status_code == 204
    assert cloud.put(made["id"], {"location": LOCATION} | workspace(cloud)).status_code == 400
    assert cloud.delete(made["id"], {"forceToPurge": "true"}).status_code == 200
    again = cloud.make(WORKSPACE, "workspace", workspace(cloud))
    assert again["properties"]["workspaceId"] != made["properties"]["workspaceId"]
    cloud.finish(cloud.delete(made["id"], {"forceToPurge": "true"}))
    cloud.make(WORKSPACE, "workspace", workspace(cloud))


def test_a_soft_deleted_ml_workspace_is_recovered_with_its_id(cloud: Cloud) -> None:
    make_dependencies(cloud)
    recover = workspace(cloud, allowRecoverSoftDeletedWorkspace="True")
    made = cloud.make(WORKSPACE, "workspace", recover)  # nothing to recover: made as ever
    cloud.finish(cloud.delete(made["id"]))
    elsewhere = cloud.make(STORAGE, "otherstorage", storage())["id"]
    moved = recover | {"properties": recover["properties"] | {"storageAccount": elsewhere}}
    refused = cloud.put(made["id"], {"location": LOCATION} | moved)
    assert (refused.status_code, code(refused)) == (400, "BadRequest")
    assert "storageAccount" in refused.json()["error"]["message"]
    again = cloud.make(WORKSPACE, "workspace", recover)
    assert again["properties"]["workspaceId"] == made["properties"]["workspaceId"]
    assert "allowRecoverSoftDeletedWorkspace" not in again["properties"]
    assert cloud.delete(made["id"], {"forceToPurge": "true"}).status_code == 202


def test_what_an_ml_workspace_is_never_softly_deleted_with(cloud: Cloud) -> None:
    make_dependencies(cloud)
    identity = cloud.put(cloud.id(IDENTITY, "mine"), {"location": LOCATION}).json()["id"]
    only = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    key = {
        "status": "Enabled",
        "keyVaultProperties": {"keyVaultArmId": cloud.id(VAULT, "mlvault"), "keyIdentifier": "k"},
    }
    for name, body in (
        ("assigned", workspace(cloud, primaryUserAssignedIdentity=identity) | only),
        ("customerkey", workspace(cloud, encryption=key)),
    ):
        made = cloud.make(WORKSPACE, name, body)
        cloud.finish(cloud.delete(made["id"]))
        again = cloud.make(WORKSPACE, name, body)
        assert again["properties"]["workspaceId"] != made["properties"]["workspaceId"]
    wrong = {"location": LOCATION} | workspace(cloud, softDeleteRetentionInDays=15)
    assert cloud.put(cloud.id(WORKSPACE, "days"), wrong).status_code == 400


def test_deleting_a_group_leaves_only_tombstones(cloud: Cloud) -> None:
    make_dependencies(cloud)
    made = cloud.make(WORKSPACE, "workspace", workspace(cloud))
    cloud.finish(cloud.delete(cloud.group_id()))
    cloud.make_group()
    assert deleted_vault(cloud, "mlvault").status_code == 200
    cloud.make(STORAGE, "mlstorage", storage())
    refused = cloud.put(made["id"], {"location": LOCATION} | workspace(cloud))
    assert "Soft-deleted" in refused.json()["error"]["message"]
