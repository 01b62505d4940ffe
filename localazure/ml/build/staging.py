"""Lays out the application root from what the SDK uploaded, exactly as it was uploaded, and checks that the driver can load it."""

from __future__ import annotations

import ast
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from localazure.builds.log import BuildError, BuildLog
from localazure.ml.build.request import BuildRequest

MAX_UNPACKED = 5 * 2**30
MAX_MEMBERS = 50_000
DRIVER = "main.py"


def stage(request: BuildRequest, root: Path, log: BuildLog) -> None:
    """Fill the new folder `root`. Raises BuildError."""
    root.mkdir(parents=True)
    for name, path in request.archives.items():
        log.line(f"Unpacking {name}")
        unpack(path, root, name)
    for name, path in request.files.items():
        _place(path, _inside(root, name, name))
    for model in request.models:
        log.line(f"Adding model {model.name}:{model.version}")
        folder = root / model.folder
        for name, path in model.files.items():
            if model.unpack:
                unpack(path, folder, name)
            else:
                _place(path, _inside(folder, name, name))
    _place(request.driver, root / DRIVER)
    _make_readable(root)
    check_driver(root, list(request.archives), log)


def unpack(archive: Path, root: Path, name: str) -> None:
    """Unpack a tarball below `root`: nothing outside it, no devices, links as copies of what they point at inside the archive."""
    try:
        with tarfile.open(archive) as tar:
            total = 0
            for number, member in enumerate(tar):
                total += member.size
                if number >= MAX_MEMBERS or total > MAX_UNPACKED:
                    raise BuildError(
                        f"the archive {name} holds too much: over {MAX_MEMBERS} files or {MAX_UNPACKED} bytes"
                    )
                _unpack_member(tar, member, root, name)
            _verify_end(tar)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise BuildError(f"the archive {name} cannot be unpacked: {error}") from error


def _verify_end(tar: tarfile.TarFile) -> None:
    """The checksum of a compressed archive stands behind the last member, where nobody has read yet."""
    assert tar.fileobj
    for _ in range(MAX_UNPACKED // 2**20):
        if not tar.fileobj.read(2**20):
            return


def check_driver(root: Path, archives: list[str], log: BuildLog) -> None:
    """The driver that azureml-core generates opens one script beside itself; it must be there and define init and run."""
    script = _script_of(_parse(root / DRIVER, DRIVER))
    if script is None:
        log.line("The driver is not one that azureml-core generates; it is used unchecked.")
        return
    path = root / script
    if not path.is_file():
        held = sorted(str(found.relative_to(root)) for found in root.rglob("*.py") if found.name != DRIVER)[:10]
        raise BuildError(
            f"the driver {DRIVER} opens {script!r} beside itself, but no dependency has that path; the archives "
            f"{', '.join(archives) or '(none)'} hold {', '.join(held) or 'no script'}. azureml-core 1.61 packs scripts "
            "under their absolute path; use 1.60.0.post1"
        )
    defined = _defined(_parse(path, script))
    missing = [name for name in ("init", "run") if name not in defined and "*" not in defined]
    if missing:
        raise BuildError(f"the script {script} does not define {' and '.join(f'{name}()' for name in missing)}")
    log.line(f"The driver loads {script}")


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, name: str) -> None:
    target = _inside(root, member.name, name)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    if member.isdev():
        raise BuildError(f"the archive {name} holds {member.name!r}, which is a device")
    try:
        content = tar.extractfile(member)
    except KeyError:
        content = None
    if content is None:
        raise BuildError(f"the archive {name} holds {member.name!r}, a link to nothing in the archive")
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file, 2**20)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _inside(root: Path, name: str, source: str) -> Path:
    """Only plain relative names; links are never made, so no name can be led elsewhere by an earlier one."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise BuildError(f"the archive {source} holds {name!r}, which leads out of the application folder")
    return root / path


def _place(source: Path, target: Path) -> None:
    """A hard link where the file system can: models are large."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _make_readable(root: Path) -> None:
    """The module may run as any user."""
    for path in [root, *root.rglob("*")]:
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)


def _parse(path: Path, name: str) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BuildError(f"the script {name} is not valid Python: {error}") from error


def _script_of(driver: ast.Module) -> str | None:
    """The constant in `script_location = os.path.join(..., 'score.py')` (azureml-core: data/main_template.txt)."""
    for node in driver.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id="script_location")],
                value=ast.Call(args=[*_, ast.Constant(value=str(script))]),
            ):
                return script
    return None


def _defined(module: ast.Module) -> set[str]:
    """Names bound at the top level, conditional ones included; `*` for a star import."""
    names: set[str] = set()
    nodes: list[ast.AST] = list(module.body)
    while nodes:
        node = nodes.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
                continue
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name.split(".")[0] for alias in aliases}
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
        nodes.extend(ast.iter_child_nodes(node))
    return names
