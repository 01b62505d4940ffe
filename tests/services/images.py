"""The smallest image that a registry takes, pushed by plain HTTP: tests of what is known of images need no Docker."""

from __future__ import annotations

import hashlib
import json
import ssl

import httpx

from components.services.registry import Credentials
from tests.services.cloud import Cloud
from tests.waiting import PATIENCE

_KIND = "application/vnd.docker.distribution.manifest.v2+json"


def push_tiny(azure: Cloud, credentials: Credentials, repository: str, tag: str, mark: str = "") -> str:
    """The manifest's digest; another `mark` makes another image."""
    auth = (credentials.username, credentials.password)
    trust = ssl.create_default_context(cafile=azure.azure.instance.ca)
    with httpx.Client(
        base_url=f"https://{credentials.login_server}", verify=trust, auth=auth, timeout=PATIENCE
    ) as client:
        rootfs = {"type": "layers", "diff_ids": []}
        described = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs, "author": mark}).encode()
        digest = f"sha256:{hashlib.sha256(described).hexdigest()}"
        begun = client.post(f"/v2/{repository}/blobs/uploads/")
        assert begun.status_code == 202, begun.text
        target = client.base_url.join(begun.headers["location"]).copy_add_param("digest", digest)
        assert client.put(target, content=described).status_code == 201
        configuration = {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(described),
            "digest": digest,
        }
        manifest = {"schemaVersion": 2, "mediaType": _KIND, "config": configuration, "layers": []}
        answer = client.put(
            f"/v2/{repository}/manifests/{tag}", content=json.dumps(manifest), headers={"Content-Type": _KIND}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.headers["docker-content-digest"])
