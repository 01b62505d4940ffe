"""The environment of the local stacks, as `make env` prints it: the program itself has no line that says which Azure it talks to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from localazure import environment
from localazure.instance import Instance

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".local"
FOLDER = LOCAL / "azure"
PASSPHRASE = "local"  # noqa: S105 - of the committed stack files of the local environments, which hold no secret of anybody
STACK = "dev"

# What would lead the SDKs to a real Azure, were it left over in the user's shell.
UNSET = (
    "ARM_CLIENT_ID",
    "ARM_CLIENT_SECRET",
    "ARM_ENVIRONMENT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_USERNAME",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "MSI_SECRET",
    "PULUMI_ACCESS_TOKEN",
)


def variables(instance: Instance, docker_host: str, base_image: str, cli: Path, local: Path = LOCAL) -> dict[str, str]:
    """Name -> value. `cli` is the folder of the Pulumi CLI; `local` holds the state backend and the Pulumi home."""
    return {
        **environment.variables(instance),
        "DOCKER_HOST": docker_host,
        "LOCALAZURE_BASE_IMAGE": base_image,
        "PATH": os.pathsep.join(_first(str(ROOT / ".venv" / "bin"), str(cli))),
        # A state is renamed into its place, but the sidecar that belongs to it (gocloud.dev/blob/fileblob) is written there: a kill
        # meanwhile leaves an empty one, and the state cannot be read ("failed to load checkpoint: EOF").
        "PULUMI_BACKEND_URL": f"file://{local / 'pulumi-state'}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(local / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def state(values: Mapping[str, str]) -> Path:
    """The folder of the state backend."""
    return Path(values["PULUMI_BACKEND_URL"].removeprefix("file://").partition("?")[0])


def make_folders(values: Mapping[str, str]) -> None:
    """Of the state backend and the Pulumi home; Pulumi itself makes only the latter."""
    for folder in (state(values), Path(values["PULUMI_HOME"])):
        folder.mkdir(parents=True, exist_ok=True)


def for_process(values: dict[str, str]) -> dict[str, str]:
    """The environment of a child process: this one's, without what points elsewhere."""
    return {**{key: value for key, value in os.environ.items() if key not in UNSET}, **values}


def for_shell(values: dict[str, str]) -> str:
    """Lines for `eval "$(make -s env)"`."""
    lines = [f"unset {' '.join(UNSET)}"]
    lines += [f"export {key}={shlex.quote(value)}" for key, value in sorted(values.items())]
    return "\n".join(lines)


def _first(*folders: str) -> list[str]:
    """PATH with these folders in front, each once, so that evaluating it twice changes nothing."""
    rest = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder not in folders]
    return [*folders, *rest]
