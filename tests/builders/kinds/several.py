"""What a script finds of several models: AZUREML_MODEL_DIR is the folder above them, Model.get_model_path knows each by its name."""

from __future__ import annotations

import os
from pathlib import Path

from azureml.core.model import Model

NAMES = ("model.pkl", "thresholds")


def init() -> None:
    """Nothing to be loaded."""


def run(input_data: str) -> dict[str, list[str]]:
    root = Path(os.environ["AZUREML_MODEL_DIR"])
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    paths = [Path(Model.get_model_path(name)).resolve() for name in NAMES]
    return {"root": [root.name], "files": files, "paths": [path.relative_to(root).as_posix() for path in paths]}
