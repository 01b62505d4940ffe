from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from localazure.builds.log import BuildError
from localazure.ml.build import conda


def parse(*dependencies: str) -> conda.Environment:
    return conda.parse(("dependencies:\n" + "\n".join(f"- {line}" for line in dependencies)).encode())


@pytest.mark.parametrize(
    ("spec", "requirement", "fits", "does_not"),
    [
        ("numpy", "numpy", "9", None),
        ("numpy=1.26", "numpy==1.26.*", "1.26.4", "1.27"),
        ("numpy=1.26.*", "numpy==1.26.*", "1.26.4", "1.27"),
        ("numpy==1.26.4", "numpy==1.26.4", "1.26.4", "1.26.5"),
        ("numpy 1.26.4", "numpy==1.26.4", "1.26.4", "1.26.5"),
        ("numpy 1.26*", "numpy==1.26.*", "1.26.1", "1.25"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4.*", "1.26.4", "1.26.5"),
        ("numpy 1.26.4 py311h64a7726_0", "numpy==1.26.4", "1.26.4", "1.26.5"),
        ("numpy>=1.20,<2", "numpy>=1.20,<2", "1.26", "2.0"),
        ("numpy >=1.20, <2", "numpy>=1.20,<2", "1.26", "2.0"),
        ("'numpy[version=''>=1.20,<2'']'", "numpy>=1.20,<2", "1.26", "2.0"),
        ("conda-forge::NumPy=1", "numpy==1.*", "1.99", "2"),
        ("'numpy *'", "numpy", "1", None),
    ],
)
def test_conda_packages_become_requirements(spec: str, requirement: str, fits: str, does_not: str | None) -> None:
    (translated,) = parse(spec).conda
    assert Requirement(translated) == Requirement(requirement)
    assert Requirement(translated).specifier.contains(fits)
    assert does_not is None or not Requirement(translated).specifier.contains(does_not)


def test_python_and_the_pip_section_stand_apart() -> None:
    environment = conda.parse(
        b"name: e\nchannels: [conda-forge]\ndependencies:\n- python=3.11\n- pip\n- pip:\n  - tabulate>=0.9\n  - --pre\n"
    )
    assert environment == conda.Environment("==3.11.*", ("pip",), ("tabulate>=0.9", "--pre"))
    assert conda.satisfies(environment.python, "3.11.2")
    assert not conda.satisfies(environment.python, "3.12.0")
    assert conda.satisfies("", "3.12.0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"dependencies: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"- numpy", "must be a mapping"),
        (b"", "must be a mapping"),
        (b"name: e", "'dependencies' must be a list"),
        (b"dependencies: numpy", "'dependencies' must be a list"),
        (b"dependencies: [1]", "neither a package specification"),
        (b"dependencies: [{pip: numpy}]", "neither a package specification"),
        (b"dependencies: [{pip: [1]}]", "neither a package specification"),
        (b"dependencies: [{npm: [left-pad]}]", "neither a package specification"),
        (b"dependencies: ['numpy=1.2|1.3']", "alternatives"),
        (b"dependencies: ['numpy==one two']", "not a conda package specification"),
        (b"dependencies: ['--index-url=x']", "not a conda package specification"),
        (b"dependencies: ['numpy; os_name']", "not a conda package specification"),
        (b"dependencies: ['numpy @ file:///etc/passwd']", "not a conda package specification"),
        (b"#" * (2**20 + 1), "at most"),
        (b"[" * 100_000, "not valid YAML"),
    ],
)
def test_what_is_no_conda_file_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(BuildError, match="conda file") as error:
        conda.parse(content)
    assert message in str(error.value)
