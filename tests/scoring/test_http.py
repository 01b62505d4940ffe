"""The container outside of IoT Edge: HTTP only, with the user's script or with the driver that azureml-core generates."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from docker.models.containers import Container

from tests.scoring.conftest import SCORING, Start
from tests.scoring.edge_double import wait_for

pytestmark = pytest.mark.docker


def url(container: Container, network: Any) -> str:
    container.reload()
    address = container.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
    return f"http://{address}:5001"


def healthy(base: str) -> bool:
    try:
        return requests.get(f"{base}/", timeout=20).text == "Healthy"
    except requests.RequestException:
        return False


@pytest.mark.parametrize(("root", "found"), [("/var/azureml-app", "user script"), ("/apps/driver", "driver script")])
def test_scores_over_http_and_stops(start: Start, network: Any, root: str, found: str) -> None:
    container = start(root)
    base = url(container, network)
    assert wait_for(lambda: healthy(base)), container.logs().decode()
    for reading, anomaly in zip(json.loads((SCORING / "readings.json").read_text()), [False, True, True], strict=True):
        answer = requests.post(f"{base}/score", json=reading, timeout=120)
        assert answer.json() == {**reading, "anomaly": anomaly}
    assert requests.get(f"{base}/swagger.json", timeout=120).json()["swagger"] == "2.0"
    assert "Traceback" not in container.logs().decode()
    failed = requests.post(f"{base}/score", json={}, timeout=120)
    assert (failed.status_code, "no field" in f"{failed.text}{failed.headers}") == (500, False), (
        "only the bridge is told why"
    )
    container.stop(timeout=60)
    log = container.logs().decode()
    assert container.wait()["StatusCode"] == 0, log
    assert f"Found {found}" in log
    assert "serving HTTP only" in log


def test_a_script_that_fails_in_init_ends_the_container(start: Start) -> None:
    container = start("/var/azureml-app", AZUREML_MODEL_DIR="azureml-models/none")
    assert container.wait(timeout=300)["StatusCode"] == 1
    assert "0 files *.pkl or *.joblib" in container.logs().decode()


def test_an_incomplete_environment_is_refused_at_once(start: Start) -> None:
    container = start("/apps", IOTEDGE_WORKLOADURI="unix:///nowhere", AML_DRAIN_SECONDS="soon")
    assert container.wait(timeout=300)["StatusCode"] == 2
    log = container.logs().decode()
    assert "holds no main.py and no score.py" in log
    assert "AML_DRAIN_SECONDS is 'soon'" in log
