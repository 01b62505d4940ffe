"""ACR Tasks quick builds: plain HTTP and the unmodified azure-mgmt-containerregistry, a real engine, a real registry."""

from __future__ import annotations

import io
import json
import re
import ssl
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerregistry import ContainerRegistryManagementClient

from localazure import docker_engine
from localazure.registry.tasks.engine import LABEL
from tests.arm.examples import ALL, paths
from tests.arm.test_sdk import Credential
from tests.registry.tasks_cloud import RUNS, TasksCloud, source
from tests.support import image_names as names_of
from tests.waiting import until
from tools import base_image

pytestmark = pytest.mark.docker

OURS = uuid.uuid4().hex


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return docker_engine.connect(timeout=300)


@pytest.fixture(scope="module")
def base(engine: docker.DockerClient) -> str:
    return base_image.ensure(engine)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TasksCloud]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", "https://user:topsecret@secret.invalid/simple")
        patch.setenv("PIP_TRUSTED_HOST", "secret.invalid other.invalid")
        running = TasksCloud(tmp_path_factory.mktemp("azure"))
        running.start()
        running.make_group()
        yield running
        running.stop()
        running.http.close()


def pull(cloud: TasksCloud, name: str, path: str, **headers: str) -> httpx.Response:
    password = cloud.password(name)
    return httpx.get(
        f"https://{cloud.host(name)}/v2/{path}",
        auth=(name, password),
        verify=cloud_trust(cloud),
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json", **headers},
        timeout=120,
    )


def cloud_trust(cloud: TasksCloud) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cloud.instance.ca))


def image_names(engine: docker.DockerClient, host: str) -> set[str]:
    """What the engine has of one registry."""
    return {name for name in names_of(engine, "RepoTags", "RepoDigests") if name.startswith(f"{host}/")}


def test_the_official_client_builds_and_follows_the_log(
    cloud: TasksCloud, engine: docker.DockerClient, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.instance.ca))
    cloud.acr("Builder1", admin=False)  # ACR Tasks do not need the admin user
    settings: dict[str, Any] = {
        "credential": Credential(cloud),
        "subscription_id": cloud.instance.subscription_id,
        "base_url": cloud.instance.arm_url,
        "credential_scopes": ["https://management.azure.com/.default"],
    }
    dockerfile = f"ARG SECRET\nFROM {base}\nARG PLAIN\nARG HIDDEN\nCOPY hello.txt /hello.txt\nRUN echo $PLAIN $HIDDEN > /args && cat /args"
    with ContainerRegistryManagementClient(**settings, api_version="2019-06-01-preview") as client:
        place = client.registries.get_build_source_upload_url("rg", "Builder1")
        content = source({"hello.txt": "hello", "0f_Dockerfile": dockerfile})
        assert (
            cloud.http.put(place.upload_url, content=content, headers={"x-ms-blob-type": "BlockBlob"}).status_code
            == 201
        )
        request = {
            "type": "DockerBuildRequest",
            "imageNames": ["team/app:v-{{.Run.ID}}", "team/app"],
            "isPushEnabled": True,
            "sourceLocation": place.relative_path,
            "platform": {"os": "linux", "architecture": "amd64"},
            "dockerFilePath": "0f_Dockerfile",
            "arguments": [
                {"name": "PLAIN", "value": "shown"},
                {"name": "HIDDEN", "value": "hush-hush", "isSecret": True},
            ],
        }
        run = client.registries.begin_schedule_run("rg", "Builder1", request).result(120)
        assert (run.name, run.run_id, run.status, run.provisioning_state) == ("cf1", "cf1", "Queued", "Succeeded")
        ended = cloud.ended(cloud.acr("Builder1"), "cf1")  # a whole base image is packed and pushed
        assert ended["status"] == "Succeeded", cloud.log(cloud.acr("Builder1"), "cf1")
        run = client.runs.get("rg", "Builder1", "cf1")
        assert (run.run_type, run.platform.os, run.agent_configuration.cpu) == ("QuickBuild", "linux", 2)
        assert run.create_time <= run.start_time <= run.finish_time
        found = {(image.repository, image.tag) for image in run.output_images}
        assert found == {("team/app", "v-cf1"), ("team/app", "latest")}
        (digest,) = {image.digest for image in run.output_images}
        assert [one.name for one in client.runs.list("rg", "Builder1", filter="Status eq 'Succeeded'")] == ["cf1"]
        assert list(client.runs.list("rg", "Builder1", filter="RunId eq 'cf9'")) == []
        assert (
            client.runs.begin_update("rg", "Builder1", "cf1", {"isArchiveEnabled": True}).result(120).is_archive_enabled
        )
        with pytest.raises(ResourceNotFoundError):
            client.runs.get("rg", "Builder1", "cf2")
        with pytest.raises(HttpResponseError, match="has ended"):
            client.runs.begin_cancel("rg", "Builder1", "cf1").result(120)
        link = client.runs.get_log_sas_url("rg", "Builder1", "cf1").log_link
    head = cloud.http.head(link)
    assert (head.headers["x-ms-meta-complete"], int(head.headers["content-length"]) > 100) == ("successful", True)
    log = cloud.http.get(link).text
    assert log.count("\n") == log.count("\r\n") > 5 and "COPY hello.txt" in log and "shown ***" in log
    assert cloud.http.get(link, headers={"Range": "bytes=4-9"}).text == log[4:10]
    assert not [secret for secret in ("hush-hush", "topsecret") if secret in log]

    cloud.patch(cloud.acr("Builder1"), {"properties": {"adminUserEnabled": True}})
    manifest = pull(cloud, "Builder1", f"team/app/manifests/{digest}").json()
    assert pull(cloud, "Builder1", "team/app/tags/list").json()["tags"] == ["latest", "v-cf1"]
    configuration = pull(cloud, "Builder1", f"team/app/blobs/{manifest['config']['digest']}", Accept="*/*").text
    history = [entry.get("created_by", "") for entry in json.loads(configuration)["history"]]
    assert not [mark for mark in ("secret.invalid", "PIP_INDEX_URL", LABEL) if mark in configuration]
    assert any(words.startswith("|2 HIDDEN=hush-hush PLAIN=shown /bin/sh -c echo") for words in history), history
    assert image_names(engine, cloud.host("Builder1")) == set()

    # What was pushed is an image that runs, though its configuration was written anew.
    reference, login = f"{cloud.host('Builder1')}/team/app@{digest}", cloud.password("Builder1")
    image = engine.images.pull(reference, auth_config={"username": "Builder1", "password": login})
    try:
        output = engine.containers.run(str(image.id), ["cat", "/hello.txt", "/args"], remove=True, network_mode="none")
        assert output == b"helloshown hush-hush\n"
    finally:
        engine.images.remove(reference)


def test_images_without_a_step_that_runs(cloud: TasksCloud) -> None:
    acr = cloud.acr("Plain01")
    location = cloud.upload(acr, {"Dockerfile": "FROM scratch\nCOPY a /a", "a": "b"})
    run = cloud.schedule(acr, location).json()["name"]
    ended = cloud.ended(acr, run)
    assert ended["status"] == "Succeeded", cloud.log(acr, run)
    (output,) = ended["outputImages"]
    assert output == {
        "registry": cloud.host("Plain01"),
        "repository": "app",
        "tag": "one",
        "digest": pull(cloud, "Plain01", "app/manifests/one").headers["docker-content-digest"],
    }
    usage = cloud.get(f"{acr}/listUsages").json()["value"]
    assert {one["name"]: one["unit"] for one in usage} == {"Size": "Bytes", "Webhooks": "Count"}
    assert 10 * 2**30 == usage[0]["limit"] > usage[0]["currentValue"] > 100

    # Built, not pushed; and from an image that is in this registry only: the run's own login opens it.
    chained = cloud.upload(acr, {"Dockerfile": f"FROM {cloud.host('Plain01')}/app:one\nCOPY c /c", "c": "d"})
    run = cloud.schedule(acr, chained, isPushEnabled=False, imageNames=["other:x"]).json()["name"]
    ended = cloud.ended(acr, run)
    assert (ended["status"], ended.get("outputImages")) == ("Succeeded", []), cloud.log(acr, run)
    assert pull(cloud, "Plain01", "other/manifests/x").status_code == 404
    none: dict[str, Any] = {"credentials": {"sourceRegistry": {"loginMode": "None"}}}
    docker_engine.connect().images.remove(f"{cloud.host('Plain01')}/app:one")
    run = cloud.schedule(acr, chained, isPushEnabled=False, **none).json()["name"]
    assert cloud.ended(acr, run)["status"] == "Failed"


def pushed(cloud: TasksCloud, engine: docker.DockerClient, name: str, tag: str, platform: str) -> str:
    """A tiny image for a platform, by digest; nothing of it stays on the engine."""
    place, login = f"{cloud.host(name)}/{tag}", {"username": name, "password": cloud.password(name)}
    content = io.BytesIO(source({"Dockerfile": f"FROM scratch\nCOPY a /{uuid.uuid4().hex}", "a": "a"}))
    built: dict[str, Any] = {"custom_context": True, "encoding": "gzip", "platform": platform, "tag": f"{place}:one"}
    list(engine.api.build(fileobj=content, decode=True, **built))
    try:
        for event in engine.api.push(place, "one", stream=True, decode=True, auth_config=login):
            assert "error" not in event, event
    finally:
        engine.api.remove_image(f"{place}:one")
    return f"{place}@{pull(cloud, name, f'{tag}/manifests/one').headers['docker-content-digest']}"


def test_an_image_for_another_platform(cloud: TasksCloud, engine: docker.DockerClient, base: str) -> None:
    acr, arm = cloud.acr("Plain01"), {"os": "Linux", "architecture": "arm64", "variant": "v8"}
    stone = pushed(cloud, engine, "Plain01", "stone", "linux/arm64")
    location = cloud.upload(acr, {"Dockerfile": f"FROM {stone}\nCOPY a /a", "a": "for arm"})
    names = ["app:{{.Run.OS}}-{{.Run.Architecture}}"]
    run = cloud.schedule(acr, location, platform=arm, imageNames=names).json()["name"]
    ended = cloud.ended(acr, run)
    assert ended["status"] == "Succeeded", cloud.log(acr, run)
    assert ended["platform"] == arm | {"os": "linux"}
    manifest = pull(cloud, "Plain01", "app/manifests/linux-arm64").json()
    made = pull(cloud, "Plain01", f"app/blobs/{manifest['config']['digest']}").json()
    assert (made["os"], made["architecture"]) == ("linux", "arm64")
    # The engine has the base image for its own platform only and may take it all the same; ACR does not.
    other = cloud.upload(acr, {"Dockerfile": f"FROM --platform=linux/amd64 {base}\nCOPY a /a", "a": "b"})
    run = cloud.schedule(acr, other, platform=arm).json()["name"]
    ended = cloud.ended(acr, run)
    words = "does not match the specified platform: wanted linux/arm64, actual: linux/amd64"
    assert (ended["status"], words in ended["runErrorMessage"]) == ("Failed", True), ended


def test_official_examples(cloud: TasksCloud, base: str) -> None:
    """The requests as they are shown, in the order in which a build needs them; only the source is our own."""
    examples = {
        one["file"].split("__")[3].removesuffix(".json"): one for one in ALL if one["file"].startswith("acrbuild")
    }
    acr = cloud.acr("myRegistry", group="myResourceGroup")

    def ask(name: str, run: str = "", **changes: Any) -> httpx.Response:
        example = examples[name]
        url = re.sub(r"^/subscriptions/[^/]+", cloud.subscription, example["url"])
        url = re.sub(r"/runs/[0-9a-f-]{36}", f"/runs/{run}", url)
        query = {"api-version": example["version"]} | example.get("query", {})
        body = example["body"] | changes if "body" in example else None
        return cloud.request(example["method"], url, body, query=query)

    def answered(name: str, run: str = "", **changes: Any) -> dict[str, Any]:
        answer = ask(name, run, **changes)
        assert str(answer.status_code) in examples[name]["statuses"], answer.text
        # of builds that a trigger began, of tasks, of Windows' logs kept as artifacts
        triggered = re.compile(r"imageUpdateTrigger|\.task$|logArtifact")
        body = answer.json() if answer.content else {}
        assert {key for key in examples[name]["keys"] if not triggered.search(key)} <= paths(body)
        return dict(body)

    answered("RegistriesGetBuildSourceUploadUrl")
    location = cloud.upload(acr, {"DockerFile": "FROM scratch AS stage1\nCOPY a /a", "a": "b"})
    run = answered("RegistriesScheduleRun_WithCustomCredentials", sourceLocation=location)["name"]
    ended = cloud.ended(acr, run)
    assert ended["status"] == "Succeeded", cloud.log(acr, run)
    answered("RunsGet", run)
    answered("RunsList")
    assert "mysecrettestvalue" not in cloud.http.get(answered("RunsGetLogSasUrl", run)["logLink"]).text
    second = begun(cloud, acr, base)  # one that cannot end by itself before it is cancelled
    answered("RunsCancel", second)
    assert cloud.ended(acr, second)["status"] == "Canceled"
    for other in ("RegistriesScheduleRun_Task", "RegistriesScheduleRun_FileTask_WithCustomCredentials"):
        assert ask(other).status_code == 501


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "scheduleRun"), ("GET", "runs"), ("GET", "runs/cf1"), ("POST", "runs/cf1/cancel")]
)
def test_a_registry_cannot_be_called_providers(cloud: TasksCloud, method: str, path: str) -> None:
    """The word begins the next provider's part of a path."""
    url = f"{cloud.group_id()}/providers/Microsoft.ContainerRegistry/registries/providers/{path}"
    assert cloud.request(method, url).status_code == 501


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"Dockerfile": "FROM 127.0.0.1:9/no/such:image\n"}, "127.0.0.1:9"),
        ({"Dockerfile": "FROM scratch\nCOPY missing /\n"}, "missing"),
        ({"other": ""}, "failed to read dockerfile: open Dockerfile"),
        (None, "the blob does not exist"),
    ],
)
def test_a_failed_run_says_why_and_pushes_nothing(cloud: TasksCloud, files: dict[str, str] | None, words: str) -> None:
    acr = cloud.acr("Fails001")
    location = cloud.upload(acr, files) if files else f"source/202601010000/{'0' * 32}.tar.gz"
    run = cloud.schedule(acr, location).json()["name"]
    ended = cloud.ended(acr, run)
    assert ended["status"] == "Failed" and words in ended["runErrorMessage"]
    assert words in cloud.log(acr, run)
    link = cloud.post(f"{acr}/runs/{run}/listLogSasUrl").json()["logLink"]
    assert cloud.http.head(link).headers["x-ms-meta-complete"] == "failed"
    assert pull(cloud, "Fails001", "app/manifests/one").status_code == 404


def test_hostile_sources_are_refused(cloud: TasksCloud) -> None:
    acr = cloud.acr("Fails001")
    outside, device = tarfile.TarInfo("../evil"), tarfile.TarInfo("null")
    device.type = tarfile.CHRTYPE
    for member, words in ((outside, "leads out of the build context"), (device, "neither file, folder nor link")):
        run = cloud.schedule(acr, cloud.upload(acr, {"Dockerfile": "FROM scratch"}, member)).json()["name"]
        assert words in cloud.ended(acr, run)["runErrorMessage"]
    place = cloud.post(f"{acr}/listBuildSourceUploadUrl").json()
    cloud.http.put(place["uploadUrl"], content=b"no tarball", headers={"x-ms-blob-type": "BlockBlob"})
    run = cloud.schedule(acr, place["relativePath"]).json()["name"]
    assert "must be a tar.gz" in cloud.ended(acr, run)["runErrorMessage"]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"type": "FileTaskRunRequest"}, 501, "only DockerBuildRequest"),
        ({"type": None}, 400, "'type'"),
        ({"dockerFilePath": None}, 400, "dockerFilePath"),
        ({"platform": None}, 400, "platform"),
        ({"platform": {"os": "Windows"}}, 501, "only Linux"),
        ({"platform": {"os": "Plan9"}}, 400, "Plan9"),
        ({"platform": {"os": "Linux", "architecture": "arm", "variant": "v7"}}, 501, "Linux/arm/v7"),
        ({"platform": {"os": "Linux", "architecture": "amd64", "variant": "v8"}}, 501, "only Linux/amd64 and"),
        ({"timeout": 299}, 400, "timeout"),
        ({"sourceLocation": "https://github.com/a/b.git"}, 501, "relativePath"),
        ({"imageNames": ["other.azurecr.io/app:1"]}, 400, "without the host"),
        ({"imageNames": ["app:{{.Run.Commit}}"]}, 400, ".Run.Commit"),
    ],
)
def test_requests_that_are_refused(cloud: TasksCloud, changes: dict[str, Any], status: int, words: str) -> None:
    acr = cloud.acr("Fails001")
    answer = cloud.schedule(acr, f"source/202601010000/{'0' * 32}.tar.gz", **changes)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text


def slow(base: str) -> dict[str, str]:
    return {"Dockerfile": f"FROM {base}\nRUN echo begun && sleep 3600 && : {OURS}\n"}


def begun(cloud: TasksCloud, acr: str, base: str) -> str:
    """A run whose step is under way."""
    run = str(cloud.schedule(acr, cloud.upload(acr, slow(base))).json()["name"])
    until(lambda: "begun\r\n" in cloud.log(acr, run))
    return run


@pytest.fixture(autouse=True)
def nothing_stays(engine: docker.DockerClient, cloud: TasksCloud) -> Iterator[None]:
    """No layer of a build of ours is left on the engine (others build there too), however the build ended."""
    yield

    def left() -> list[str]:
        images = engine.api.images(all=True, filters={"label": LABEL})
        return [image["Id"] for image in images if str(image["Labels"][LABEL]).startswith(cloud.tasks.owner)]

    until(lambda: not left())


def working(engine: docker.DockerClient, base: str) -> bool:
    """Whether the step of `slow(base)` runs. The command is the test run's own: others build with this engine too."""
    steps = engine.containers.list(ignore_removed=True)
    return any(
        slow(base)["Dockerfile"].splitlines()[1].removeprefix("RUN ") in str(step.attrs["Args"]) for step in steps
    )


def test_cancel_ends_the_build_on_the_engine(cloud: TasksCloud, engine: docker.DockerClient, base: str) -> None:
    acr = cloud.acr("Cancel01")
    run = begun(cloud, acr, base)
    until(lambda: working(engine, base))  # the engine lists it a moment after it has spoken
    assert cloud.request("POST", f"{acr}/runs/{run}/cancel", query=RUNS).status_code == 200
    assert cloud.ended(acr, run)["status"] == "Canceled"
    link = cloud.post(f"{acr}/runs/{run}/listLogSasUrl").json()["logLink"]
    assert cloud.http.head(link).headers["x-ms-meta-complete"] == "canceled"
    until(lambda: not working(engine, base))


def test_deleting_the_registry_ends_its_builds(cloud: TasksCloud, engine: docker.DockerClient, base: str) -> None:
    acr = cloud.acr("Doomed01")
    begun(cloud, acr, base)
    link = cloud.post(f"{acr}/runs/cf1/listLogSasUrl").json()["logLink"]
    until(lambda: working(engine, base))  # the engine lists it a moment after it has spoken
    assert cloud.finish(cloud.delete(acr)).status_code == 200
    until(lambda: not working(engine, base))
    assert cloud.http.get(link).status_code == 404
    assert cloud.request("GET", f"{acr}/runs/cf1", query=RUNS).status_code == 404


def test_a_run_that_a_restart_interrupts_is_built_again(tmp_path: Path, base: str) -> None:
    running = TasksCloud(tmp_path / "azure")
    running.start()
    try:
        running.make_group()
        acr = running.acr("Again001")
        run = begun(running, acr, base)
        running.stop()
        running.start()
        assert running.run(acr, run)["status"] in ("Queued", "Started", "Running")
        until(lambda: "building again" in running.log(acr, run))
        running.request("POST", f"{acr}/runs/{run}/cancel", query=RUNS)
        assert running.ended(acr, run)["status"] == "Canceled"
        assert running.schedule(acr, running.upload(acr, {"Dockerfile": "FROM no/such"})).json()["name"] == "cf2"
    finally:
        running.stop()
        running.http.close()
