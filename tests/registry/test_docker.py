"""The real docker CLI and engine against a registry."""

from __future__ import annotations

import tarfile
import uuid
from pathlib import Path

import pytest

from tests.registry.support import NAME, Setting, docker, with_registry

pytestmark = pytest.mark.docker


def test_login_push_and_pull_with_either_password(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        first, second = setting.registries.passwords(NAME)
        reference = f"{setting.login_server}/tests/{uuid.uuid4().hex}:1"
        (tmp_path / "layer").mkdir()
        (tmp_path / "layer" / "file").write_bytes(uuid.uuid4().bytes)

        async def login(password: str) -> int:
            code, _ = await docker(
                tmp_path, "login", "--username", NAME, "--password-stdin", setting.login_server, stdin=password
            )
            return code

        assert await login("wrong") != 0
        packed = tmp_path / "layer.tar"
        with tarfile.open(packed, "w") as archive:
            archive.add(tmp_path / "layer", arcname=".")
        code, output = await docker(tmp_path, "import", str(packed), reference)
        assert code == 0, output
        try:
            code, output = await docker(tmp_path, "push", reference)
            assert code != 0, "pushed without a login"
            assert await login(first) == 0
            code, output = await docker(tmp_path, "push", reference)
            assert code == 0, output
            digest = output.split("digest: ")[1].split()[0]
            await docker(tmp_path, "logout", setting.login_server)
            await docker(tmp_path, "rmi", reference)
            by_digest = f"{reference.removesuffix(':1')}@{digest}"
            code, _ = await docker(tmp_path, "pull", by_digest)
            assert code != 0, "pulled without a login"
            assert await login(second) == 0
            code, output = await docker(tmp_path, "pull", by_digest)
            assert code == 0, output
            await docker(tmp_path, "rmi", by_digest)
            await setting.registries.regenerate(NAME, "password2")
            code, _ = await docker(tmp_path, "pull", by_digest)
            assert code != 0, "pulled with a password that is no more"
        finally:
            await docker(tmp_path, "rmi", "--force", reference)

    with_registry(tmp_path / "azure", body, seconds=600)
