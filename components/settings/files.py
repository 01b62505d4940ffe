"""Checks of the files that the settings name. They are read, never run or imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import yaml

from components.edge import fingerprint
from components.settings.problems import Finding, did_you_mean

# The driver that azureml-core generates lies in an image as main.py, in the same folder as the script; every builder follows it.
_DRIVER = "main.py"

TEMPLATE_VARIABLES = ("base_image", "python", "app_root", "models", "script")
"""What the builders docker and acr give to the Dockerfile's template (components/services/builders/context.py)."""

# azureml-core quotes a name that is quoted already in the signed address (azureml/_file_utils/upload.py), so that the signature is
# another blob's: storage answers 403.
_UPLOADABLE = re.compile(r"[A-Za-z0-9._~/-]+")

_CONDA_KEYS = ("name", "channels", "dependencies", "prefix", "variables")
_MATCH_SPEC = re.compile(
    r"(?:[A-Za-z0-9_./:-]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)"
    r"(?P<version>\s*(?:[=<>!~]=?|==)\s*[^\s=<>!~].*|\s+[0-9*].*)?(?:\[.*\])?"
)
_PYTHON_PIN = re.compile(r"={1,2}\s*\d+(?:\.\d+){0,2}(?:\.\*)?")


def check_model(path: Path) -> Iterator[Finding]:
    """A model is a file or a folder with at least one file, and not empty, whose names azureml-core can upload."""
    fix = "train it (python scoring/train.py makes the example's) or name the file that holds it"
    names = [path.name]
    if not path.exists():
        yield Finding(f"there is no file or folder {path}", fix)
    elif path.is_dir():
        try:
            names = [f"{path.name}/{relative}" for relative in fingerprint.tree_files(path)]
        except fingerprint.FingerprintError as error:
            yield Finding(str(error), fix)
    elif not path.is_file() or path.stat().st_size == 0:
        yield Finding(f"{path} is empty or not a regular file", fix)
    if odd := [name for name in names if not _UPLOADABLE.fullmatch(name)]:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        rule = f"azureml-core uploads files whose names have letters, digits, . _ - ~ only; not {odd[0]!r}{more}"
        yield Finding(rule, "rename them: blanks and other characters become _")


def check_dependency(path: Path) -> Iterator[Finding]:
    """A dependency of the script is a file, or a folder whose links stay inside it."""
    if not path.exists():
        yield Finding(f"there is no file or folder {path}", "write it, or take it out of image.dependencies")
    elif path.is_dir():
        try:
            fingerprint.tree_files(path)
        except fingerprint.FingerprintError as error:
            yield Finding(str(error), "mend the folder, or take it out of image.dependencies")


def check_template(path: Path) -> Iterator[Finding]:
    """The Dockerfile's template can be rendered: jinja2 can read it, and it asks for nothing that the builders do not know."""
    if not path.is_file():
        yield Finding(f"there is no file {path}", "write it, or leave image.dockerfile out to use the project's own")
        return
    try:
        template = jinja2.Environment(autoescape=False).parse(path.read_text(encoding="utf-8"))  # noqa: S701 - a Dockerfile
    except UnicodeDecodeError:
        yield Finding(f"{path} is not text", "write it as UTF-8")
    except jinja2.TemplateSyntaxError as error:
        yield Finding(f"{path} line {error.lineno}: {error.message}", "correct the line")
    else:
        for name in sorted(jinja2.meta.find_undeclared_variables(template) - set(TEMPLATE_VARIABLES)):
            meant = did_you_mean(name, TEMPLATE_VARIABLES)
            yield Finding(f"{path} asks for {name!r}{meant}", f"it may ask for {', '.join(TEMPLATE_VARIABLES)}")


def check_script(path: Path) -> Iterator[Finding]:
    """A scoring script is a Python file whose module defines `init()` and `run(...)`; its name must be importable
    (azureml-core, `validate_entry_script_name`)."""
    if path.suffix != ".py" or not path.stem.isidentifier() or iskeyword(path.stem):
        yield Finding(
            "a scoring script is a file <name>.py whose name is a Python identifier",
            "rename it, for example to score.py",
        )
    elif path.name == _DRIVER:
        yield Finding("Azure ML writes a file of its own under the name main.py", "rename it, for example to score.py")
    if not path.is_file():
        yield Finding(f"there is no file {path}", "write it, or name the file that defines init() and run(input_data)")
        return
    try:
        module = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        yield Finding(f"{path} line {error.lineno}: {error.msg}", "correct the line")
        return
    except ValueError as error:  # null bytes
        yield Finding(f"{path} is not Python: {error}", "name the file that defines init() and run(input_data)")
        return
    yield from _entry_points(path, module)


def _entry_points(path: Path, module: ast.Module) -> Iterator[Finding]:
    names = dict(_top_level(module.body))
    for name, call, wanted in (("init", "init()", 0), ("run", "run(input_data)", 1)):
        if name not in names:
            yield Finding(
                f"{path} does not define {call} at its top level", f"add the function: the scoring server calls {call}"
            )
        elif isinstance(function := names[name], ast.AsyncFunctionDef):
            yield Finding(
                f"{path} line {function.lineno}: {name} is async; the scoring server calls it plainly", "write def"
            )
        elif isinstance(function, ast.FunctionDef) and not _takes(function.args, wanted):
            yield Finding(
                f"{path} line {function.lineno}: {name} cannot be called as {call}", f"give it the parameters of {call}"
            )


def _top_level(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names that running the module binds, with the statement that does it; branches of if, try and with count."""
    for statement in body:
        yield from ((name, statement) for name in _bound_by(statement))
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                yield from _top_level(handler.body)


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (alias.asname or alias.name for alias in aliases)
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            yield name


def _takes(arguments: ast.arguments, wanted: int) -> bool:
    """Whether a call with that many positional arguments (at least: inference-schema gives `run` one for each) can succeed."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    keyword_only = [default for default in arguments.kw_defaults if default is None]
    if wanted == 0:
        return required == 0 and not keyword_only
    return bool(positional) or arguments.vararg is not None or bool(arguments.kwonlyargs) or arguments.kwarg is not None


def check_conda(path: Path) -> Iterator[Finding]:
    """A conda specification: a mapping with a list `dependencies` of match specifications and at most one `pip` list."""
    if not path.is_file():
        yield Finding(
            f"there is no file {path}", "write it: a conda specification with python and the packages of the script"
        )
        return
    try:
        specification = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        yield Finding(f"{path}{line} is not YAML: {error.problem or error.context}", "correct the line")
        return
    except (yaml.YAMLError, UnicodeDecodeError):
        yield Finding(f"{path} is not YAML text", "write it as UTF-8 YAML")
        return
    example = "write dependencies: [python=3.11, pip, {pip: [scikit-learn]}]"
    if not isinstance(specification, dict):
        yield Finding(f"{path} is not a conda specification: it must be a mapping with the key dependencies", example)
        return
    yield from _other_keys(path, specification)
    dependencies = specification.get("dependencies")
    if not isinstance(dependencies, list) or not dependencies:
        meant = next((did for other in specification if (did := did_you_mean(str(other), ["dependencies"]))), "")
        yield Finding(
            f"{path} is not a conda specification: it needs a list dependencies{meant if dependencies is None else ''}",
            example,
        )
        return
    yield from _dependencies(path, dependencies)


def _other_keys(path: Path, specification: dict[Any, Any]) -> Iterator[Finding]:
    channels = specification.get("channels")
    if channels is not None and not (isinstance(channels, list) and all(isinstance(name, str) for name in channels)):
        yield Finding(f"{path}: channels must be a list of names", "write channels: [conda-forge]")
    if not isinstance(specification.get("name", ""), str):
        yield Finding(f"{path}: name must be text", "write the name in quotes")
    for other in specification:
        if other not in _CONDA_KEYS and (meant := did_you_mean(str(other), _CONDA_KEYS)):
            yield Finding(f"{path}: conda knows no key {other!r}{meant}", "correct the key")


def _dependencies(path: Path, dependencies: list[Any]) -> Iterator[Finding]:
    pip_lists = 0
    for entry in dependencies:
        if isinstance(entry, dict) and list(entry) == ["pip"]:
            pip_lists += 1
            packages = entry["pip"]
            if not isinstance(packages, list) or not all(
                isinstance(package, str) and package.strip() for package in packages
            ):
                yield Finding(
                    f"{path}: pip must be a list of requirements, one text each",
                    "write - pip: with an indented list below it",
                )
        elif not isinstance(entry, str):
            yield Finding(
                f"{path}: dependency {entry!r} is neither text nor a pip list", "write name=version, or - pip: [...]"
            )
        else:
            yield from _match_spec(path, entry.strip())
    if pip_lists > 1:
        yield Finding(f"{path}: conda reads one pip list, found {pip_lists}", "put all pip requirements into one list")


def _match_spec(path: Path, entry: str) -> Iterator[Finding]:
    match = _MATCH_SPEC.fullmatch(entry)
    if match is None:
        yield Finding(f"{path}: {entry!r} is not a conda package", "write name, name=version or channel::name=version")
        return
    version = (match["version"] or "").strip()
    if match["name"].lower() == "python" and version and not _PYTHON_PIN.fullmatch(version):
        yield Finding(
            f"{path}: {entry!r} leaves open which Python the image gets",
            "pin it: python=3.11 (major, major.minor or major.minor.patch)",
        )
