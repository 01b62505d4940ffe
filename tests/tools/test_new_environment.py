from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from components import settings
from tests.support import ROOT
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


def _project(folder: Path) -> Path:
    """The committed stack files and levels, and what they name."""
    for file in ROOT.glob("Pulumi.*.yaml"):
        shutil.copyfile(file, folder / file.name)
    shutil.copytree(ROOT / "policy" / "levels", folder / "policy" / "levels")
    shutil.copytree(ROOT / "scoring", folder / "scoring")
    return folder


def test_a_real_one_from_dev(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _project(tmp_path)
    made = yaml.safe_load(new_environment.write("dev-eu", "dev", folder).read_text())
    assert set(made) == {"config"}, "no salt"
    assert made["config"]["aml-edge:image"]["baseImage"] == "python:3.11-slim"
    assert made["config"]["aml-edge:tags"] == {"environment": "dev-eu"}
    assert settings.load(made["config"], root=folder).image.builder == "azureml"
    assert (folder / "policy/levels/dev-eu.json").read_text() == (folder / "policy/levels/dev.json").read_text()
    said = capsys.readouterr().err
    for hint in ("--secrets-provider", "acr builds in Azure", "aml-edge:protect: true", "pipeline up --stack dev-eu"):
        assert hint in said


def test_a_real_one_from_prod_is_protected_and_waits_for_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _project(tmp_path)
    origin = folder / "Pulumi.prod.yaml"
    promoted = f"    ref: 127.0.0.7:20700/anomaly@sha256:{'a' * 64}\n    fingerprint: f\n    mode: package\n"
    text = origin.read_text().replace("    builder: none\n", f"    builder: none\n{promoted}")
    origin.write_text(text.replace("    name: best_model\n", f"    name: best_model\n    contentHash: {'b' * 64}\n"))
    made = yaml.safe_load(new_environment.write("prod-eu", "prod", folder).read_text())["config"]
    assert made["aml-edge:protect"] == "true", "as Pulumi writes it: a promotion changes no other line"
    assert set(made["aml-edge:image"]) == {"name", "builder", "retain"}, "no image of the local Azure's"
    assert "contentHash" not in made["aml-edge:model"]
    assert "pipeline promote --source ... --target prod-eu" in capsys.readouterr().err
    with pytest.raises(settings.SettingsError, match="1 problem"):
        settings.load(made, root=folder)


def test_an_image_in_a_real_registry_stays(tmp_path: Path) -> None:
    folder = _project(tmp_path)
    ref = f"contoso.azurecr.io/anomaly@sha256:{'a' * 64}"
    origin = folder / "Pulumi.prod.yaml"
    origin.write_text(origin.read_text().replace("    builder: none\n", f"    builder: none\n    ref: {ref}\n"))
    made = yaml.safe_load(new_environment.write("prod-us", "prod", folder).read_text())["config"]
    assert made["aml-edge:image"]["ref"] == ref


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("prod eu", "dev", "is no name"),
        ("../prod", "dev", "is no name"),
        ("..", "dev", "is no name"),
        ("-x", "dev", "is no name"),
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
