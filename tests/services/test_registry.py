"""The registry API against the real registry behind the local Azure's gateway."""

from __future__ import annotations

import pytest

from components.services import registry
from components.services.errors import NotFoundError, ServiceError
from components.services.registry import Credentials
from tests.services.cloud import REGISTRY, Cloud
from tests.services.edge import CLOSE, Fault, proxy
from tests.services.images import push_tiny

REPOSITORY = "tiny"


@pytest.fixture(scope="module")
def credentials(azure: Cloud, registry_id: str) -> Credentials:
    return registry.admin_credentials(registry_id)


@pytest.fixture(scope="module")
def pushed(azure: Cloud, credentials: Credentials) -> str:
    return push_tiny(azure, credentials, REPOSITORY, "1")


def test_credentials_are_the_admin_users_and_never_shown(
    azure: Cloud, registry_id: str, credentials: Credentials
) -> None:
    assert credentials.login_server == azure.properties(registry_id)["loginServer"]
    assert credentials.username == "servicesregistry"
    assert credentials.password
    assert credentials.password not in repr(credentials)


def test_a_registry_that_is_gone_is_not_found(azure: Cloud) -> None:
    with pytest.raises(NotFoundError):
        registry.admin_credentials(azure.id(REGISTRY, "nowhere"))


def test_a_disabled_admin_user_says_what_to_do(azure: Cloud) -> None:
    with pytest.raises(ServiceError, match="admin user is disabled") as caught:
        registry.admin_credentials(azure.registry("noadmin", admin=False))
    assert not isinstance(caught.value, NotFoundError)
    assert "az acr update --name noadmin --admin-enabled true" in caught.value.advice


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_the_digest_is_found_by_tag_and_by_digest(credentials: Credentials, pushed: str, by: str) -> None:
    assert registry.digest(credentials, REPOSITORY, "1" if by == "tag" else pushed) == pushed


@pytest.mark.parametrize(
    ("repository", "reference"), [(REPOSITORY, "2"), ("nothing", "1"), (REPOSITORY, f"sha256:{'0' * 64}")]
)
def test_what_is_not_there_has_no_digest(
    credentials: Credentials, pushed: str, repository: str, reference: str
) -> None:
    assert registry.digest(credentials, repository, reference) is None


def test_a_wrong_password_is_an_error_and_not_an_absence(credentials: Credentials, pushed: str) -> None:
    wrong = Credentials(credentials.login_server, credentials.username, "wrong-password-canary")
    for call in (registry.digest, registry.delete_manifest):
        with pytest.raises(ServiceError, match="401") as caught:
            call(wrong, REPOSITORY, pushed)
        assert "pulumi refresh" in caught.value.advice
        assert "wrong-password-canary" not in str(caught.value)


def test_a_deleted_manifest_is_gone_with_its_tags_and_deleting_again_is_fine(
    azure: Cloud, credentials: Credentials
) -> None:
    made = push_tiny(azure, credentials, "deleted", "1")
    registry.delete_manifest(credentials, "deleted", made)
    assert registry.digest(credentials, "deleted", "1") is None
    assert registry.digest(credentials, "deleted", made) is None
    registry.delete_manifest(credentials, "deleted", made)
    registry.delete_manifest(credentials, "never-was", made)


class TestFaults:
    """At a proxy before the real registry; the registry's token address stays its own."""

    def test_short_ones_are_survived(self, azure: Cloud, credentials: Credentials, pushed: str) -> None:
        instance = azure.azure.instance
        with proxy(instance.address, instance.pki, f"https://{credentials.login_server}") as front:
            front.faults += [
                Fault("HEAD", "/v2/", 503),
                Fault("HEAD", "/v2/", 429),
                Fault("HEAD", "/v2/", CLOSE),
            ]
            there = Credentials(front.host, credentials.username, credentials.password)
            assert registry.digest(there, REPOSITORY, "1") == pushed
            assert [status for _, _, status in front.seen][:3] == [503, 429, CLOSE]

    def test_long_ones_are_errors_after_a_few_tries(self, azure: Cloud, credentials: Credentials, pushed: str) -> None:
        instance = azure.azure.instance
        with proxy(instance.address, instance.pki) as front:
            front.faults.append(Fault("HEAD", "/v2/", 502, times=99))
            with pytest.raises(ServiceError, match="502"):
                registry.digest(Credentials(front.host, "u", "p"), REPOSITORY, "1")
            assert front.count("HEAD", "/v2/") == registry.ATTEMPTS

    def test_nobody_there(self, azure: Cloud, credentials: Credentials) -> None:
        with pytest.raises(ServiceError, match="refused"):
            registry.digest(Credentials(f"{azure.azure.instance.address}:9", "u", "p"), REPOSITORY, "1")

    @pytest.mark.parametrize("scheme", ["Bearer", 'Bearer realm="http://127.0.0.1:9/token",service="s"'])
    def test_the_password_goes_to_no_address_without_tls(self, azure: Cloud, scheme: str) -> None:
        instance = azure.azure.instance
        with proxy(instance.address, instance.pki) as front:
            front.faults.append(Fault("HEAD", "/v2/", 401, times=9, headers={"WWW-Authenticate": scheme}))
            with pytest.raises(ServiceError, match="not https"):
                registry.digest(Credentials(front.host, "u", "p"), REPOSITORY, "1")

    def test_a_token_service_without_tokens_is_said(self, azure: Cloud) -> None:
        instance = azure.azure.instance
        with proxy(instance.address, instance.pki) as front:
            challenge = f'Bearer realm="https://{front.host}/token",service="s"'
            front.faults += [
                Fault("HEAD", "/v2/", 401, times=9, headers={"WWW-Authenticate": challenge}),
                Fault("GET", "/token", 200, times=9, body=b"<html>"),
            ]
            with pytest.raises(ServiceError, match="gave no token"):
                registry.digest(Credentials(front.host, "u", "p"), REPOSITORY, "1")

    def test_a_manifest_without_a_digest_is_an_error(self, azure: Cloud) -> None:
        instance = azure.azure.instance
        with proxy(instance.address, instance.pki) as front:
            front.faults.append(Fault("HEAD", "/v2/", 200, headers={"Docker-Content-Digest": "latest"}))
            with pytest.raises(ServiceError, match="latest"):
                registry.digest(Credentials(front.host, "u", "p"), REPOSITORY, "1")


def test_a_note_is_kept_under_its_tag_until_it_is_deleted(credentials: Credentials) -> None:
    assert registry.note(credentials, "noted", "f1-package") is None
    registry.write_note(credentials, "noted", "f1-package", "operation 1")
    registry.write_note(credentials, "noted", "f1-package", "operation 2")
    assert registry.note(credentials, "noted", "f1-package") == "operation 2"
    registry.delete_note(credentials, "noted", "f1-package")
    assert registry.note(credentials, "noted", "f1-package") is None
    registry.delete_note(credentials, "noted", "f1-package")


def test_an_image_is_no_note(credentials: Credentials, pushed: str) -> None:
    assert registry.note(credentials, REPOSITORY, "1") is None
