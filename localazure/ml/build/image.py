"""The scoring image: an environment image, the application root on top, the server as its command; pushed, then removed here."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import docker.errors

from localazure.builds.engine import LABEL, Engine
from localazure.builds.log import BuildError, BuildLog
from localazure.ml.build import environment, staging
from localazure.ml.build.request import APP_ROOT, BuildRequest

MAX_STEPS = 2**20
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORBIDDEN_STEPS = ("FROM", "ENTRYPOINT", "CMD")


def build(engine: Engine, request: BuildRequest, work: Path, log: BuildLog) -> str:
    """Build `request.location` on the engine in the folder `work`, which is removed; the Dockerfile. Raises BuildError, BuildStopped."""
    try:
        shutil.rmtree(work, ignore_errors=True)
        staging.stage(request, work / "app", log)
        steps = _steps(request)
        image = engine.base(log, request.base.name, request.base.login)
        base = environment.ensure(engine, image, request.environment, log) if request.environment else str(image.id)
        dockerfile = _dockerfile(engine, base, request, steps)
        (work / "Dockerfile").write_text(dockerfile)
        log.line(f"Building {request.location}")
        events = engine.client().api.build(
            path=str(work),
            tag=request.location,
            rm=True,
            forcerm=True,
            decode=True,
            network_mode="host" if steps else "none",
        )
        for line in engine.follow(events):
            log.line(line)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return dockerfile


def push(engine: Engine, location: str, username: str, password: str, log: BuildLog) -> None:
    """Push with the registry's credentials. Raises BuildError, BuildStopped."""
    repository, _, tag = location.rpartition(":")
    log.line(f"Pushing {location}")
    events = engine.client().api.push(
        repository, tag=tag, stream=True, decode=True, auth_config={"username": username, "password": password}
    )
    try:
        for line in engine.follow(events):
            log.line(line)
    except BuildError as error:
        raise BuildError(f"the push of {location} as {username} failed: {error}") from error


def discard(engine: Engine, location: str) -> None:
    """Take the image off the engine: devices pull it from the registry, or not at all."""
    with contextlib.suppress(docker.errors.ImageNotFound):
        engine.client().images.remove(location)


def _dockerfile(engine: Engine, base: str, request: BuildRequest, steps: str) -> str:
    user = engine.client().images.get(base).attrs["Config"].get("User") or "root"
    lines = [
        f"FROM {base}",
        f"LABEL {LABEL}={engine.owner}",
        "USER root",
        f"COPY app/ {APP_ROOT}/",
        f"WORKDIR {APP_ROOT}",
        *([steps] if steps else []),
        *(_variable(name, value) for name, value in request.variables.items()),
        f"ENV AML_APP_ROOT={APP_ROOT} AZUREML_MODEL_DIR={request.model_dir}",
        "EXPOSE 5001",
        f"USER {user}",
        "ENTRYPOINT []",
        f'CMD ["azmlinfsrv", "--entry_script", "{staging.DRIVER}", "--port", "5001"]',
    ]
    return "\n".join(lines) + "\n"


def _variable(name: str, value: str) -> str:
    """An ENV instruction that gives the value as it is (Docker, "Dockerfile reference", environment replacement)."""
    if not _VARIABLE.fullmatch(name) or any(character in value for character in "\r\n\0"):
        raise BuildError(
            f"the environment variable {name!r} cannot be set in an image: a name, and a value of one line"
        )
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'ENV {name}="{escaped}"'


def _steps(request: BuildRequest) -> str:
    """ContainerImage's `docker_file`: "additional Docker steps to run when setting up the image"."""
    if not request.docker_steps:
        return ""
    content = request.docker_steps.read_bytes()
    try:
        steps = content.decode() if len(content) <= MAX_STEPS else None
    except UnicodeDecodeError:
        steps = None
    if steps is None:
        raise BuildError(f"the additional Docker steps are not a text of at most {MAX_STEPS} bytes")
    for line in steps.splitlines():
        instruction = line.split(maxsplit=1)[0].upper() if line.strip() else ""
        if instruction in _FORBIDDEN_STEPS:
            raise BuildError(f"the additional Docker steps hold {instruction}, which the service sets itself")
    return steps.strip()
