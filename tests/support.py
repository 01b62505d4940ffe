"""A local Azure of a test's own, and the real Pulumi engine on a copy of the project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from localazure import instance as instances
from localazure import requests
from localazure.instance import Instance
from tests.waiting import PATIENCE
from tools import environment, pulumi

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "__main__.py",
    "Pulumi.yaml",
    *(path.name for path in ROOT.glob("Pulumi.*.yaml")),
    "components",
    "policy",
    "scoring",
)


@dataclass(frozen=True)
class LocalAzure:
    """A daemon in a folder of its own and the environment that points at it."""

    instance: Instance
    env: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.instance.folder

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`python -m localazure ...`"""
        return run([sys.executable, "-m", "localazure", *arguments], ROOT, self.env, check=check, timeout=2 * PATIENCE)

    def start(self) -> None:
        self.command("up")

    def stop(self) -> None:
        self.command("down")

    @contextmanager
    def traffic(self) -> Iterator[list[requests.Traffic]]:
        """What was requested inside the block: one element after it."""
        seen: list[requests.Traffic] = []
        before = requests.mark(self.folder)
        yield seen
        seen.append(requests.since(self.folder, before))


@contextmanager
def local_azure(folder: Path) -> Iterator[LocalAzure]:
    made = instances.load_or_create(folder / "azure")
    values = environment.variables(
        made,
        docker_host=os.environ["DOCKER_HOST"],
        base_image=os.environ["LOCALAZURE_BASE_IMAGE"],
        cli=Path(shutil.which("pulumi") or "/nowhere/pulumi").parent,
        local=folder,
    )
    azure = LocalAzure(made, environment.for_process(values))
    azure.start()
    try:
        yield azure
    finally:
        azure.command("remove")


@dataclass(frozen=True)
class Project:
    """A copy of the program with the engine's real CLI, a state backend and a Pulumi home of its own."""

    folder: Path
    azure: LocalAzure
    stack: str = "dev"

    @classmethod
    def create(cls, folder: Path, azure: LocalAzure) -> Project:
        folder.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
            else:
                shutil.copyfile(source, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)  # Pulumi.yaml names it
        project = cls(folder, azure)
        environment.make_folders(azure.env)
        pulumi.install_plugin(azure.env, folder.parent / "plugin")
        project.pulumi("stack", "select", "--create", project.stack)
        return project

    def pulumi(
        self, *arguments: str, check: bool = True, timeout: float = 8 * PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        return run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"], self.folder, self.azure.env, check, timeout
        )

    def up(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.pulumi("up", "--yes", "--skip-preview", "--stack", self.stack, check=check)

    def preview(self) -> dict[str, Any]:
        """`pulumi preview --json`, parsed."""
        answer: dict[str, Any] = json.loads(self.pulumi("preview", "--json", "--stack", self.stack).stdout)
        return answer

    def refresh(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.pulumi("refresh", "--yes", "--skip-preview", "--stack", self.stack, check=check)

    def destroy(self) -> subprocess.CompletedProcess[str]:
        return self.pulumi("destroy", "--yes", "--skip-preview", "--stack", self.stack)

    def export(self) -> str:
        return self.pulumi("stack", "export", "--stack", self.stack).stdout

    def resources(self) -> dict[str, Any]:
        """What the state says of every resource, secrets decrypted (their encrypted form differs each time)."""
        done = self.pulumi("stack", "export", "--show-secrets", "--stack", self.stack)
        resources = json.loads(done.stdout)["deployment"]["resources"]
        return {one["urn"]: (one.get("id"), one.get("inputs"), one.get("outputs")) for one in resources}

    def outputs(self, secrets: bool = False) -> dict[str, Any]:
        shown = ["--show-secrets"] if secrets else []
        answer: dict[str, Any] = json.loads(
            self.pulumi("stack", "output", "--json", "--stack", self.stack, *shown).stdout
        )
        return answer


def changes(preview: dict[str, Any]) -> dict[str, str]:
    """Resource name -> operation, for all that a preview would change."""
    return {
        step["urn"].rpartition("::")[2]: step["op"]
        for step in preview["steps"]
        if step["op"] not in ("same", "read", "refresh")
    }


def image_names(engine: docker.DockerClient, *kinds: str) -> set[str]:
    """All `RepoTags` or `RepoDigests` of the engine, or both. Not by `images.list`: that looks at each image again and fails when
    another test has removed one meanwhile."""
    return {name for image in engine.api.images() for kind in kinds for name in image[kind] or []}


def run(
    command: list[str], cwd: Path, env: dict[str, str], check: bool = True, timeout: float = 3 * PATIENCE
) -> subprocess.CompletedProcess[str]:
    """A program with its output captured; on failure an AssertionError that shows it."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done
