"""The wire: who is let in, what blob storage and model management refuse, what survives a restart."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ml.stack import REGISTRY, Stack

BLOCK = {"x-ms-blob-type": "BlockBlob"}


def ticket(stack: Stack, workspace: str, path: str = "model.pkl", container: str = "c") -> str:
    """The contentUri of a new artifact, without the user name in front of its host."""
    url = f"/artifact/v2.0{workspace}/artifacts/batch/metadata/LocalUpload/{container}"
    with stack.authorised() as http:
        answer = http.post(url, json={"paths": [{"path": path}]}).json()
    uri = answer["artifactContentInformation"][path]["contentUri"]
    assert uri.startswith(f"https://mlroomstorage.blob.x@{stack.instance.address}:20443/azureml/")
    assert answer["artifacts"][path]["artifactId"] == f"LocalUpload/{container}/{path}"
    return str(uri).replace("mlroomstorage.blob.x@", "")


def test_only_tokens_for_arm_of_this_instance_open_a_workspace(stack: Stack) -> None:
    models = f"/modelmanagement/v1.0{stack.add_workspace('doors')}/models"
    with stack.http() as http:
        for header in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}):
            answer = http.get(models, headers=header)
            assert (answer.status_code, answer.json()["statusCode"]) == (401, 401)
        expired = stack.tokens.issue("https://management.azure.com/", lifetime=-10)
        answer = http.get(models, headers={"Authorization": f"Bearer {expired}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "ExpiredAuthenticationToken")
        assert http.get(f"/discovery/workspaces/{'0' * 32}").status_code == 200  # no authentication here
        assert http.get("/discovery/workspaces/x").status_code == 404
    for audience, status in (
        ("https://vault.azure.net", 401),
        (stack.instance.arm_url, 200),
        ("https://ml.azure.com", 200),
    ):
        with stack.authorised(audience) as http:
            assert http.get(models).status_code == status


def test_a_workspace_that_arm_does_not_know_is_gone_and_a_new_one_is_empty(stack: Stack) -> None:
    workspace = stack.add_workspace("reborn")
    with stack.authorised() as http:
        http.post(f"/modelmanagement/v1.0{workspace}/assets", json={"name": "m", "artifacts": [{"prefix": "a/b/c"}]})
        register(http, workspace)
        assert len(models(http, workspace)) == 1
        deleted = stack.resources.pop(workspace.lower())
        answer = http.get(f"/modelmanagement/v1.0{workspace}/models")
        assert (answer.status_code, answer.json()["code"]) == (404, "WorkspaceNotFound")
        answer = http.get(f"/artifact/v2.0{workspace}/artifacts/contentinfo/a/b/c")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "WorkspaceNotFound")
        stack.resources[workspace.lower()] = deleted  # recovered: a soft-deleted workspace keeps its models
        assert len(models(http, workspace)) == 1
        stack.add_workspace("reborn")  # purged and made anew
        assert models(http, workspace) == []


def register(http: httpx.Client, workspace: str, **changes: Any) -> httpx.Response:
    root = f"/modelmanagement/v1.0{workspace}"
    asset = http.post(f"{root}/assets", json={"name": "m", "artifacts": [{"prefix": "LocalUpload/c/m"}]}).json()
    body = {"name": "m", "url": f"aml://asset/{asset['id']}", "mimeType": "application/json", **changes}
    return http.post(f"{root}/models", json=body)


def models(http: httpx.Client, workspace: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/modelmanagement/v1.0{workspace}/models", params=query).json()["value"]
    return found


def test_blobs_are_put_and_read_by_their_signature(stack: Stack) -> None:
    uri = ticket(stack, stack.add_workspace("blobs"))
    with stack.http() as http:
        assert http.get(uri).status_code == 404
        put = http.put(uri, content=b"0123456789", headers=BLOCK)
        assert put.status_code == 201
        assert put.headers["content-md5"] == base64.b64encode(hashlib.md5(b"0123456789").digest()).decode()
        head = http.head(uri)
        assert (head.headers["content-length"], head.headers["x-ms-blob-type"]) == ("10", "BlockBlob")
        assert http.get(uri).content == b"0123456789"
        for header, content, shown in (
            ("bytes=2-4", b"234", "2-4"),
            ("bytes=7-", b"789", "7-9"),
            ("bytes=0-99", b"0123456789", "0-9"),
        ):
            part = http.get(uri, headers={"x-ms-range": header})
            assert (part.status_code, part.content, part.headers["content-range"]) == (
                206,
                content,
                f"bytes {shown}/10",
            )
        assert http.get(uri, headers={"Range": "bytes=10-"}).status_code == 416
        assert http.put(uri, content=b"x", headers={**BLOCK, "If-None-Match": "*"}).status_code == 409
        assert http.put(uri, content=b"x").status_code == 400
        assert (
            http.put(uri, content=b"x", headers={**BLOCK, "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}).status_code == 400
        )
        assert http.put(uri, content=iter([b"x"]), headers=BLOCK).status_code == 411
        assert http.get(uri).content == b"0123456789"
        assert http.put(uri, content=b"new", headers=BLOCK).status_code == 201
        assert http.get(uri).content == b"new"
        empty = http.put(uri, content=b"", headers=BLOCK)
        assert (empty.status_code, http.get(uri).content) == (201, b"")
        assert http.delete(uri).status_code == 501


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sp=rcw", "sp=rw"),
        ("sig=", "sig=A"),
        ("se=2", "se=3"),
        ("/c/model.pkl", "/c/other.pkl"),
        ("sr=b", "sr=c"),
        ("sv=2019", "sv=2020"),
    ],
)
def test_a_signature_fits_one_blob_its_rights_and_its_time(stack: Stack, old: str, new: str) -> None:
    uri = ticket(stack, stack.add_workspace("signatures"))
    assert old in uri
    with stack.http() as http:
        assert http.put(uri, content=b"x", headers=BLOCK).status_code == 201
        forged = http.get(uri.replace(old, new))
        assert (forged.status_code, forged.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


def test_reading_does_not_grant_writing_and_workspaces_are_apart(stack: Stack) -> None:
    workspace, other = stack.add_workspace("one"), stack.add_workspace("two")
    uri = ticket(stack, workspace)
    with stack.http() as http, stack.authorised() as arm:
        http.put(uri, content=b"x", headers=BLOCK)
        info = f"/artifact/v2.0{workspace}/artifacts/contentinfo/LocalUpload/c/model.pkl"
        read = arm.get(info).json()["contentUri"].replace("mlroomstorage.blob.x@", "")
        assert http.get(read).content == b"x"
        denied = http.put(read, content=b"y", headers=BLOCK)
        assert (denied.status_code, denied.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
        ids = [stack.resources[identity.lower()]["properties"]["workspaceId"] for identity in (workspace, other)]
        assert http.get(read.replace(*ids)).status_code == 403
        assert arm.get(info.replace("/one/", "/two/")).status_code == 404


def test_signatures_expire(stack: Stack) -> None:
    from datetime import timedelta

    from localazure.storage.sas import Signer

    signer = Signer(stack.instance)
    with stack.http() as http:
        query = signer.query("azureml", "w", "b", "r", timedelta(seconds=-1))
        answer = http.get(f"/azureml/w/b?{query}")
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
        assert (
            http.get(f"/azureml/w/b?{signer.query('azureml', 'w', 'b', 'r', timedelta(seconds=60))}").status_code == 404
        )


def test_blocks(stack: Stack) -> None:
    uri = ticket(stack, stack.add_workspace("blocks"))
    names = [base64.b64encode(f"{number:032}".encode()).decode() for number in range(3)]

    def block(http: httpx.Client, name: str, content: bytes) -> int:
        return http.put(
            f"{uri}&comp=block", params={**httpx.URL(uri).params, "comp": "block", "blockid": name}, content=content
        ).status_code

    def commit(http: httpx.Client, body: str) -> httpx.Response:
        return http.put(
            f"{uri}&comp=blocklist", content=f'<?xml version="1.0" encoding="utf-8"?><BlockList>{body}</BlockList>'
        )

    with stack.http() as http:
        assert [block(http, name, name.encode()) for name in names] == [201, 201, 201]
        assert block(http, names[1], b"again") == 201
        assert http.get(uri).status_code == 404
        missing = commit(http, "<Latest>bm8=</Latest>")
        assert (missing.status_code, missing.headers["x-ms-error-code"]) == (400, "InvalidBlockList")
        assert commit(http, f"<Latest>{names[2]}</Latest><Uncommitted>{names[1]}</Uncommitted>").status_code == 201
        assert http.get(uri).content == names[2].encode() + b"again"
        assert commit(http, f"<Latest>{names[0]}</Latest>").status_code == 400  # blocks are gone with the commit
        assert commit(http, "<Committed>bm8=</Committed>").status_code == 501
        for hostile in ("<!DOCTYPE x [<!ENTITY a 'b'>]><BlockList/>", "<BlockList>", "", "\0"):
            assert http.put(f"{uri}&comp=blocklist", content=hostile).status_code == 400
        assert block(http, "not base64!", b"x") == 400
        assert http.put(f"{uri}&comp=metadata", content=b"").status_code == 501


def test_uploads_are_limited_and_what_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    stack = Stack(tmp_path, max_blob_bytes=1000)
    try:
        workspace = stack.add_workspace("small")
        uri = ticket(stack, workspace)
        with stack.http() as http:
            assert http.put(uri, content=b"x" * 1001, headers=BLOCK).status_code == 413
            name = {**httpx.URL(uri).params, "comp": "block"}
            assert http.put(uri, params={**name, "blockid": "YQ=="}, content=b"x" * 600).status_code == 201
            assert http.put(uri, params={**name, "blockid": "Yg=="}, content=b"x" * 600).status_code == 413
        target = httpx.URL(uri)
        with socket.create_connection((stack.instance.address, 20443)) as plain:
            context = ssl.create_default_context(cafile=stack.instance.ca)
            with context.wrap_socket(plain, server_hostname=stack.instance.address) as tls:
                path = target.raw_path.decode()
                tls.sendall(
                    f"PUT {path} HTTP/1.1\r\nHost: x\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: 900\r\n\r\nhalf".encode()
                )
                time.sleep(0.3)
        deadline = time.monotonic() + 120
        while len(files := [path for path in stack.instance.blobs.rglob("*") if path.is_file()]) != 1:
            assert time.monotonic() < deadline, files
            time.sleep(0.05)
    finally:
        stack.close()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//b", "a/./b", "..", "a\\b", "a\0b", ""])
def test_artifact_paths_stay_below_their_container(stack: Stack, path: str) -> None:
    workspace = stack.add_workspace("paths")
    with stack.authorised() as http:
        url = f"/artifact/v2.0{workspace}/artifacts/batch/metadata/LocalUpload/c"
        answer = http.post(url, json={"paths": [{"path": path}]})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


def test_a_prefix_is_a_file_or_a_folder_never_a_beginning(stack: Stack) -> None:
    workspace = stack.add_workspace("prefixes")
    for path in ("m", "mm", "m.txt", "d/a", "d/b/c", "dd/a", "é ü%20/x#?"):
        ticket(stack, workspace, path)
    with stack.authorised() as http:

        def below(prefix: str) -> list[str]:
            answer = http.get(f"/artifact/v2.0{workspace}/artifacts/prefix/contentinfo/LocalUpload/c/{prefix}").json()
            return [entry["path"] for entry in answer["value"]]

        assert below("m") == ["m"]
        assert below("d") == below("d/") == ["d/a", "d/b/c"]
        assert below("nothing") == []
    with stack.http() as plain:
        strange = ticket(stack, workspace, "é ü%20/x#?")
        assert plain.put(strange, content=b"1", headers=BLOCK).status_code == 201
        assert plain.get(strange).content == b"1"


def test_what_is_no_model_is_refused(stack: Stack) -> None:
    workspace = stack.add_workspace("refusals")
    root = f"/modelmanagement/v1.0{workspace}"
    with stack.authorised() as http:
        changes: list[dict[str, Any]] = [
            {"name": "-x"}, {"name": "x" * 256}, {"name": 1}, {"url": "aml://asset/none"}, {"url": "x"}, {"mimeType": ""},
            {"kvTags": {"a": 1}}, {"kvTags": ["a"]}, {"unpack": {}},
        ]  # fmt: skip
        for change in changes:
            answer = register(http, workspace, **change)
            assert (answer.status_code, answer.json()["code"]) == (400, "BadArgument"), change
        for content in (b"", b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"):
            assert http.post(f"{root}/models", content=content).status_code == 400
        assert http.post(f"{root}/models", content=b'{"name": "' + b"x" * 2**23 + b'"}').status_code == 413
        assert models(http, workspace) == []
        for query in ({"count": "x"}, {"count": "0"}, {"count": "256"}, {"$skipToken": "-1"}, {"orderBy": "name"}):
            assert http.get(f"{root}/models", params=query).status_code == 400, query
        for identity in ("m", "m:", "m:x", "m:1", ":1", "m:99999999999999999999", "%2e%2e:1"):
            answer = http.get(f"{root}/models/{identity}")
            assert (answer.status_code, answer.json()["code"]) == (404, "ModelNotFound"), identity
        assert http.delete(f"{root}/models/m:1").status_code == 404


def test_a_patch_changes_what_may_change(stack: Stack) -> None:
    workspace = stack.add_workspace("patches")
    with stack.authorised() as http:
        model = register(http, workspace, kvTags={"a": "1"}, properties={"p": "1"}).json()
        url = f"/modelmanagement/v1.0{workspace}/models/{model['id']}"

        def patch(*operations: Any) -> int:
            return http.patch(
                url, json=list(operations), headers={"Content-Type": "application/json-patch+json"}
            ).status_code

        assert patch({"op": "add", "path": "/kvTags/b~1c", "value": "2"}, {"op": "remove", "path": "/kvTags/a"}) == 200
        assert patch({"op": "add", "path": "/properties", "value": {"p": "1", "q": "2"}}) == 200
        assert patch({"op": "replace", "path": "/description", "value": "text"}) == 200
        before = http.get(url).json()
        assert (before["kvTags"], before["properties"], before["description"]) == (
            {"b/c": "2"},
            {"p": "1", "q": "2"},
            "text",
        )
        for refused in (
            {"op": "replace", "path": "/properties", "value": {"p": "other", "q": "2"}},
            {"op": "remove", "path": "/properties/p"},
            {"op": "remove", "path": "/properties"},
            {"op": "replace", "path": "/kvTags", "value": {"a": 1}},
            {"op": "replace", "path": "/kvTags", "value": None},
            {"op": "replace", "path": "/description", "value": 1},
            {"op": "replace", "path": "/datasets", "value": "x"},
            {"op": "replace", "path": "/name", "value": "x"},
            {"op": "replace", "path": "/url", "value": "x"},
            {"op": "remove", "path": "/kvTags/missing"},
            {"op": "move", "path": "/kvTags", "from": "/properties"},
            {"op": "replace", "path": "", "value": {}},
            {"op": "add", "path": "/description/x", "value": "x"},
            {},
            "x",
        ):  # fmt: skip
            assert patch({"op": "replace", "path": "/kvTags", "value": {}}, refused) == 400, refused
        assert http.get(url).json() == before


def test_what_nobody_needed_yet_says_its_name(stack: Stack) -> None:
    workspace = stack.add_workspace("later")
    root = f"/modelmanagement/v1.0{workspace}"
    with stack.authorised() as http:
        for method, path in (("GET", "/packages"), ("GET", "/services"), ("PUT", "/models"), ("DELETE", "/assets/x")):
            answer = http.request(method, root + path)
            assert answer.status_code == 501
            assert path.removesuffix("/x").strip("/") in answer.json()["message"]


def test_packages_without_an_environment(stack: Stack) -> None:
    root = f"/modelmanagement/v1.0{stack.add_workspace('packages')}"
    request = {"driverProgram": "d", "assets": [{"id": "d", "url": "aml://artifact/a/b/c", "mimeType": "x"}]}
    with stack.authorised() as http:
        answer = http.post(f"{root}/packages", json={"imageRequest": request, "packageType": "DockerImage"})
        assert (answer.status_code, "no-code deployment" in answer.json()["message"]) == (501, True)
        assert http.post(f"{root}/packages", json={"packageType": "DockerImage"}).status_code == 400


def image(**changes: Any) -> dict[str, Any]:
    return {
        "name": "image",
        "imageType": "Docker",
        "imageFlavor": "WebApiContainer",
        "driverProgram": "driver",
        "assets": [{"id": "driver", "url": "aml://artifact/LocalUpload/c/main.py", "mimeType": "application/x-python"}],
        "targetRuntime": {"runtimeType": "Python", "targetArchitecture": "amd64", "properties": {}},
        "modelIds": [],
        **changes,
    }


def test_what_is_no_image_is_refused(stack: Stack) -> None:
    root = f"/modelmanagement/v1.0{stack.add_workspace('noimages', registry=False)}"
    runtime = image()["targetRuntime"]
    with stack.authorised() as http:
        changes: list[tuple[dict[str, Any], int]] = [
            ({"name": "Im"}, 400), ({"name": "Image"}, 400), ({"name": "x" * 33}, 400), ({"name": "-abc"}, 400),
            ({"driverProgram": "other"}, 400), ({"assets": []}, 400), ({"targetRuntime": None}, 400),
            ({"modelIds": ["none:1"]}, 404), ({"imageFlavor": "AccelContainer"}, 501), ({"baseImage": "x"}, 501),
            ({"targetRuntime": {**runtime, "runtimeType": "SparkPython"}}, 501),
            ({"targetRuntime": {**runtime, "targetArchitecture": "arm32v7"}}, 501),
            ({"targetRuntime": {**runtime, "properties": {"installCuda": True}}}, 501),
        ]  # fmt: skip
        for change, status in changes:
            assert http.post(f"{root}/images", json=image(**change)).status_code == status, change
        assert http.get(f"{root}/images").json() == {"value": []}
        assert http.get(f"{root}/operations/none").status_code == 404


def test_a_failed_image_is_known_after_a_restart_and_an_endless_build_is_given_up(stack: Stack) -> None:
    root = f"/modelmanagement/v1.0{stack.add_workspace('survivors', registry=False)}"
    with stack.authorised() as http:
        created = http.post(f"{root}/images", json=image())
        assert created.status_code == 202
        operation = created.headers["Operation-Location"]
        failed = finished(http, operation)
        assert (failed["state"], failed["error"]["statusCode"]) == ("Failed", 400)
        assert "no container registry" in failed["error"]["message"]
        stack.restart()
        assert http.get(operation).json()["error"] == failed["error"]
        state = http.get(f"{root}/images/image:1").json()
        assert (state["creationState"], state["imageLocation"]) == ("Failed", None)

        stack.inside(
            stack.store.execute,
            "UPDATE ml_operations SET state = 'Running', attempts = 3, body = json_set(body, '$.state', 'Running')",
        )
        stack.restart()
        given_up = finished(http, operation)
        assert "interrupted 3 times" in given_up["error"]["message"]
        assert http.delete(f"{root}/images/image:1").status_code == 200
        assert http.post(f"{root}/images", json=image()).status_code == 202
        assert http.get(f"{root}/images").json()["value"][0]["id"] == "image:2"  # versions are never given twice


def test_without_docker_images_fail_and_say_so(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    workspace = stack.add_workspace("nodocker")
    registry = stack.resources[workspace.lower()]["properties"]["containerRegistry"]
    stack.resources[registry.lower()] = {"name": REGISTRY, "properties": {"loginServer": "127.0.0.1:1"}}
    root = f"/modelmanagement/v1.0{workspace}"
    with stack.authorised() as http:
        unknown = finished(http, http.post(f"{root}/images", json=image()).headers["Operation-Location"])
        assert "LocalUpload/c/main.py is not an artifact that was uploaded" in unknown["error"]["message"]
        assert (
            http.put(ticket(stack, workspace, "main.py"), content=b"def init(): pass", headers=BLOCK).status_code == 201
        )
        operation = finished(http, http.post(f"{root}/images", json=image()).headers["Operation-Location"])
        assert "the Docker engine that DOCKER_HOST names does not answer" in operation["error"]["message"]
        assert "the Docker engine" in http.get(operation["operationLog"]).text


def finished(http: httpx.Client, operation: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (body := http.get(operation).json())["state"] not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return dict(body)


def test_a_start_sweeps_what_a_kill_left(stack: Stack) -> None:
    workspace = stack.add_workspace("swept")
    uri = ticket(stack, workspace)
    with stack.http() as http:
        http.put(uri, content=b"kept", headers=BLOCK)
        key = stack.resources[workspace.lower()]["properties"]["workspaceId"]
        orphan = stack.instance.blobs / key / "half-written"
        orphan.write_bytes(b"x")
        stack.restart()
        assert not orphan.exists()
        assert http.get(uri).content == b"kept"
        stack.inside(stack.service.forget, key)
        assert http.get(uri).status_code == 404
        assert not (stack.instance.blobs / key).exists()
