"""What a conda environment file asks for, in terms of PyPI.

There is no conda here: a conda package is taken from PyPI under the same name, the pip section as it is, and Python must be the base
image's. Grammar of package specifications: conda's documentation, "Package match specifications".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from localazure.builds.log import BuildError

MAX_FILE = 2**20
_SPEC = re.compile(r"(?:[^\s:\[]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]*)\s*(?P<rest>.*)\Z", re.DOTALL)
_BRACKET = re.compile(r"\[\s*version\s*=\s*(?P<quote>['\"]?)(?P<version>[^'\"\]]*)(?P=quote)\s*\]\Z")
_OPERATORS = (">=", "<=", "!=", "==", "~=", ">", "<")


@dataclass(frozen=True)
class Environment:
    """`python` is a version specifier of PEP 440, `conda` requirements for pip, `pip` lines of a requirements file."""

    python: str = ""
    conda: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()


def parse(content: bytes) -> Environment:
    """Read an environment file. Raises BuildError that says what is wrong with it."""
    if len(content) > MAX_FILE:
        raise BuildError(f"the conda file has {len(content)} bytes; at most {MAX_FILE} are taken")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BuildError(f"the conda file is not valid YAML: {' '.join(str(error).split())}") from error
    return read(document)


def read(document: Any) -> Environment:
    """The same for a document that was read already. Raises BuildError."""
    if not isinstance(document, dict):
        raise BuildError("the conda file is not a conda environment: it must be a mapping with the key 'dependencies'")
    dependencies = document.get("dependencies")
    if not isinstance(dependencies, list):
        raise BuildError("the conda file is not a conda environment: 'dependencies' must be a list")
    python, conda, pip = "", [], []
    for entry in dependencies:
        if isinstance(entry, str):
            name, version = _translate(entry)
            if name == "python":
                python = version
            else:
                conda.append(name + version)
        else:
            pip.extend(_pip_lines(entry))
    return Environment(python, tuple(conda), tuple(pip))


def satisfies(python: str, version: str) -> bool:
    """Whether the interpreter's version is what the file asks for."""
    return SpecifierSet(python).contains(version, prereleases=True)


def _pip_lines(entry: Any) -> list[str]:
    lines = entry.get("pip") if isinstance(entry, dict) and set(entry) == {"pip"} else None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BuildError(
            f"the conda file is not a conda environment: {entry!r} in 'dependencies' is neither a package specification "
            "nor a 'pip:' list of texts"
        )
    return lines


def _translate(spec: str) -> tuple[str, str]:
    """`numpy=1.26` -> ("numpy", "==1.26.*")."""
    match = _SPEC.match(spec.strip())
    if not match:
        raise BuildError(f"the conda file asks for {spec!r}, which is not a conda package specification")
    name, rest = match["name"].lower(), match["rest"].strip()
    if bracket := _BRACKET.match(rest):
        rest = bracket["version"].strip()
    if "|" in rest:
        raise BuildError(f"the conda file asks for {spec!r}; alternatives ('|') cannot be resolved from PyPI")
    try:
        version = ",".join(filter(None, (_term(term) for term in _without_build(rest).split(","))))
        SpecifierSet(version)
        Requirement(name + version)
    except (InvalidSpecifier, InvalidRequirement) as error:
        raise BuildError(
            f"the conda file asks for {spec!r}, which is not a conda package specification ({error})"
        ) from error
    return name, version


def _without_build(rest: str) -> str:
    """`=1.2=py311_0` and `1.2 py311_0` name a build of conda's, which PyPI does not have."""
    if rest[:1].isdigit():
        return rest.split()[0]
    if rest.startswith("=") and not rest.startswith("=="):
        return "=" + rest[1:].split("=")[0].strip()
    return "".join(rest.split())


def _term(term: str) -> str:
    term = term.strip()
    if term in ("", "*"):
        return ""
    for operator in _OPERATORS:
        if term.startswith(operator):
            version = term.removeprefix(operator).strip()
            return operator + (version if operator in ("==", "!=") else version.removesuffix(".*"))
    fuzzy = term.startswith("=") or term.endswith("*")
    version = term.removeprefix("=").rstrip("*").rstrip(".")
    return f"=={version}.*" if fuzzy else f"=={version}"
