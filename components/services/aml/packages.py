"""`Model.package`: models, script and environment made into an image by Azure ML. Runs in the worker process only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from azureml.core import Environment, Workspace
from azureml.core.model import InferenceConfig, Model, ModelPackage
from azureml.exceptions import WebserviceException

from components.services.aml import build_log
from components.services.errors import ServiceError

POLL_SECONDS = 2
LOG_TAIL_LINES = 20
UNDER_WAY = ("NotStarted", "Running")


def start_package(
    workspace: Workspace,
    progress: Callable[[str], None],
    *,
    name: str,
    label: str,
    model_ids: list[str],
    source_directory: str,
    entry_script: str,
    conda_file: str,
) -> str:
    """Let Azure ML begin; the id of its operation."""
    environment = Environment.from_conda_specification(name, conda_file)
    inference = InferenceConfig(entry_script=entry_script, source_directory=source_directory, environment=environment)
    models = [Model(workspace, id=model_id) for model_id in model_ids]
    package: Any = Model.package(workspace, models, inference, image_name=name, image_label=label)
    progress(f"Azure ML packages {name}:{label}")
    return str(package._operation_id)  # what ModelPackage's constructor takes


def package_runs(workspace: Workspace, progress: Callable[[str], None], *, operation_id: str) -> bool:
    """Whether that operation is still under way; one that Azure ML does not know is not."""
    try:
        return ModelPackage(workspace, operation_id, None).state in UNDER_WAY
    except WebserviceException:
        return False


def follow_package(
    workspace: Workspace,
    progress: Callable[[str], None],
    *,
    name: str,
    label: str,
    operation_id: str,
    timeout_seconds: float,
) -> str:
    """Wait for its end. Returns `loginServer/name:label`. Raises ServiceError with the log's last lines when it failed."""
    package: Any = ModelPackage(workspace, operation_id, None)
    deadline = time.monotonic() + timeout_seconds
    lines: list[str] = []
    read, rest = 0, ""
    while True:
        package.update_creation_state()
        running = package.state in UNDER_WAY
        fresh = package.get_logs(decode=False, offset=read)
        read += len(fresh)
        text = rest + fresh.decode("utf-8", "replace")
        whole, _, rest = text.rpartition("\n") if running else (text, "", "")
        told = [line.rstrip() for line in whole.splitlines() if line.strip()]
        for line in build_log.worth_showing(told):
            progress(line)
        lines += told
        if package.state == "Succeeded":
            return str(package.location)
        tail = "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])
        if not running:
            raise ServiceError(
                "package the models as",
                f"{name}:{label}",
                f"Azure ML ended it as {package.state}. The end of its log:\n{tail}",
                f"The whole log: {str(package.package_build_log_uri).partition('?')[0]}. "
                "Correct the cause, then run `pulumi up` again.",
            )
        if time.monotonic() > deadline:
            raise ServiceError(
                "package the models as",
                f"{name}:{label}",
                f"it is still '{package.state}' after {timeout_seconds:.0f} s",
                "Azure ML goes on; run `pulumi up` again to take it over.",
            )
        time.sleep(POLL_SECONDS)
