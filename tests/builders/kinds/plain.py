"""The scoring script: Azure ML calls `init()` once in each worker and `run()` for each request."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import joblib

FEATURES = (
    ("machine", "temperature"),
    ("machine", "pressure"),
    ("ambient", "temperature"),
    ("ambient", "humidity"),
)

model: Any = None


def init() -> None:
    """Load the model below AZUREML_MODEL_DIR."""
    global model
    model = joblib.load(model_file())


def run(input_data: str) -> dict[str, Any]:
    """One reading as JSON text; the answer is the reading with `"anomaly": true` or `false`."""
    reading = json.loads(input_data)
    features = [[number(reading, path) for path in FEATURES]]
    return {**reading, "anomaly": bool(model.predict(features)[0])}


def model_file() -> Path:
    """The one model file below AZUREML_MODEL_DIR, however deep: a model registered from a folder is in a sub folder."""
    folder = Path(__file__).parent / os.environ["AZUREML_MODEL_DIR"]
    found = sorted(path for kind in ("*.pkl", "*.joblib") for path in folder.rglob(kind))
    if len(found) != 1:
        raise FileNotFoundError(
            f"loading the model: {len(found)} files *.pkl or *.joblib below {folder}, want exactly one"
        )
    return found[0]


def number(reading: Any, path: tuple[str, ...]) -> float:
    """The number at a path of a reading. Raises ValueError with the path when there is none."""
    value = reading
    for key in path:
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"the reading has no field {'.'.join(path)}")
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"the reading's field {'.'.join(path)} is not a number: {value!r}")
    return float(value)
