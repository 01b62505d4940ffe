"""What the builders `docker` and `acr` send to a Docker engine: a tar with a Dockerfile and what it copies."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import jinja2

from components.edge import conda, fingerprint
from components.edge.create_options import APP_ROOT
from components.services.builders import BuildRequest, stages, staging
from components.services.errors import ServiceError

DOCKERFILE = "Dockerfile"
MARK = "AML_EDGE_IMAGE"


@dataclass(frozen=True)
class Recipe:
    """The rendered Dockerfile, and the requirements that it installs."""

    dockerfile: str
    requirements: str


def recipe(request: BuildRequest) -> Recipe:
    """Raises ServiceError: the conda file cannot be installed by pip; the template cannot be rendered."""
    text = request.conda_file.read_text(encoding="utf-8")
    try:
        requirements = conda.pip_requirements(conda.with_runtime(text))
    except conda.CondaError as error:
        raise ServiceError("build the image", request.name, str(error)) from error
    return Recipe(_dockerfile(request, conda.python_version(text)), "\n".join(requirements) + "\n")


def hashes(request: BuildRequest, made: Recipe) -> dict[str, str]:
    """The content of each part of the context: `stages.PARTS`. Raises ServiceError: a file cannot be read."""
    try:
        entries = [[entry.name, *entry.counts] for entry in _entries(request)]
    except (OSError, fingerprint.FingerprintError) as error:
        raise ServiceError(
            "read the sources of", request.name, str(error), "Check that they are still there."
        ) from error
    parts = {"requirements.txt": made.requirements}
    for part in ("models", "app"):
        parts[part] = json.dumps(sorted(entry for entry in entries if entry[0].startswith(f"{part}/")))
    return {part: hashlib.sha256(known.encode()).hexdigest() for part, known in parts.items()}


@contextlib.contextmanager
def build_context(
    request: BuildRequest,
    made: Recipe,
    *,
    compressed: bool,
    dockerfile: str = "",
    parts: Sequence[str] = stages.PARTS,
    mark: str = "",
) -> Iterator[IO[bytes]]:
    """A tar or tar.gz, at its beginning: Dockerfile, requirements.txt, models/<name>/<version>/..., app/ (script, dependencies, runtime).

    On disk, since models can be large. The same sources give the same bytes. `dockerfile` stands in for the recipe's own, `parts` for
    the whole. `mark` becomes an argument before FROM: a build's log shows it, the image does not hold it.

    Raises:
        ServiceError: a file cannot be read.
    """
    with tempfile.TemporaryFile(prefix="aml-edge-") as file:
        try:
            with _tar(file, compressed) as tar:
                staging.write_text(tar, DOCKERFILE, _marked(dockerfile or made.dockerfile, mark))
                if "requirements.txt" in parts:
                    staging.write_text(tar, "requirements.txt", made.requirements)
                staging.write_directory(tar, "models")
                for entry in _entries(request):
                    if entry.name.partition("/")[0] in parts:
                        staging.write_tar(tar, entry)
        except OSError as error:
            advice = "Check that the files are still there and that the folder for temporary files (TMPDIR) has room."
            raise ServiceError("pack the build context of", request.name, str(error), advice) from error
        file.seek(0)
        yield file


@contextlib.contextmanager
def _tar(file: IO[bytes], compressed: bool) -> Iterator[tarfile.TarFile]:
    with contextlib.ExitStack() as stack:
        target: Any = file
        if compressed:
            target = stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0))
        yield stack.enter_context(tarfile.open(fileobj=target, mode="w"))


def _entries(request: BuildRequest) -> Iterator[staging.Entry]:
    for model in request.models:
        yield from staging.entries(model.path, f"models/{model.name}/{model.version}/{model.path.name}")
    for part in request.beside:
        yield from staging.entries(part, f"app/{part.name}")


def _marked(dockerfile: str, mark: str) -> str:
    """After the comments at the top: the first of them may be a directive to Docker."""
    lines = dockerfile.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join([*lines[:first], f"ARG {MARK}={mark}\n" if mark else "", *lines[first:]])


def _dockerfile(request: BuildRequest, python: str | None) -> str:
    try:
        template = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - a Dockerfile
        ).from_string(request.dockerfile.read_text(encoding="utf-8"))
        return template.render(
            base_image=request.base_image,
            python=python,
            app_root=APP_ROOT,
            models=[
                {"name": model.name, "version": model.version, "file": model.path.name} for model in request.models
            ],
            script=request.script.name,
        )
    except jinja2.TemplateError as error:
        line = f" line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        where = f"{request.dockerfile}{line}"
        advice = "Correct it; it knows base_image, python, app_root, script and models (name, version, file)."
        raise ServiceError("render the Dockerfile template", where, str(error), advice) from error
