"""ARM through `components.services.azure`: the real local Azure, and a proxy before it where Azure misbehaves."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from components.services import azure as arm
from components.services.errors import ConflictError, NotFoundError, ServiceError
from tests.services.cloud import HUB, REGISTRY, Cloud, environment
from tests.services.edge import CLOSE, Fault, Proxy, proxy
from tests.waiting import PATIENCE


@pytest.fixture
def front(azure: Cloud) -> Iterator[Proxy]:
    """ARM behind a proxy, and this process pointed at the proxy. The audience stays, so tokens are real ones."""
    instance = azure.azure.instance
    clouds = httpx.get(
        azure.azure.env["ARM_CLOUD_METADATA_URL"],
        verify=ssl.create_default_context(cafile=instance.ca),
        timeout=PATIENCE,
    ).json()
    with proxy(instance.address, instance.pki, instance.arm_url) as made:
        for one in clouds:
            one["resourceManager"] = f"https://{made.host}/"
        made.faults.append(Fault("GET", "/clouds", 200, times=100, body=json.dumps(clouds).encode()))
        with environment({**azure.azure.env, "ARM_CLOUD_METADATA_URL": f"https://{made.host}/clouds"}):
            yield made


def test_get_gives_the_resource(registry_id: str) -> None:
    assert arm.get(registry_id)["id"] == registry_id


def test_post_gives_the_actions_answer_and_patch_changes_it(azure: Cloud) -> None:
    identity = azure.registry("patched", admin=False)
    arm.patch(identity, {"properties": {"adminUserEnabled": True}})
    assert azure.properties(identity)["adminUserEnabled"] is True
    assert set(arm.post(identity, "listCredentials")) == {"username", "passwords"}


def test_not_found_is_arms_own_404_of_the_resource_or_its_group(azure: Cloud) -> None:
    for identity in (azure.id(HUB, "nowhere"), azure.id(HUB, "x").replace("/rg/", "/nogroup/")):
        with pytest.raises(NotFoundError) as caught:
            arm.get(identity)
        assert identity in str(caught.value)
        assert "404" in str(caught.value)
        assert "pulumi refresh" in caught.value.advice


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_whose_rights_to_check(front: Proxy, hub_id: str, status: int) -> None:
    front.faults.append(
        Fault("GET", hub_id, status, times=9, body=b'{"error": {"code": "AuthorizationFailed", "message": "no"}}')
    )
    with pytest.raises(ServiceError) as caught:
        arm.get(hub_id)
    assert not isinstance(caught.value, NotFoundError)
    assert f"{status} AuthorizationFailed: no" in str(caught.value)
    assert "role" in caught.value.advice


def test_a_conflict_is_told_apart(front: Proxy, hub_id: str) -> None:
    front.faults.append(Fault("PATCH", hub_id, 409, body=b'{"error": {"code": "Conflict", "message": "busy"}}'))
    with pytest.raises(ConflictError, match="409 Conflict: busy"):
        arm.patch(hub_id, {})


@pytest.mark.parametrize(("method", "call"), [("GET", "get"), ("POST", "listkeys"), ("PATCH", "patch")])
def test_short_faults_are_survived(front: Proxy, hub_id: str, method: str, call: str) -> None:
    front.faults += [
        Fault(method, hub_id, 429, headers={"Retry-After": "1"}),
        Fault(method, hub_id, 503),
        Fault(method, hub_id, CLOSE),
    ]
    done: dict[str, Any] = {
        "get": lambda: arm.get(hub_id),
        "listkeys": lambda: arm.post(hub_id, "IotHubKeys/iothubowner/listkeys"),
        "patch": lambda: arm.patch(hub_id, {"tags": {"a": "b"}}),
    }[call]()
    assert done
    assert [status for seen, _, status in front.seen if seen == method][-4:-1] == [429, 503, CLOSE]


def test_retries_end(front: Proxy, hub_id: str) -> None:
    front.faults.append(Fault("GET", hub_id, 503, times=99, headers={"Retry-After": "1"}))
    with pytest.raises(ServiceError, match="503") as caught:
        arm.get(hub_id)
    assert front.count("GET", hub_id) == arm.RETRIES + 1
    assert not isinstance(caught.value, NotFoundError)


def test_nobody_waits_an_hour_because_azure_asks_for_it(front: Proxy, hub_id: str) -> None:
    front.faults.append(Fault("GET", hub_id, 429, times=99, headers={"Retry-After": "3600"}))
    with pytest.raises(ServiceError, match="429") as caught:
        arm.get(hub_id)
    assert front.count("GET", hub_id) == 1
    assert "slow down" in caught.value.advice


def test_an_answer_that_is_not_json_is_an_error_of_ours(front: Proxy, hub_id: str) -> None:
    front.faults.append(Fault("GET", hub_id, 200, body=b"<html>Please log in</html>"))
    with pytest.raises(ServiceError, match="without JSON") as caught:
        arm.get(hub_id)
    assert "proxy" in caught.value.advice


@pytest.mark.parametrize("identity", ["", "/x", "/subscriptions/s/resourceGroups/g", "edge-1"])
def test_what_is_no_id_is_refused_before_anything_is_sent(front: Proxy, identity: str) -> None:
    with pytest.raises(ServiceError, match="not the ARM id"):
        arm.get(identity)
    assert front.seen == []


def test_an_id_of_a_type_that_we_do_not_speak_to_is_refused(azure: Cloud) -> None:
    with pytest.raises(ServiceError, match=r"not the ARM id of one of microsoft\.containerregistry/registries"):
        arm.get(f"{azure.group}/providers/Microsoft.Compute/virtualMachines/vm")


class TestUnreachable:
    """Nothing listens at this port: an error, and never "gone"."""

    @pytest.fixture
    def nowhere(self, azure: Cloud) -> str:
        return f"{azure.azure.instance.address}:9"

    def test_arm(self, azure: Cloud, front: Proxy, hub_id: str, nowhere: str) -> None:
        body = [
            {
                "name": "AzureLocal",
                "resourceManager": f"https://{nowhere}",
                "authentication": {"audiences": [arm.cloud().audience]},
            }
        ]
        arm.cloud.cache_clear()
        front.faults.insert(0, Fault("GET", "/clouds", 200, body=json.dumps(body).encode()))
        with pytest.raises(ServiceError, match="refused") as caught:
            arm.get(hub_id)
        assert not isinstance(caught.value, NotFoundError)
        assert nowhere in caught.value.advice

    def test_the_cloud_metadata(self, azure: Cloud, hub_id: str, nowhere: str) -> None:
        with (
            environment({**azure.azure.env, "ARM_CLOUD_METADATA_URL": f"https://{nowhere}/metadata"}),
            pytest.raises(ServiceError, match="cloud metadata") as caught,
        ):
            arm.get(hub_id)
        assert "ARM_CLOUD_METADATA_URL" in caught.value.advice
        assert not isinstance(caught.value, NotFoundError)

    def test_the_identity_endpoint(self, azure: Cloud, hub_id: str, nowhere: str) -> None:
        with (
            environment({**azure.azure.env, "MSI_ENDPOINT": f"http://{nowhere}/msi/token"}),
            pytest.raises(ServiceError, match="could not read") as caught,
        ):
            arm.get(hub_id)
        assert not isinstance(caught.value, NotFoundError)
        assert "Connection refused" in caught.value.answer, "the reason is in the lines that follow the SDK's first"
        assert "az login" in caught.value.advice


class TestClouds:
    def test_without_a_setting_it_is_the_public_cloud(self, azure: Cloud) -> None:
        with environment({**azure.azure.env, "ARM_CLOUD_METADATA_URL": None}):
            assert arm.cloud().resource_manager == "https://management.azure.com"

    def test_an_unknown_name_lists_the_known_ones(self, azure: Cloud) -> None:
        with (
            environment({**azure.azure.env, "AZUREML_CURRENT_CLOUD": "AzureMoon"}),
            pytest.raises(ServiceError, match=r"AzureMoon.*offers.*AzureLocal"),
        ):
            arm.cloud()

    @pytest.mark.parametrize(
        "body",
        [
            b"<html>",
            b"{}x",
            b'{"cloudEndpoint": {}}',
            b"[1]",
            b'[{"name": "AzureLocal"}]',
            b'[{"name": "AzureLocal", "resourceManager": "https://x", "authentication": {"audiences": []}}]',
            b'[{"name": "AzureLocal", "resourceManager": null, "authentication": {"audiences": ["x"]}}]',
        ],
    )
    def test_what_cannot_be_read_as_metadata_is_said(self, front: Proxy, body: bytes) -> None:
        front.faults.insert(0, Fault("GET", "/clouds", 200, body=body))
        with pytest.raises(ServiceError, match="cloud metadata"):
            arm.cloud()

    def test_a_failure_is_not_remembered_and_a_success_is(self, front: Proxy) -> None:
        front.faults.insert(0, Fault("GET", "/clouds", 500))
        with pytest.raises(ServiceError, match="500"):
            arm.cloud()
        assert arm.cloud().name == "AzureLocal"
        arm.cloud()
        assert front.count("GET", "/clouds") == 2

    def test_a_dropped_connection_is_survived(self, front: Proxy) -> None:
        front.faults.insert(0, Fault("GET", "/clouds", CLOSE))
        assert arm.cloud().name == "AzureLocal"


def test_a_registry_is_read_with_its_id_in_any_case(azure: Cloud, registry_id: str) -> None:
    assert arm.get(registry_id.replace(REGISTRY, REGISTRY.upper()))["name"] == "servicesregistry"
