"""PromotedImage against real registries of a local Azure: the same digest in two, a way back without the source, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.promoted_image import PromotedImageProvider
from components.services import azure as azure_requests
from components.services import imports, registry
from components.services.errors import ServiceError
from tests.services.cloud import Cloud, cloud
from tests.services.images import push_tiny

PROVIDER = PromotedImageProvider()


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "_POLL_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("promotion")) as made:
        yield made


@pytest.fixture(scope="module")
def source(azure: Cloud) -> str:
    return azure.registry("sourceregistry")


@pytest.fixture(scope="module")
def target(azure: Cloud) -> str:
    return azure.registry("targetregistry")


def pushed(azure: Cloud, registry_id: str, mark: str) -> str:
    """The reference of a new image."""
    credentials = registry.admin_credentials(registry_id)
    digest = push_tiny(azure, credentials, "anomaly", mark, mark)
    return f"{credentials.login_server}/anomaly@{digest}"


def props(registry_id: str, ref: str, **more: Any) -> dict[str, Any]:
    return {"registryId": registry_id, "sourceRef": ref, "fingerprint": "", **more}


def held(registry_id: str, reference: str) -> str | None:
    return registry.digest(registry.admin_credentials(registry_id), "anomaly", reference)


def test_the_same_digest_arrives_and_is_tagged_by_its_fingerprint(azure: Cloud, source: str, target: str) -> None:
    ref = pushed(azure, source, "first")
    outs = PROVIDER.create(props(target, ref, fingerprint="abc123")).outs
    digest = ref.partition("@")[2]
    assert outs is not None
    assert outs["ref"] == f"{registry.admin_credentials(target).login_server}/anomaly@{digest}"
    assert held(target, "abc123") == digest
    assert outs["brought"] == [{"ref": outs["ref"], "imported": True}]
    assert PROVIDER.read("id", outs).outs == outs


def test_a_way_back_needs_no_source(azure: Cloud, source: str, target: str) -> None:
    one, two = pushed(azure, source, "one"), pushed(azure, source, "two")
    before = PROVIDER.create(props(target, one)).outs
    assert before is not None
    after = PROVIDER.update("id", before, props(target, two)).outs
    assert after is not None
    credentials = registry.admin_credentials(source)
    registry.delete_manifest(credentials, "anomaly", one.partition("@")[2])
    with azure.azure.traffic() as seen:
        back = PROVIDER.update("id", after, props(target, one)).outs
    assert back is not None
    assert back["ref"] == before["ref"]
    assert [entry["ref"] for entry in back["brought"]] == [after["ref"], before["ref"]]
    assert not [line for line in seen[0].changes if "importimage" in line.lower()]


def test_a_shared_registry_is_used_as_it_is(azure: Cloud, source: str) -> None:
    ref = pushed(azure, source, "shared")
    outs = PROVIDER.create(props(source, ref)).outs
    assert outs is not None
    assert outs["ref"] == ref
    assert outs["brought"] == [{"ref": ref, "imported": False}]


def test_what_its_source_does_not_have_is_refused(azure: Cloud, source: str, target: str) -> None:
    ref = pushed(azure, source, "gone")
    absent = ref.partition("@")[0] + "@sha256:" + "0" * 64
    for registry_id in (target, source):
        with pytest.raises(ServiceError, match="its registry does not have it"):
            PROVIDER.create(props(registry_id, absent))


def test_a_registry_that_nobody_knows_is_refused(target: str) -> None:
    with pytest.raises(ServiceError, match="no registry that this identity may read"):
        PROVIDER.create(props(target, "elsewhere.example/anomaly@sha256:" + "1" * 64))


def test_the_source_may_be_in_another_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local Azure has one subscription, so its lists are stood in for here."""
    kind = "providers/Microsoft.ContainerRegistry/registries"
    lists = {
        "/subscriptions": [{"subscriptionId": "prod"}, {"subscriptionId": "dev"}],
        f"/subscriptions/prod/{kind}": [{"id": "/prod/r", "properties": {"loginServer": "prod.io"}}],
        f"/subscriptions/dev/{kind}": [{"id": "/dev/r", "properties": {"loginServer": "dev.io"}}],
    }
    monkeypatch.setattr(azure_requests, "collection", lists.__getitem__)
    assert imports._registry_of("/subscriptions/prod/resourceGroups/g", "dev.io") == "/dev/r"


def test_gone_is_what_the_registry_says(azure: Cloud, source: str, target: str) -> None:
    outs = PROVIDER.create(props(target, pushed(azure, source, "deleted"))).outs
    assert outs is not None
    registry.delete_manifest(registry.admin_credentials(target), "anomaly", outs["ref"].partition("@")[2])
    assert PROVIDER.read("id", outs).id == ""


def test_images_stay_unless_told_otherwise(azure: Cloud, source: str, target: str) -> None:
    for retain, left in ((None, True), (True, True), (False, False)):
        ref = pushed(azure, source, f"retain-{retain}")
        outs = PROVIDER.create(props(target, ref, **({} if retain is None else {"retain": retain}))).outs
        assert outs is not None
        PROVIDER.delete("id", outs)
        assert bool(held(target, ref.partition("@")[2])) is left


@pytest.mark.parametrize("ref", ["r.io/anomaly:1", "anomaly@sha256:" + "1" * 64, "r.io/x@sha256:12", ""])
def test_only_digests(ref: str) -> None:
    problems = PROVIDER.problems(props("/id", ref))
    assert problems
    assert "never by a tag" in problems[0][1]


def test_a_new_digest_is_an_update_and_another_registry_a_replacement() -> None:
    old = {**props("/one", "r.io/a@sha256:" + "1" * 64), "ref": "x", "brought": []}
    assert PROVIDER.diff("id", old, props("/one", "r.io/a@sha256:" + "2" * 64)).replaces == []
    assert PROVIDER.diff("id", old, props("/two", "r.io/a@sha256:" + "1" * 64)).replaces == ["registryId"]
