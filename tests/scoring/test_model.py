"""The trainer, and score.py as the inference server loads it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest
import yaml

from scoring import train
from scoring.sensor import FEATURES, pressure_at, readings
from tests.scoring.conftest import SCORING

READINGS = json.loads((SCORING / "readings.json").read_text())


def test_the_sensor_s_normal_range() -> None:
    table, anomalous = readings(7, 3000)
    normal = table[~anomalous]
    assert len(normal) == 2000
    assert normal[:, 0].min() >= 21
    assert normal[:, 0].max() <= 100
    assert np.abs(normal[:, 1] - pressure_at(normal[:, 0])).max() < 0.8
    assert pressure_at(np.array([21.0, 100.0])).tolist() == [1.0, 10.0]
    odd = table[anomalous]
    assert ((odd[:, 0] > 100) | (np.abs(odd[:, 1] - pressure_at(odd[:, 0])) >= 0.7999)).all()


def test_training_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from scoring.train import train; train(Path(sys.argv[1]), Path(sys.argv[2]))"
    for name in ("one", "two"):
        paths = [str(tmp_path / f"{name}.csv"), str(tmp_path / f"{name}.pkl")]
        subprocess.run([sys.executable, "-c", program, *paths], check=True, cwd=SCORING.parent, timeout=600)
    assert (tmp_path / "one.pkl").read_bytes() == (tmp_path / "two.pkl").read_bytes()
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes() == train.DATA.read_bytes()
    fresh, _ = readings(99, 2000)
    stored, made = joblib.load(train.MODEL), joblib.load(tmp_path / "one.pkl")
    assert (stored.predict(fresh) == made.predict(fresh)).all(), "model.pkl is stale: run python -m scoring.train"


def test_the_stored_model_recognises_anomalies_it_has_not_seen() -> None:
    assert train.CHECK_SEED != train.TRAINING_SEED
    precision, recall, f1 = train.check(joblib.load(train.MODEL))
    assert f1 >= 0.9
    assert min(precision, recall) >= 0.9
    assert train.MODEL.stat().st_size < 300_000


def test_the_measure_can_fail(tmp_path: Path) -> None:
    table, anomalous = readings(1, 600)
    train.write_data(tmp_path / "wrong.csv", table, ~anomalous)
    assert train.check(train.train(tmp_path / "wrong.csv", tmp_path / "wrong.pkl"))[2] < 0.5


def test_training_data_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"must be machine\.temperature,"):
        train.train(tmp_path / "data.csv", tmp_path / "model.pkl")


def test_the_image_has_the_version_that_wrote_the_model() -> None:
    import sklearn

    environment = yaml.safe_load((SCORING / "myenv.yml").read_text())
    assert environment["dependencies"][0] == "python=3.11"
    assert environment["dependencies"][-1]["pip"] == [f"scikit-learn=={sklearn.__version__}"]


def load() -> ModuleType:
    """As azureml-inference-server-http does."""
    spec = importlib.util.spec_from_file_location("entry_module", SCORING / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "folder").mkdir()
    shutil.copy(train.MODEL, tmp_path / "folder" / "model.pkl")
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    module = load()
    module.init()
    return module


def test_the_answer_is_the_reading_with_its_verdict(score: ModuleType) -> None:
    answers = [score.run(json.dumps(reading)) for reading in READINGS]
    assert answers == [{**r, "anomaly": a} for r, a in zip(READINGS, [False, True, True], strict=True)]
    assert json.loads(json.dumps(answers)) == answers


def test_the_script_s_features_are_the_model_s(score: ModuleType) -> None:
    assert [".".join(path) for path in score.FEATURES] == list(FEATURES)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"temperature": 50}, r"no field machine\.pressure"),
        ({"temperature": "50", "pressure": 4}, r"machine\.temperature is not a number: '50'"),
        ({"temperature": True, "pressure": 4}, r"machine\.temperature is not a number"),
        ({"temperature": float("nan"), "pressure": 4}, r"machine\.temperature is not a number: nan"),
        ({"temperature": 50, "pressure": None}, r"machine\.pressure is not a number: None"),
        ([50, 4], r"no field machine\.temperature"),
    ],
)
def test_a_wrong_reading_names_its_field(score: ModuleType, machine: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score.run(json.dumps({**READINGS[0], "machine": machine}))


@pytest.mark.parametrize("text", ["[]", '"reading"', "3", "null"])
def test_something_else_than_a_reading(score: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=r"no field machine\.temperature"):
        score.run(text)


def test_text_that_is_no_json(score: ModuleType) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        score.run("hot")


@pytest.mark.parametrize("names", [[], ["a.pkl", "b/c.joblib"]])
def test_exactly_one_model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{len(names)} files"):
        load().init()
