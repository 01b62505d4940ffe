"""No secret comes back where nobody asked for it: not on any GET of ARM, not in the log of requests, not in daemon.log, not in `status`."""

from __future__ import annotations

from typing import Any

from tests.faults.cloud import HUB, LOCATION, REGISTRY, WORKSPACE, Cloud
from tests.faults.test_rbac import add


def texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set[str]().union(*(texts(inner) for inner in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(texts(inner) for inner in value))
    return {value} if isinstance(value, str) else set()


def test_secrets_are_shown_to_who_asks_for_them_only(cloud: Cloud) -> None:
    logs = cloud.id("Microsoft.OperationalInsights/workspaces", "faulty-logs")
    cloud.make(logs, {"location": LOCATION})
    storage = cloud.id("Microsoft.Storage/storageAccounts", "faultystorage")
    registry = cloud.id("Microsoft.ContainerRegistry/registries", REGISTRY)
    hub, workspace = (
        cloud.id("Microsoft.Devices/IotHubs", HUB),
        cloud.id("Microsoft.MachineLearningServices/workspaces", WORKSPACE),
    )
    asked: dict[str, Any] = {
        f"{storage}/listKeys": None,
        f"{storage}/regenerateKey": {"keyName": "key1"},
        f"{registry}/listCredentials": None,
        f"{registry}/regenerateCredential": {"name": "password2"},
        f"{hub}/listkeys": None,
        f"{hub}/IotHubKeys/service/listkeys": None,
        f"{workspace}/listKeys": None,
        f"{logs}/sharedKeys": None,
    }
    secrets: set[str] = {add(cloud, "keeper", "--role", "Reader").variables["AZURE_CLIENT_SECRET"]}
    for path, body in asked.items():
        answer = cloud.arm("POST", path, body)
        assert answer.status_code == 200, answer.text
        secrets |= {text for text in texts(answer.json()) if len(text) > 30 and "-" not in text}
    assert len(secrets) >= 18  # two each of storage, registry, logs, ten of the hub and what was regenerated

    shown = [cloud("status"), cloud("principal", "list"), cloud("fault", "list")]
    resources = cloud.arm("GET", f"{cloud.subscription}/resources").json()["value"]
    paths = [one["id"] for one in resources] + [
        cloud.group,
        f"{cloud.subscription}/resources",
        f"{cloud.group}/resources",
    ]
    paths += {one["id"].rpartition("/")[0] for one in resources}  # the lists
    for path in paths:
        answer = cloud.arm("GET", path)
        assert answer.status_code == 200, path
        shown.append(answer.text)
    assert len(shown) > 12
    shown += [(cloud.folder / name).read_text() for name in ("requests.jsonl", "daemon.log")]
    for text in shown:
        assert not [secret for secret in secrets if secret in text], text[:300]
