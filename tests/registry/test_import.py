"""importImage between two registries: over ARM, with real registries, without an engine."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerregistry import ContainerRegistryManagementClient

from tests.arm.examples import ALL, title
from tests.arm.test_sdk import Credential
from tests.registry.tasks_cloud import TasksCloud

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
MEMBER = "application/vnd.oci.image.manifest.v1+json"
IMPORTS = [one for one in ALL if "__Registries_ImportImage__" in one["file"]]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TasksCloud]:
    running = TasksCloud(tmp_path_factory.mktemp("azure"))
    running.start()
    running.make_group()
    running.acr("Source01")
    running.acr("Target01")
    yield running
    running.stop()
    running.http.close()


class Content:
    """A registry as its users see it."""

    def __init__(self, cloud: TasksCloud, name: str) -> None:
        trust = ssl.create_default_context(cafile=str(cloud.instance.ca))
        auth = (name, cloud.password(name))
        self.http = httpx.Client(base_url=f"https://{cloud.host(name)}/v2", auth=auth, verify=trust, timeout=120)

    def blob(self, repository: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self.http.post(f"/{repository}/blobs/uploads/")
        place = self.http.base_url.join(begun.headers["location"]).copy_add_param("digest", digest)
        assert self.http.put(place, content=content).status_code == 201
        return {"digest": digest, "size": len(content)}

    def manifest(self, repository: str, reference: str, body: dict[str, Any], kind: str = MANIFEST) -> str:
        content = json.dumps(body, indent=5).encode()  # of no canonical form: bytes must stay
        answer = self.http.put(f"/{repository}/manifests/{reference}", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 201, answer.text
        return str(answer.headers["docker-content-digest"])

    def image(self, repository: str, tag: str, layer: bytes, kind: str = MANIFEST) -> str:
        body = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json"}
            | self.blob(repository, b"{}" + layer),
            "layers": [
                {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"} | self.blob(repository, layer)
            ],
        }
        return self.manifest(repository, tag, body, kind)

    def digest(self, repository: str, reference: str) -> str | None:
        accept = ", ".join((MANIFEST, INDEX, MEMBER))
        answer = self.http.get(f"/{repository}/manifests/{reference}", headers={"Accept": accept})
        return answer.headers["docker-content-digest"] if answer.status_code == 200 else None


def imported(cloud: TasksCloud, source: dict[str, Any], **changes: Any) -> httpx.Response:
    """The first answer when it is a refusal, else the last one."""
    body = {"source": source, "targetTags": ["copy:one"]} | changes
    first = cloud.post(f"{cloud.acr('Target01')}/importImage", body)
    if first.status_code != 202:
        return first
    assert "operationResults/registries-" in first.headers["location"] and first.content == b""
    return cloud.finish(first)


def test_by_tag_and_by_digest_with_the_digest_unchanged(cloud: TasksCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.instance.ca))
    source, target = Content(cloud, "Source01"), Content(cloud, "Target01")
    digest = source.image("team/app", "v1", b"layer" * 100_000)
    settings: dict[str, Any] = {
        "credential": Credential(cloud),
        "subscription_id": cloud.instance.subscription_id,
        "base_url": cloud.instance.arm_url,
        "credential_scopes": ["https://management.azure.com/.default"],
    }
    request: dict[str, Any] = {
        "source": {"resourceId": cloud.acr("Source01").upper(), "sourceImage": "team/app:v1"},
        "targetTags": ["copies/app:v1", "copies/app", "other:x"],
        "untaggedTargetRepositories": ["bare"],
    }
    with ContainerRegistryManagementClient(**settings, api_version="2023-01-01-preview") as client:
        client.registries.begin_import_image("rg", "Target01", request).result(20)
        for place in (("copies/app", "v1"), ("other", "x"), ("bare", digest)):
            assert target.digest(*place) == digest
        assert target.http.get("/bare/tags/list").json().get("tags") is None
        layer = hashlib.sha256(b"layer" * 100_000).hexdigest()
        assert target.http.get(f"/other/blobs/sha256:{layer}").content == b"layer" * 100_000
        with pytest.raises(HttpResponseError, match="Tag copies/app:v1 already exists in target registry") as caught:
            client.registries.begin_import_image("rg", "Target01", request).result(20)
        assert "Operation registries-" in str(caught.value)
    source.image("team/app", "v1", b"newer")
    by_digest = {"resourceId": cloud.acr("Source01"), "sourceImage": f"team/app@{digest}"}
    newer = {"resourceId": cloud.acr("Source01"), "sourceImage": "team/app:v1"}
    assert imported(cloud, newer, targetTags=["other:x"], mode="Force").status_code == 200
    assert target.digest("other", "x") != digest
    assert imported(cloud, by_digest, targetTags=["other:x"], mode="Force").status_code == 200
    assert target.digest("other", "x") == digest


def test_an_index_comes_with_its_members(cloud: TasksCloud) -> None:
    source, target = Content(cloud, "Source01"), Content(cloud, "Target01")
    members = [source.image("multi", arch, arch.encode(), MEMBER) for arch in ("amd64", "arm64")]
    entries = [
        {
            "mediaType": MEMBER,
            "digest": member,
            "size": len(source.http.get(f"/multi/manifests/{member}", headers={"Accept": MEMBER}).content),
        }
        for member in members
    ]
    digest = source.manifest("multi", "all", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    resource = cloud.acr("Source01")
    done = imported(cloud, {"resourceId": resource, "sourceImage": "multi:all"}, targetTags=["multi"])
    assert done.status_code == 200, done.text
    assert [target.digest("multi", one) for one in ("all", *members)] == [digest, *members]


def test_by_login_server_with_credentials_only(cloud: TasksCloud) -> None:
    source, target = Content(cloud, "Source01"), Content(cloud, "Target01")
    digest = source.image("byname", "v1", b"x")
    by_name: dict[str, Any] = {"registryUri": cloud.host("Source01"), "sourceImage": "byname:v1"}
    for credentials in (None, {"username": "Source01", "password": "wrong"}):
        failed = imported(cloud, by_name | ({"credentials": credentials} if credentials else {}), targetTags=["n:1"])
        assert (failed.status_code, failed.json()["error"]["code"]) == (401, "Unauthorized")
    login = {"username": "Source01", "password": cloud.password("Source01")}
    done = imported(cloud, by_name | {"credentials": login}, targetTags=["n:1"])
    assert (done.status_code, target.digest("n", "1")) == (200, digest)
    rows = cloud.inside(lambda: cloud.blobs.files._store.all("SELECT * FROM arm_registry_imports"))
    assert rows == []  # no password is kept


@pytest.mark.parametrize(
    ("source", "changes", "status", "words"),
    [
        ({"sourceImage": "a:b"}, {}, 400, "exactly one of"),
        ({"resourceId": "{acr}"}, {}, 400, "sourceImage"),
        ({"resourceId": "{acr}", "sourceImage": "a:b"}, {"targetTags": []}, 400, "targetTags"),
        ({"resourceId": "{acr}", "sourceImage": "a:b"}, {"mode": "Maybe"}, 400, "mode"),
        ({"resourceId": "{acr}", "sourceImage": "host:1/a:b"}, {}, 400, "without the host"),
        ({"resourceId": "{acr}x", "sourceImage": "a:b"}, {}, 404, "was not found"),
        ({"resourceId": "{acr}", "sourceImage": "no:thing"}, {}, 404, "MANIFEST_UNKNOWN"),
        ({"registryUri": "docker.io", "sourceImage": "library/hello-world"}, {}, 501, "docker.io"),
    ],
)
def test_refusals(cloud: TasksCloud, source: dict[str, str], changes: dict[str, Any], status: int, words: str) -> None:
    acr = cloud.acr("Source01")
    answer = imported(cloud, {key: value.replace("{acr}", acr) for key, value in source.items()}, **changes)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text
    assert Content(cloud, "Target01").digest("copy", "one") is None


@pytest.mark.parametrize("example", IMPORTS, ids=title)
def test_official_examples(cloud: TasksCloud, example: dict[str, Any]) -> None:
    """As they are shown, but for the subscription, the digest and the upper case in repositories, which no registry takes."""
    made, _ = cloud.acr("sourceRegistry", group="sourceResourceGroup"), cloud.acr("myRegistry", group="myResourceGroup")
    digest = Content(cloud, "sourceRegistry").image("sourcerepository", "sourceTag", b"official")
    source = example["body"]["source"]
    if "resourceId" in source:
        image = source["sourceImage"].replace("Repository", "repository").replace("sha256:" + "0" * 64, digest)
        source = source | {"resourceId": made, "sourceImage": image}
    url = re.sub(r"^/subscriptions/[^/]+", cloud.subscription, example["url"])
    targets = json.loads(json.dumps(example["body"]).replace("targetRepository", "targetrepository"))
    body, query = targets | {"source": source}, {"api-version": example["version"]}
    answer = cloud.request(example["method"], url, body, query=query)
    if "PublicRegistry" in example["file"]:  # nothing leaves for Docker Hub
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented")
        return
    assert str(answer.status_code) in example["statuses"]
    assert {name.lower() for name in example["statuses"][str(answer.status_code)]} <= set(answer.headers)
    assert cloud.finish(answer).status_code == 200
    target = Content(cloud, "myRegistry")
    assert target.digest("targetrepository", "targetTag") == target.digest("targetrepository1", digest) == digest


def test_a_purged_workspace_is_told_once(cloud: TasksCloud) -> None:
    from tests.arm.bodies import WORKSPACE, make_dependencies, workspace

    gone: list[str] = []
    cloud.inside(lambda: cloud.service.on_gone(WORKSPACE, lambda properties: gone.append(properties["workspaceId"])))
    make_dependencies(cloud)
    made = cloud.make(WORKSPACE, "ws-1", workspace(cloud))
    cloud.finish(cloud.delete(made["id"]))
    assert gone == []  # soft-deleted: the models stay
    cloud.finish(cloud.delete(made["id"], {"forceToPurge": "true"}))
    assert gone == [made["properties"]["workspaceId"]]
    second = cloud.make(WORKSPACE, "ws-2", workspace(cloud))
    cloud.finish(cloud.delete(second["id"], {"forceToPurge": "true"}))
    assert gone[1:] == [second["properties"]["workspaceId"]]
