"""A stack's sources in a folder, a request made from them, and a look at what a registry then holds."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

import docker
import requests

from components.services import builders, registry
from components.services.builders import BuildRequest, BuiltImage, ModelFile
from tests.services.cloud import Cloud

PROJECT = Path(__file__).resolve().parents[2]
RUNTIME = PROJECT / "scoring" / "edge_runtime"
TEMPLATE = PROJECT / "scoring" / "Dockerfile.j2"
BUILDERS = ("docker", "acr")

TINY = """\
FROM scratch
COPY requirements.txt /
COPY models/ /models/
COPY app/ /app/
"""
"""A template of the user's own whose images take a second: no environment."""

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


def module(builder: str, mode: str = "") -> ModuleType:
    found: ModuleType = builders.of(builder, mode)
    return found


class Gate:
    """A step of a build that waits until the test lets it go on, for at most five minutes. Builds use the network of the host."""

    def __enter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        connect = f"import socket; socket.create_connection(('127.0.0.1', {self._socket.getsockname()[1]}), 1)"
        self.command = (
            f'i=0; until python3 -c "{connect}" 2>/dev/null; do i=$((i+1)); [ $i -lt 600 ] || exit 9; sleep 0.5; done'
        )
        return self

    def open(self) -> None:
        self._socket.listen()

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@dataclass
class Place:
    """Sources in `folder`; `progress` collects what the builders say."""

    cloud: Cloud
    folder: Path
    registry_id: str
    workspace_id: str
    progress: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write("score.py", SCRIPT)
        self.write("myenv.yml", "dependencies: [pip]\n")
        self.write("Dockerfile.j2", TINY)
        self.write("model.bin", "weights")
        self.write("runtime/__main__.py", "")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def request(self, fingerprint: str, **changes: Any) -> BuildRequest:
        made = BuildRequest(
            workspace_id=self.workspace_id,
            registry_id=self.registry_id,
            name="tiny",
            fingerprint=fingerprint,
            models=[ModelFile("numbers:2", self.folder / "model.bin")],
            script=self.folder / "score.py",
            conda_file=self.folder / "myenv.yml",
            runtime=self.folder / "runtime",
            dependencies=[],
            base_image="scratch",
            dockerfile=self.folder / "Dockerfile.j2",
            platform="linux/amd64",
            tags={},
            description="",
            progress=self.progress.append,
        )
        return replace(made, **changes)

    def build(self, builder: str, request: BuildRequest) -> BuiltImage:
        built: BuiltImage = module(builder).build(request)
        return built

    @property
    def said(self) -> str:
        return "\n".join(self.progress)

    @property
    def credentials(self) -> registry.Credentials:
        return registry.admin_credentials(self.registry_id)

    def digest(self, reference: str, name: str = "tiny") -> str | None:
        return registry.digest(self.credentials, name, reference)

    def manifest(self, image: BuiltImage) -> dict[str, Any]:
        manifest: dict[str, Any] = self._get(image, "manifests", image.ref.partition("@")[2])
        return manifest

    def layers(self, image: BuiltImage) -> list[str]:
        """The digests of what a device pulls, in their order."""
        return [layer["digest"] for layer in self.manifest(image)["layers"]]

    def configuration(self, image: BuiltImage) -> dict[str, Any]:
        """The image's configuration with its history."""
        configuration: dict[str, Any] = self._get(image, "blobs", self.manifest(image)["config"]["digest"])
        return configuration

    def architecture(self, ref: str) -> str:
        return str(self.configuration(BuiltImage("", ref))["architecture"])

    def _get(self, image: BuiltImage, kind: str, reference: str) -> Any:
        repository = image.ref.partition("/")[2].partition("@")[0]
        answer = requests.get(
            f"https://{self.credentials.login_server}/v2/{repository}/{kind}/{reference}",
            auth=(self.credentials.username, self.credentials.password),
            headers={"Accept": registry.MANIFEST_TYPES},
            timeout=120,
        )
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)

    def contents(self, image: BuiltImage) -> dict[str, tuple[int, bytes]]:
        """Pulled as a device does and taken apart: path -> (mode bits, content) of all files; links as `-> target`."""
        engine = docker.from_env(timeout=300)
        login = {"username": self.credentials.username, "password": self.credentials.password}
        repository, _, digest = image.ref.partition("@")
        pulled = engine.images.pull(repository, digest, auth_config=login)
        container = engine.containers.create(pulled, ["/nothing"])
        try:
            blob = b"".join(cast("Iterator[bytes]", container.export()))
        finally:
            container.remove(force=True)
            engine.images.remove(image.ref, force=True)
            engine.close()
        return dict(_files(tarfile.open(fileobj=io.BytesIO(blob))))


def _files(tar: Any) -> Iterator[tuple[str, tuple[int, bytes]]]:
    for member in tar:
        if member.isfile():
            yield member.name, (member.mode, tar.extractfile(member).read())
        elif member.issym():
            yield member.name, (member.mode, f"-> {member.linkname}".encode())
