from __future__ import annotations

import pytest
import yaml

from components.edge import conda
from components.edge.conda import CondaError


def spec(*dependencies: object) -> str:
    return yaml.safe_dump({"name": "e", "dependencies": list(dependencies)})


def test_the_runtime_is_added_to_the_users_pip_list() -> None:
    made = yaml.safe_load(conda.with_runtime(spec("python=3.11", {"pip": ["scikit-learn==1.9.1"]})))
    assert made["dependencies"] == ["python=3.11", {"pip": ["scikit-learn==1.9.1", *conda.RUNTIME_REQUIREMENTS]}]


def test_a_file_without_pip_gets_a_pip_list() -> None:
    made = yaml.safe_load(conda.with_runtime(spec("python=3.11")))
    assert made["dependencies"][-1] == {"pip": list(conda.RUNTIME_REQUIREMENTS)}


def test_the_users_own_pin_wins_whatever_it_is_spelt_like() -> None:
    made = conda.with_runtime(spec({"pip": ["Paho_MQTT>=2.1", "azureml.inference.server-http"]}))
    assert yaml.safe_load(made)["dependencies"] == [{"pip": ["Paho_MQTT>=2.1", "azureml.inference.server-http"]}]


@pytest.mark.parametrize(
    ("written", "requirement"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy=1.26.4=py311_0", "numpy==1.26.4"),
        ("numpy 1.26.4", "numpy==1.26.4"),
        ("numpy>=1.20,<2", "numpy>=1.20,<2"),
        ("numpy >= 1.20, < 2", "numpy>=1.20,<2"),
        ("conda-forge::pytorch=2.3", "torch==2.3.*"),
        ("Pandas", "pandas"),
    ],
)
def test_conda_packages_become_pip_requirements(written: str, requirement: str) -> None:
    assert conda.conda_requirements(spec("python=3.11", "pip", written)) == [requirement]


def test_pip_requirements_follow_as_they_are() -> None:
    text = spec("python=3.11", "pandas", {"pip": ["azureml-defaults", "torch @ https://example.invalid/t.whl"]})
    assert conda.pip_requirements(text) == ["pandas", "azureml-defaults", "torch @ https://example.invalid/t.whl"]


def test_what_only_conda_has_is_refused_with_the_builder_that_can() -> None:
    with pytest.raises(CondaError, match=r"mkl, cudatoolkit, .*builder azureml"):
        conda.pip_requirements(spec("mkl", "numpy", "cudatoolkit=11"))


def test_alternatives_are_refused() -> None:
    with pytest.raises(CondaError, match="alternatives"):
        conda.pip_requirements(spec("numpy>1|<0.5"))


@pytest.mark.parametrize(
    ("written", "version"), [("python=3.11", "3.11"), ("python==3.11.7", "3.11"), ("python", None), ("numpy=1.2", None)]
)
def test_the_python_that_the_file_pins(written: str, version: str | None) -> None:
    assert conda.python_version(spec(written)) == version
