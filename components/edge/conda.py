"""The conda file as the builders use it: the user's environment and what the module runtime needs on top."""

from __future__ import annotations

import re
from typing import Any

import yaml

RUNTIME_REQUIREMENTS = ("azureml-inference-server-http==1.5.1", "paho-mqtt==2.1.0")
"""The scoring server and the MQTT client of scoring/edge_runtime. A user's own pin of either wins."""


def with_runtime(text: str) -> str:
    """The conda specification with the runtime's pip requirements added where the user names none of that project."""
    specification: dict[str, Any] = yaml.safe_load(text)
    dependencies = list(specification.get("dependencies") or [])
    pip = next((entry for entry in dependencies if isinstance(entry, dict) and "pip" in entry), None)
    if pip is None:
        pip = {"pip": []}
        dependencies.append(pip)
    users = list(pip["pip"] or [])
    named = {project(requirement) for requirement in users}
    pip["pip"] = users + [requirement for requirement in RUNTIME_REQUIREMENTS if project(requirement) not in named]
    return yaml.safe_dump({**specification, "dependencies": dependencies}, sort_keys=False)


def project(requirement: str) -> str:
    """`Scikit_Learn[x]>=1 ; python_version > "3"` -> `scikit-learn` (normalised as PyPI does)."""
    name = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", name.group(1)).lower() if name else ""


class CondaError(ValueError):
    """The environment cannot be installed by pip alone; the message says what stands against it and which builder can."""


# conda package -> PyPI project, where the names differ.
RENAMED = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "py-opencv": "opencv-python-headless",
    "opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "tensorflow-base": "tensorflow",
    "matplotlib-base": "matplotlib",
    "pillow-simd": "pillow",
    "msgpack-python": "msgpack",
}
# Part of the interpreter or of pip itself: nothing to install.
IMPLIED = frozenset({"python", "pip", "setuptools", "wheel"})
# Libraries and tools that only conda has; `azureml` builds with conda.
_CONDA_ONLY_NAMES = """
    blas cudatoolkit cudnn ffmpeg gcc git gxx gxx_linux-64 libblas libgcc libgcc-ng libgfortran libgomp libopenblas libstdcxx-ng
    llvm-openmp make mkl mkl-service nccl openjdk openmpi openssl r-base
"""
CONDA_ONLY = frozenset(_CONDA_ONLY_NAMES.split())
_SPEC = re.compile(r"(?:[^:\s]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)\s*(?P<version>.*)")


def python_version(text: str) -> str | None:
    """`3.11` where the file pins python (major.minor), else None."""
    for entry in _packages(text):
        name, version = _split(entry)
        found = re.search(r"(\d+\.\d+)", version)
        if name == "python" and found:
            return found.group(1)
    return None


def pip_requirements(text: str) -> list[str]:
    """The environment as pip requirements: conda packages by their PyPI name, then the pip list as it is.

    Raises:
        CondaError: a package that only conda has.
    """
    refused = [name for entry in _packages(text) if (name := _split(entry)[0]) in CONDA_ONLY]
    if refused:
        raise CondaError(
            f"the conda file asks for {', '.join(refused)}, which pip cannot install; "
            "use image.builder azureml, which builds with conda, or take it out"
        )
    return [*conda_requirements(text), *_pip_list(text)]


def conda_requirements(text: str) -> list[str]:
    """The conda packages among the requirements, translated: `numpy=1.26` -> `numpy==1.26.*`."""
    split = [_split(entry) for entry in _packages(text)]
    return [RENAMED.get(name, name) + _pip_version(version) for name, version in split if name not in IMPLIED]


def _packages(text: str) -> list[str]:
    dependencies = (yaml.safe_load(text) or {}).get("dependencies") or []
    return [entry for entry in dependencies if isinstance(entry, str)]


def _pip_list(text: str) -> list[str]:
    dependencies = (yaml.safe_load(text) or {}).get("dependencies") or []
    return [str(item) for entry in dependencies if isinstance(entry, dict) for item in entry.get("pip") or []]


def _split(entry: str) -> tuple[str, str]:
    found = _SPEC.fullmatch(entry.strip())
    if not found:
        raise CondaError(f"the conda file's dependency {entry!r} is not a package")
    return found["name"].lower(), found["version"].strip()


def _pip_version(version: str) -> str:
    """A conda version in pip's words. `=1.2` is fuzzy, `==1.2` exact, a build string after a second `=` has no meaning to pip."""
    if not version or version == "*":
        return ""
    if version[0].isdigit():  # "numpy 1.26"
        return f"=={version.split()[0]}"
    exact, fuzzy = re.match(r"==\s*([^=\s,|]+)", version), re.match(r"=\s*([^=\s,|]+)", version)
    if exact:
        return f"=={exact.group(1)}"
    if fuzzy:
        number = fuzzy.group(1)
        return f"=={number}" if number.endswith(".*") or version.count("=") > 1 else f"=={number}.*"
    if "|" in version:
        raise CondaError(f"the conda file's version {version!r} has alternatives, which pip does not know; choose one")
    return version.replace(" ", "")
