"""The folder that the builders `docker` and `acr` build from: a Dockerfile and what it copies."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jinja2

from components.edge import conda
from components.edge.create_options import APP_ROOT
from components.edge.fingerprint import tree_files
from components.services.builders import BuildRequest
from components.services.errors import ServiceError

DOCKERFILE = "Dockerfile"


@contextlib.contextmanager
def build_context(request: BuildRequest) -> Iterator[Path]:
    """A temporary folder: Dockerfile, requirements.txt, models/<name>/<version>/..., app/ (script, dependencies, runtime)."""
    with tempfile.TemporaryDirectory(prefix="aml-edge-") as scratch:
        folder = Path(scratch)
        text = request.conda_file.read_text()
        try:
            requirements = conda.pip_requirements(conda.with_runtime(text))
        except conda.CondaError as error:
            raise ServiceError("build the image", request.name, str(error)) from error
        (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
        for model in request.models:
            place(model.path, folder / "models" / model.name / str(model.version) / model.path.name)
        (folder / "models").mkdir(exist_ok=True)
        for part in (request.script, request.runtime, *request.dependencies):
            place(part, folder / "app" / part.name)
        (folder / DOCKERFILE).write_text(_dockerfile(request, conda.python_version(text)))
        yield folder


def place(source: Path, target: Path) -> None:
    """Exactly what was hashed, linked where the file system lets us (models can be large)."""
    if source.is_dir():
        for relative in tree_files(source):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / relative, target / relative, follow_symlinks=False)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(source.stat().st_mode & 0o777)


def _dockerfile(request: BuildRequest, python: str | None) -> str:
    try:
        template = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - a Dockerfile
        ).from_string(request.dockerfile.read_text())
        return template.render(
            base_image=request.base_image,
            python=python,
            app_root=APP_ROOT,
            models=[{"name": model.name, "version": model.version} for model in request.models],
            script=request.script.name,
        )
    except jinja2.TemplateError as error:
        raise ServiceError(
            "render the Dockerfile template", str(request.dockerfile), str(error), "Correct the template."
        ) from error
