"""The distribution API behind the gateway, request by request as Azure's description of it (2021-07-01) lists them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urljoin

import httpx

from tests.registry.support import NAME, Setting, push_image, with_registry

KIND = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_uploads(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        auth = (NAME, setting.registries.passwords(NAME)[0])

        async def ask(method: str, path: str, **more: object) -> httpx.Response:
            return await setting.client.request(method, urljoin(setting.url, path), auth=auth, **more)  # type: ignore[arg-type]

        begun = await ask("POST", "/v2/team/app/blobs/uploads/")
        assert begun.status_code == 202
        assert begun.headers["docker-upload-uuid"]
        assert begun.headers["location"].startswith("/v2/team/app/blobs/uploads/")
        part = await ask("PATCH", begun.headers["location"], content=b"first ")
        assert (part.status_code, part.headers["range"]) == (202, "0-5")
        asked = await ask("GET", part.headers["location"])
        assert (asked.status_code, asked.headers["range"]) == (204, "0-5")
        part = await ask("PATCH", part.headers["location"], content=b"second")
        assert (part.status_code, part.headers["range"]) == (202, "0-11")
        content = b"first second"
        wrong = await ask("PUT", str(httpx.URL(part.headers["location"]).copy_add_param("digest", digest_of(b"x"))))
        assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")

        begun = await ask("POST", "/v2/team/app/blobs/uploads/")
        place = httpx.URL(urljoin(setting.url, begun.headers["location"])).copy_add_param("digest", digest_of(content))
        done = await ask("PUT", str(place), content=content)
        assert (done.status_code, done.headers["docker-content-digest"]) == (201, digest_of(content))
        blob = f"/v2/team/app/blobs/{digest_of(content)}"
        head = await ask("HEAD", blob)
        assert (head.status_code, head.headers["content-length"]) == (200, "12")
        assert (await ask("GET", blob)).content == content
        ranged = await ask("GET", blob, headers={"Range": "bytes=6-"})
        assert (ranged.status_code, ranged.content) == (206, b"second")

        mounted = await ask("POST", f"/v2/other/blobs/uploads/?mount={digest_of(content)}&from=team/app")
        assert (mounted.status_code, mounted.headers["docker-content-digest"]) == (201, digest_of(content))
        abandoned = await ask("POST", "/v2/team/app/blobs/uploads/")
        assert (await ask("DELETE", abandoned.headers["location"])).status_code == 204
        assert (await ask("GET", abandoned.headers["location"])).status_code == 404
        assert (await ask("DELETE", blob)).status_code == 202
        assert (await ask("HEAD", blob)).status_code == 404

    with_registry(tmp_path / "azure", body)


def test_manifests_and_lists(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        auth = (NAME, setting.registries.passwords(NAME)[0])
        digest = await push_image(setting, "team/app", "one", auth)
        for repository in ("alpha", "zeta"):
            await push_image(setting, repository, "one", auth)
        accept = {"Accept": KIND}

        async def ask(method: str, path: str, **more: object) -> httpx.Response:
            return await setting.client.request(method, f"{setting.url}{path}", auth=auth, **more)  # type: ignore[arg-type]

        manifest = await ask("GET", "/v2/team/app/manifests/one", headers=accept)
        assert (manifest.status_code, manifest.headers["docker-content-digest"]) == (200, digest)
        assert manifest.headers["content-type"] == KIND
        assert digest_of(manifest.content) == digest
        again = await ask("PUT", "/v2/team/app/manifests/two", content=manifest.content, headers={"Content-Type": KIND})
        assert (again.status_code, again.headers["docker-content-digest"]) == (201, digest)
        assert again.headers["location"].endswith(f"/v2/team/app/manifests/{digest}")
        layer = {"mediaType": "x", "size": 1, "digest": digest_of(b"nothing")}
        broken = json.dumps(json.loads(manifest.content) | {"layers": [layer]})
        refused = await ask("PUT", "/v2/team/app/manifests/bad", content=broken, headers={"Content-Type": KIND})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "MANIFEST_BLOB_UNKNOWN")
        tags = await ask("GET", "/v2/team/app/tags/list")
        assert tags.json() == {"name": "team/app", "tags": ["one", "two"]}
        page = await ask("GET", "/v2/_catalog?n=2")
        assert page.json()["repositories"] == ["alpha", "team/app"]
        assert 'rel="next"' in page.headers["link"] and "last=team" in page.headers["link"]
        rest = await ask("GET", "/v2/_catalog?n=2&last=team/app")
        assert (rest.json()["repositories"], "link" in rest.headers) == (["zeta"], False)
        assert (await ask("DELETE", f"/v2/team/app/manifests/{digest}")).status_code == 202
        for reference in (digest, "one", "two"):  # all its tags went with it
            gone = await ask("GET", f"/v2/team/app/manifests/{reference}", headers=accept)
            assert (gone.status_code, gone.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")

    with_registry(tmp_path / "azure", body)
