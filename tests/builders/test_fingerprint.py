"""Two stacks have the same fingerprint exactly if their images are the same: from a stack's settings to `sources`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.existing import Existing
from components.image_inputs import image_inputs
from components.settings import Settings, load
from tests.builders.place import PROJECT

Change = Callable[[Path, dict[str, Any]], object]
BUILDERS = [
    {"builder": "docker", "mode": "containerImage"},
    {"builder": "acr", "mode": "package"},
    {"builder": "azureml", "mode": "containerImage"},
    {"builder": "azureml", "mode": "package"},
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what an image is made from."""
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "scoring", root / "scoring", ignore=shutil.ignore_patterns("__pycache__", "data"))
    (root / "lib").mkdir()
    (root / "lib" / "units.py").write_text("KELVIN = 273.15\n")
    monkeypatch.chdir(root)
    return root


def stack(image: dict[str, str]) -> dict[str, Any]:
    return {"model": {"path": "scoring/model.pkl"}, "image": {**image, "dependencies": ["lib"]}}


def settings(root: Path, stack: dict[str, Any]) -> Settings:
    return load(stack, root=root)


def fingerprint(root: Path, stack: dict[str, Any]) -> str:
    return image_inputs(settings(root, stack), Existing(), "workspace", "registry", ["model:1"])["fingerprint"]


def edit(path: str, old: str, new: str) -> Change:
    def change(root: Path, stack: dict[str, Any]) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return change


def move(old: str, new: str, *keys: str) -> Change:
    def change(root: Path, stack: dict[str, Any]) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)
        if keys:
            place = stack[keys[0]]
            place[keys[1]] = [new] if keys[1] == "dependencies" else new

    return change


def put(section: str, key: str, value: Any) -> Change:
    return lambda root, stack: stack[section].update({key: value})


def mode(path: str, bits: int) -> Change:
    return lambda root, stack: (root / path).chmod(bits)


def crlf(path: str) -> Change:
    return lambda root, stack: (root / path).write_bytes((root / path).read_bytes().replace(b"\n", b"\r\n"))


COUNTS: dict[str, Change] = {
    "script": edit("scoring/score.py", "anomaly", "odd"),
    "script's name, a module's name": move("scoring/score.py", "scoring/scorer.py", "image", "script"),
    "script's executable bit": mode("scoring/score.py", 0o755),
    "model": lambda root, stack: (root / "scoring/model.pkl").write_bytes(b"x"),
    "model's name": put("model", "name", "other"),
    "model's file name, a path in the image": move("scoring/model.pkl", "scoring/best.pkl", "model", "path"),
    "a further model": lambda root, stack: stack.update(models=[{"path": "scoring/readings.json", "name": "more"}]),
    "dependency": edit("lib/units.py", "273.15", "273.2"),
    "dependency's name": move("lib", "library", "image", "dependencies"),
    "file of a dependency renamed": move("lib/units.py", "lib/unit.py"),
    "environment": edit("scoring/myenv.yml", "scikit-learn==1.9.1", "scikit-learn==1.9.0"),
    "python": edit("scoring/myenv.yml", "python=3.11", "python=3.12"),
    "runtime": edit("scoring/edge_runtime/sas.py", "import", "import  "),
}
DOES_NOT: dict[str, Change] = {
    "where the script is": move("scoring/score.py", "elsewhere/score.py", "image", "script"),
    "where the model is": move("scoring/model.pkl", "models/model.pkl", "model", "path"),
    "where a dependency is": move("lib", "src/lib", "image", "dependencies"),
    "conda file's name": move("scoring/myenv.yml", "env/conda.yaml", "image", "condaFile"),
    "conda file's executable bit": mode("scoring/myenv.yml", 0o755),
    "comment in the conda file": edit("scoring/myenv.yml", "name: scoring", "name: scoring # ours"),
    "other mode bits": mode("scoring/score.py", 0o600),
    "line ends of the script": crlf("scoring/score.py"),
    "line ends of the conda file": crlf("scoring/myenv.yml"),
    "line ends of a dependency": crlf("lib/units.py"),
    "tags": put("image", "tags", {"area": "iot"}),
    "description": put("image", "description", "words"),
    "how the model is registered": lambda root, stack: stack["model"].update(
        framework="ScikitLearn", frameworkVersion="1.5", keepVersions=9, retain=True, tags={"area": "iot"}
    ),
    "the platform that is meant without one": put("image", "platform", "linux/amd64"),
    "how many images are kept": put("image", "keepImages", 9),
}


@pytest.mark.parametrize("image", BUILDERS, ids=lambda image: "-".join(image.values()))
@pytest.mark.parametrize("what", COUNTS)
def test_what_reaches_the_image_counts(project: Path, image: dict[str, str], what: str) -> None:
    before, changed = stack(image), stack(image)
    first = fingerprint(project, before)
    COUNTS[what](project, changed)
    assert fingerprint(project, changed) != first


@pytest.mark.parametrize("image", BUILDERS, ids=lambda image: "-".join(image.values()))
@pytest.mark.parametrize("what", DOES_NOT)
def test_nothing_else_counts(project: Path, image: dict[str, str], what: str) -> None:
    before, changed = stack(image), stack(image)
    first = fingerprint(project, before)
    DOES_NOT[what](project, changed)
    assert fingerprint(project, changed) == first


def changed_by(project: Path, change: Change) -> list[str]:
    """The builders and modes whose image is another one then."""
    before = [fingerprint(project, stack(image)) for image in BUILDERS]
    edited = [stack(image) for image in BUILDERS]
    change(project, edited[0])
    for one in edited[1:]:
        one["image"] |= {key: value for key, value in edited[0]["image"].items() if key not in ("builder", "mode")}
    after = [fingerprint(project, one) for one in edited]
    return ["-".join(image.values()) for image, old, new in zip(BUILDERS, before, after, strict=True) if old != new]


@pytest.mark.parametrize(
    "change",
    [put("image", "baseImage", "python:3.12-slim"), edit("scoring/Dockerfile.j2", "EXPOSE 5001", "EXPOSE 5001 5002")],
)
def test_base_image_and_template_count_where_they_are_used(project: Path, change: Change) -> None:
    assert changed_by(project, change) == ["docker-containerImage", "acr-package"]


def test_the_template_s_mode_bits_do_not_count(project: Path) -> None:
    assert changed_by(project, mode("scoring/Dockerfile.j2", 0o755)) == []


def test_the_dockerfile_s_builders_share_their_images_and_azure_ml_s_modes_do_not(project: Path) -> None:
    made = [fingerprint(project, stack(image)) for image in BUILDERS]
    assert made[0] == made[1]
    assert len(set(made)) == 3


def test_the_model_s_version_does_not_count(project: Path) -> None:
    """Each workspace counts by itself; the same content must be found again from another one."""
    chosen = settings(project, stack(BUILDERS[0]))
    one = image_inputs(chosen, Existing(), "workspace", "registry", ["model:1"])
    assert image_inputs(chosen, Existing(), "workspace", "registry", ["model:7"])["fingerprint"] == one["fingerprint"]


def test_the_runtime_s_requirements_count(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [fingerprint(project, stack(image)) for image in BUILDERS]
    monkeypatch.setattr("components.edge.conda.RUNTIME_REQUIREMENTS", ("azureml-inference-server-http==9",))
    after = [fingerprint(project, stack(image)) for image in BUILDERS]
    assert not set(before) & set(after)


@pytest.mark.parametrize("image", BUILDERS[:2], ids=lambda image: image["builder"])
def test_another_platform_is_another_image_and_a_preview_says_so(project: Path, image: dict[str, str]) -> None:
    def inputs(**more: str) -> Any:
        return image_inputs(settings(project, stack({**image, **more})), Existing(), "w", "r", ["m:1"])

    usual, arm = inputs(), inputs(platform="linux/arm64")
    assert arm["fingerprint"] != usual["fingerprint"]
    assert arm["sources"] == {**usual["sources"], "platform": "linux/arm64"}
    assert {key for key in arm if arm[key] != usual[key]} == {"fingerprint", "sources"}


def test_the_sources_say_what_they_are(project: Path) -> None:
    sources = image_inputs(settings(project, stack(BUILDERS[0])), Existing(), "w", "r", ["m:1"])["sources"]
    assert set(sources) == {
        "script",
        "condaFile",
        "runtime",
        "model model",
        "dependency lib",
        "dockerfile",
        "base image",
    }
    assert sources["script"].startswith("score.py ")
    assert sources["model model"].startswith("model.pkl ")
    assert yaml.safe_dump(sources)
