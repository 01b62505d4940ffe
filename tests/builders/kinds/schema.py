# mypy: ignore-errors
"""A script with inference-schema's decorators: they read the body and describe it in swagger.json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema

SAMPLE = np.array([[45.2, 3.76, 21.1, 25.0]])

model: Any = None


def init() -> None:
    global model
    model = joblib.load(next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("*.pkl")))


@input_schema("data", NumpyParameterType(SAMPLE))
@output_schema(NumpyParameterType(np.array([0])))
def run(data: Any) -> Any:
    return model.predict(data).astype(int).tolist()
