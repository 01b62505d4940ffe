"""Environment images: the base image with the packages of one conda file, kept on the engine and used again.

Packages are installed in a container that is then committed, not by a Dockerfile: build arguments would be readable in the image's
history, and the addresses of private package indexes hold passwords.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import threading
from collections.abc import Mapping

import docker.errors
from docker.models.containers import Container
from docker.models.images import Image

from localazure.builds import settings
from localazure.builds.engine import Engine
from localazure.builds.log import BuildError, BuildLog
from localazure.ml.build.conda import Environment, satisfies
from localazure.store import dump

REPOSITORY = "aml-edge/environment"
RECIPE = 1
"""Part of every tag: count up when the steps below change."""
SERVER = "azureml-inference-server-http"

_MISSING = re.compile(r"No matching distribution found for (\S+)")
_VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
_HAS_SERVER = "import importlib.util as u, sys; sys.exit(u.find_spec('azureml_inference_server_http') is None)"
_locks: dict[str, threading.Lock] = {}
_locks_guard = threading.Lock()


def ensure(engine: Engine, base: Image, environment: Environment, log: BuildLog) -> str:
    """The name of the environment's image, made if the engine does not hold it. Raises BuildError, BuildStopped."""
    recipe = dump([RECIPE, base.id, environment.python, environment.conda, environment.pip])
    tag = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    name = f"{REPOSITORY}:{tag}"
    with _locks_guard:
        lock = _locks.setdefault(name, threading.Lock())
    with lock:  # a second build of the same environment waits for the first
        try:
            engine.client().images.get(name)
        except docker.errors.ImageNotFound:
            _make(engine, base, environment, tag, log)
        else:
            log.line(f"Using the environment {name} that was built before")
    return name


def _make(engine: Engine, base: Image, environment: Environment, tag: str, log: BuildLog) -> None:
    log.line(f"Building the environment {REPOSITORY}:{tag} from {', '.join(base.tags) or base.id}")
    container = engine.run(str(base.id))
    try:
        prefix = f"/azureml-envs/azureml_{tag}"
        _check_python(engine, container, environment, log)
        _install(engine, container, environment, prefix, log)
        path = f"{prefix}/bin:{_variable(base, 'PATH')}"
        user = base.attrs["Config"].get("User") or "root"
        container.commit(
            repository=REPOSITORY,
            tag=tag,
            changes=[
                f"ENV PATH={path}",
                f"ENV AZUREML_CONDA_ENVIRONMENT_PATH={prefix}",
                f"USER {user}",
                'CMD ["python"]',
            ],
        )
    finally:
        engine.remove(container)


def _check_python(engine: Engine, container: Container, environment: Environment, log: BuildLog) -> None:
    result = container.exec_run(["python3", "-c", _VERSION])
    engine.check()
    assert isinstance(result.output, bytes)
    version = result.output.decode(errors="replace").strip()
    if result.exit_code:
        raise BuildError(f"the base image has no python3: {version}")
    log.line(f"Python {version}")
    if not satisfies(environment.python, version):
        raise BuildError(
            f"the conda file asks for python{environment.python}, but the base image has Python {version}. conda would "
            "install another Python, which this service cannot: ask for the base image's version, or set "
            "LOCALAZURE_BASE_IMAGE to an image with the wanted one"
        )


def _install(engine: Engine, container: Container, environment: Environment, prefix: str, log: BuildLog) -> None:
    """As `conda env create` does: the conda packages (with the pip, setuptools and wheel that come with Python), then the pip section."""
    pip_settings = settings.forwarded(os.environ)
    files = {"conda.txt": environment.conda, "pip.txt": environment.pip}
    container.put_archive("/tmp", _tar({name: "\n".join(lines) + "\n" for name, lines in files.items()}))  # noqa: S108 - in the container
    python = f"{prefix}/bin/python"

    def pip(what: str, arguments: list[str], tool: list[str]) -> None:
        log.line(f"Installing {what}")
        command = [*tool, "install", "--no-cache-dir", "--no-input", "--progress-bar", "off", *arguments]
        if engine.exec(container, command, log, pip_settings):
            raise BuildError(_explain(what, log))

    def run(what: str, command: list[str]) -> None:
        if engine.exec(container, command, log, {}):
            raise BuildError(f"{what} failed: {log.tail[-1] if log.tail else 'no output'}")

    run("making the environment", ["python3", "-m", "venv", "--without-pip", prefix])
    pip("pip, setuptools and wheel", ["pip", "setuptools", "wheel"], ["python3", "-m", "pip", "--python", python])
    tool = [python, "-m", "pip"]
    if environment.conda:
        pip("the conda packages from PyPI", ["-r", "/tmp/conda.txt"], tool)  # noqa: S108
    if environment.pip:
        pip("the pip section", ["-r", "/tmp/pip.txt"], tool)  # noqa: S108
    if engine.exec(container, [python, "-c", _HAS_SERVER], log, {}):
        pip("the serving stack", [SERVER], tool)
    run("listing the environment", [*tool, "list", "--format=freeze"])
    run("cleaning up", ["rm", "-f", "/tmp/conda.txt", "/tmp/pip.txt"])  # noqa: S108


def _explain(what: str, log: BuildLog) -> str:
    missing = next((match[1] for line in reversed(log.tail) if (match := _MISSING.search(line))), None)
    if missing and "conda" in what:
        return (
            f"the conda package {missing} was not found on PyPI, where this service takes conda packages from by their "
            "name; move it to the pip section under its name there"
        )
    if missing:
        return f"the package {missing} of {what} was not found"
    errors = [line for line in log.tail if line.startswith("ERROR:")]
    return f"installing {what} failed: {errors[-1] if errors else 'see the log'}"


def _variable(image: Image, name: str) -> str:
    pairs = dict(pair.partition("=")[::2] for pair in image.attrs["Config"].get("Env") or [])
    return str(pairs.get(name) or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def _tar(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
