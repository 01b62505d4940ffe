"""The files that settings name: read and judged, never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.settings.files import check_conda, check_script

OK = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


def script_problems(folder: Path, text: str, name: str = "score.py") -> list[str]:
    path = folder / name
    path.write_text(text)
    return [finding.rule.replace(str(path), "FILE") for finding in check_script(path)]


def conda_problems(folder: Path, text: str) -> list[str]:
    path = folder / "myenv.yml"
    path.write_text(text)
    return [finding.rule.replace(str(path), "FILE") for finding in check_conda(path)]


@pytest.mark.parametrize(
    "text",
    [
        OK,
        "from impl import init, run\n",
        "from impl import start as init\nimport scorer as run\n",
        "try:\n    from a import init\nexcept ImportError:\n    def init(): pass\nif True:\n    run = lambda data: data\n",
        "init, run = make()\n",
        "class Run:\n    pass\ninit = run = Run()\n",
        "def init(size=1, *args, **more): ...\ndef run(*data): ...\n",
        "@rawhttp\ndef run(request): ...\ndef init(): ...\n",
        "@input_schema('a', 1)\ndef run(a, b): ...\ndef init(): ...\n",
        "def init(): ...\ndef run(*, request): ...\n",
        "init: object = 1\ndef run(x): ...\n",
        "# -*- coding: latin-1 -*-\n" + OK,
    ],
)
def test_scripts_that_can_score(tmp_path: Path, text: str) -> None:
    assert script_problems(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["FILE does not define init() at its top level", "FILE does not define run(input_data) at its top level"]),
        ("def run(x): ...\n", ["FILE does not define init() at its top level"]),
        ("def init(): ...\n", ["FILE does not define run(input_data) at its top level"]),
        ("class A:\n    def init(self): ...\n    def run(self, x): ...\n", ["init()", "run(input_data)"]),
        ("def f():\n    def init(): ...\n    def run(x): ...\n", ["init()", "run(input_data)"]),
        ("def init(): ...\ndef run(): ...\n", ["FILE line 2: run cannot be called as run(input_data)"]),
        ("def init(model): ...\ndef run(x): ...\n", ["FILE line 1: init cannot be called as init()"]),
        ("def init(*, model): ...\ndef run(x): ...\n", ["FILE line 1: init cannot be called as init()"]),
        ("def init(): ...\nasync def run(x): ...\n", ["FILE line 2: run is async"]),
        ("run: object\ndef init(): ...\n", ["run(input_data)"]),
        ("def init(): ...\ndef run(x):\n  return (\n", ["FILE line 3: "]),
        ("\0", ["null bytes"]),
    ],
)
def test_scripts_that_cannot(tmp_path: Path, text: str, said: list[str]) -> None:
    found = script_problems(tmp_path, text)
    assert len(found) == len(said)
    assert all(part in rule for part, rule in zip(said, found, strict=True))


@pytest.mark.parametrize("name", ["score-v2.py", "2score.py", "class.py", "score.txt", "score", "my score.py"])
def test_the_scripts_name_must_be_importable(tmp_path: Path, name: str) -> None:
    assert ["Python identifier" in rule for rule in script_problems(tmp_path, OK, name)] == [True]


def test_the_scripts_name_must_not_be_the_drivers(tmp_path: Path) -> None:
    assert ["main.py" in rule for rule in script_problems(tmp_path, OK, "main.py")] == [True]


def test_a_script_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    assert script_problems(tmp_path, f"open({str(marker)!r}, 'w')\n{OK}") == []
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "dependencies: [python=3.11]",
        "name: x\nchannels: [conda-forge, defaults]\ndependencies:\n  - python==3.11.7\n  - pip\n  - pip:\n      - scikit-learn==1.9.1\n",
        "dependencies: [python, pandas, scikit-learn, numpy, {pip: [azureml-defaults]}]",
        "dependencies: [python=3, numpy>=1.20, 'conda-forge::scipy=1.10=py311_0', 'pandas 1.5.*', 'pytorch[version=2]', 'a!=1']",
        "dependencies: ['python=3.11.*']\nvariables: {A: b}\nprefix: /x\n",
        "dependencies: [numpy]",
        "dependencies: [{pip: []}]",
    ],
)
def test_conda_specifications(tmp_path: Path, text: str) -> None:
    assert conda_problems(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["must be a mapping"]),
        ("- python=3.11", ["must be a mapping"]),
        ("scikit-learn==1.9.1", ["must be a mapping"]),
        ("a: [", ["FILE line 1 is not YAML"]),
        ("name: x", ["needs a list dependencies"]),
        (
            "dependancies: [python=3.11]",
            ["no key 'dependancies' (did you mean 'dependencies'?)", "needs a list dependencies"],
        ),
        ("dependencies: []", ["needs a list dependencies"]),
        ("dependencies: python=3.11", ["needs a list dependencies"]),
        ("dependencies: [3.11]", ["neither text nor a pip list"]),
        ("dependencies: [{python: 3.11}]", ["neither text nor a pip list"]),
        ("dependencies: [{pip: scikit-learn}]", ["pip must be a list"]),
        ("dependencies: [{pip: [1]}]", ["pip must be a list"]),
        ("dependencies: [{pip: [a]}, {pip: [b]}]", ["conda reads one pip list, found 2"]),
        ("dependencies: ['python>=3.8']", ["leaves open which Python"]),
        ("dependencies: ['python=3.8|3.9']", ["leaves open which Python"]),
        ("dependencies: ['python<4,>=3']", ["leaves open which Python"]),
        ("dependencies: ['git+https://example.com/x']", ["is not a conda package"]),
        ("dependencies: ['']", ["is not a conda package"]),
        ("dependencies: [a]\nchannels: conda-forge", ["channels must be a list"]),
        ("dependencies: [a]\nname: 5", ["name must be text"]),
        ("!!python/object/apply:os.getcwd []", ["is not YAML"]),
    ],
)
def test_what_is_no_conda_specification(tmp_path: Path, text: str, said: list[str]) -> None:
    found = conda_problems(tmp_path, text)
    assert len(found) == len(said), found
    assert all(part in rule for part, rule in zip(said, found, strict=True))


def test_a_binary_is_no_conda_specification(tmp_path: Path) -> None:
    (tmp_path / "myenv.yml").write_bytes(b"\xff\xfe\x00")
    assert [finding.rule.endswith("is not YAML text") for finding in check_conda(tmp_path / "myenv.yml")] == [True]
