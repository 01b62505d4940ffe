"""Train the model: `python -m scoring.train` reads data/training.csv (made when it is not there) and writes model.pkl.

`python -m scoring.train --check` prints how well the stored model does on readings that it has not seen. The same library versions on
the same machine give the same bytes. Replace data/training.csv by measurements of your own and train again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import precision_recall_fscore_support
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from scoring.sensor import FEATURES, readings

DATA = Path(__file__).parent / "data" / "training.csv"
MODEL = Path(__file__).parent / "model.pkl"
TRAINING_SEED, CHECK_SEED = 20, 21
TRAINING_READINGS, CHECK_READINGS = 2400, 6000

_LABEL = "anomaly"


def train(data: Path = DATA, model: Path = MODEL) -> Pipeline:
    """Fit on `data` (made first if it is not there) and write `model`. Raises ValueError for a file with other columns."""
    if not data.exists():
        write_data(data, *readings(TRAINING_SEED, TRAINING_READINGS))
    table, anomalous = read_data(data)
    # Turning the axes puts "how far from the line" on an axis of its own, which is what trees can split on; and unlike a kernel or a
    # polynomial, a tree says about readings far outside of the training data what it says about its rim.
    pipeline = make_pipeline(
        StandardScaler(),
        PCA(svd_solver="full"),
        RandomForestClassifier(n_estimators=40, max_depth=8, random_state=TRAINING_SEED),
    )
    pipeline.fit(table, anomalous)
    joblib.dump(pipeline, model, compress=3)
    return pipeline


def check(pipeline: Pipeline, seed: int = CHECK_SEED, count: int = CHECK_READINGS) -> tuple[float, float, float]:
    """Precision, recall and F1 of "anomalous" on fresh readings."""
    table, anomalous = readings(seed, count)
    precision, recall, f1, _ = precision_recall_fscore_support(
        anomalous, pipeline.predict(table), average="binary", pos_label=True
    )
    return float(precision), float(recall), float(f1)


def write_data(path: Path, table: np.ndarray, anomalous: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*FEATURES, _LABEL])
        rows.writerows([*map(float, row), int(label)] for row, label in zip(table, anomalous, strict=True))


def read_data(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The readings and labels of a CSV file with the columns of FEATURES and `anomaly` (0 or 1)."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != [*FEATURES, _LABEL]:
        raise ValueError(f"reading training data: the first line of {path} must be {','.join([*FEATURES, _LABEL])}")
    table = np.array([[float(cell) for cell in row] for row in rows[1:]])
    return table[:, :-1], table[:, -1].astype(bool)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scoring.train", description=__doc__)
    parser.add_argument("--check", action="store_true", help="measure the stored model instead of training")
    pipeline = joblib.load(MODEL) if parser.parse_args(arguments).check else train()
    precision, recall, f1 = check(pipeline)
    sys.stdout.write(f"{MODEL.name}: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f} on unseen readings\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
