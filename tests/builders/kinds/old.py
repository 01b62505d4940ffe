# ruff: noqa
# mypy: ignore-errors
# fmt: off
# As such scripts were written in 2018, for ContainerImage: unchanged since.
import json

import joblib
import numpy as np
import pandas as pd
from azureml.core.model import Model


def init():
    global model
    model_path = Model.get_model_path('model.pkl')
    model = joblib.load(model_path)


def run(input_str):
    try:
        input_json = json.loads(input_str)
        input_df = pd.DataFrame([[input_json['machine']['temperature'], input_json['machine']['pressure'],
                                  input_json['ambient']['temperature'], input_json['ambient']['humidity']]])
        pred = model.predict(np.asarray(input_df))
        input_json['anomaly'] = bool(pred[0])
        return [json.dumps(input_json)]
    except Exception as e:
        result = str(e)
        return result
