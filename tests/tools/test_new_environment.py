from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tools import new_environment
from tools.console import ToolError

DEV = """\
# what dev is for
encryptionsalt: v1:abc:v1:def
config:
  azure-native:location: westeurope
  aml-edge:hub: {sku: S1, units: 1}  # one is enough
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.dev.yaml").write_text(DEV)
    return tmp_path


def test_the_same_settings_without_the_local_salt(folder: Path) -> None:
    made = new_environment.write("prod-eu", "dev", folder)
    assert made.name == "Pulumi.prod-eu.yaml"
    assert yaml.safe_load(made.read_text()) == {"config": yaml.safe_load(DEV)["config"]}
    assert "# one is enough" in made.read_text()


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("prod eu", "dev", "is no name"),
        ("../prod", "dev", "is no name"),
        ("prod", "nowhere", "FROM may be one of: dev"),
        ("dev", "dev", "exists already"),
    ],
)
def test_refusals(folder: Path, name: str, source: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        new_environment.write(name, source, folder)
    assert (folder / "Pulumi.dev.yaml").read_text() == DEV


def test_encrypted_values_are_not_carried_over(folder: Path) -> None:
    (folder / "Pulumi.dev.yaml").write_text(DEV + "  aml-edge:key:\n    secure: v1:xyz\n")
    with pytest.raises(ToolError, match="encrypted values"):
        new_environment.write("prod", "dev", folder)
