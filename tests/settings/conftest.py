"""A project's folder in which every default works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.settings import Settings, SettingsError, load

Load = Callable[..., Settings]
Refused = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    scoring = tmp_path / "scoring"
    scoring.mkdir()
    (scoring / "score.py").write_text("def init():\n    pass\n\n\ndef run(input_data):\n    return input_data\n")
    (scoring / "myenv.yml").write_text("dependencies:\n  - python=3.11\n  - pip:\n      - scikit-learn==1.9.1\n")
    (scoring / "model.pkl").write_bytes(b"\x80model")
    return tmp_path


@pytest.fixture
def load_with(root: Path) -> Load:
    """Settings from the values given, with a model's path where the values have no model."""

    def loaded(**values: Any) -> Settings:
        return load({"model": {"path": "scoring/model.pkl"}, **values}, root=root)

    return loaded


@pytest.fixture
def problem(load_with: Load) -> Refused:
    """The text of the one problem that the values have, after checking that it is at the key."""

    def refused(expected_key: str, **values: Any) -> str:
        with pytest.raises(SettingsError) as caught:
            load_with(**values)
        assert [found.key for found in caught.value.problems] == [f"aml-edge:{expected_key}"], str(caught.value)
        found = caught.value.problems[0]
        assert found.rule
        assert found.fix
        return str(found)

    return refused
