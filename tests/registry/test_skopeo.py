"""The real skopeo with the admin user: an image goes in, is looked at, copied to another registry and comes out as it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path

from localazure.instance import Instance
from tests.registry.support import NAME, client_of, service

OTHER = "Fabrikam01"


async def skopeo(instance: Instance, home: Path, *arguments: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and all it said. No policy and no login of this machine's user counts."""
    process = await asyncio.create_subprocess_exec(
        "skopeo",
        "--insecure-policy",  # whose signature an image must have is no question here
        *arguments,
        env={**os.environ, "SSL_CERT_FILE": str(instance.ca), "REGISTRY_AUTH_FILE": str(home / "auth.json")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 300)
    assert process.returncode is not None
    return process.returncode, output.decode()


def image(folder: Path) -> str:
    """The smallest image in an OCI layout; the path as skopeo names it."""

    def blob(content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    kind = "application/vnd.oci.image"
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config": {}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json"} | blob(json.dumps(config).encode()),
        "layers": [],
    }
    entry = {"mediaType": f"{kind}.manifest.v1+json"} | blob(json.dumps(manifest, indent=3).encode())
    index = {"schemaVersion": 2, "manifests": [entry | {"annotations": {"org.opencontainers.image.ref.name": "one"}}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{folder}:one"


def test_copy_inspect_and_delete_with_the_admin_user(tmp_path: Path) -> None:
    async def body() -> None:
        async with service(tmp_path / "azure") as (instance, registries), client_of(instance):
            hosts = [await registries.create(name) for name in (NAME, OTHER)]
            for name in (NAME, OTHER):
                registries.set_admin(name, True)
            place, other = (f"docker://{host}/team/app:one" for host in hosts)
            first, second = registries.passwords(NAME)
            local = image(tmp_path / "layout")

            async def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
                return await skopeo(instance, tmp_path, *arguments, stdin=stdin)

            assert (await run("copy", local, place))[0] != 0, "copied without a login"
            assert (await run("login", "--username", NAME, "--password-stdin", hosts[0], stdin="wrong"))[0] != 0
            for password in (second, first):
                code, output = await run("login", "--username", NAME, "--password-stdin", hosts[0], stdin=password)
                assert (code, "Login Succeeded" in output) == (0, True), output
            code, output = await run("copy", local, place)
            assert code == 0, output
            code, output = await run("inspect", place)
            assert code == 0, output
            seen = json.loads(output)
            assert (seen["Name"], seen["RepoTags"]) == (f"{hosts[0]}/team/app", ["one"])
            login = f"{OTHER}:{registries.passwords(OTHER)[0]}"
            code, output = await run("copy", "--dest-creds", login, place, other)
            assert code == 0, output
            code, output = await run("copy", "--src-creds", login, other, f"dir:{tmp_path / 'out'}")
            assert code == 0, output
            assert (
                json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"][0]["digest"] == seen["Digest"]
            )
            held = (tmp_path / "layout" / "blobs" / "sha256" / seen["Digest"].removeprefix("sha256:")).read_bytes()
            assert (tmp_path / "out" / "manifest.json").read_bytes() == held
            await registries.regenerate(NAME, "password")
            assert (await run("inspect", place))[0] != 0, "read with a password that is no more"
            creds = f"{NAME}:{second}"
            code, output = await run("delete", "--creds", creds, place)
            assert code == 0, output
            assert (await run("inspect", "--creds", creds, place))[0] != 0

    asyncio.run(asyncio.wait_for(body(), 600))
