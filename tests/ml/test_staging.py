"""What is unpacked lands below the application root, or the build fails."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from localazure.builds.log import BuildError, BuildLog
from localazure.ml.build import staging
from localazure.ml.build.request import BuildRequest, ModelFiles

DRIVER = "import os\nscript_location = os.path.join(os.path.dirname(os.path.realpath(__file__)), 'score.py')\n"
SCORE = b"def init(): pass\ndef run(raw): return raw\n"


def tarball(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.fixture
def log(tmp_path: Path) -> BuildLog:
    return BuildLog(tmp_path / "log")


def request_of(
    tmp_path: Path, *archives: Path, driver: str = DRIVER, models: tuple[ModelFiles, ...] = ()
) -> BuildRequest:
    (tmp_path / "driver").write_text(driver)
    return BuildRequest(
        operation="o",
        location="127.0.0.1:1/x:1",
        driver=tmp_path / "driver",
        archives={path.name: path for path in archives},
        files={},
        environment=None,
        docker_steps=None,
        models=models,
    )


def test_the_application_root_is_what_was_uploaded(tmp_path: Path, log: BuildLog) -> None:
    script = member("score.py")
    tool = member("helper/tool.sh")
    tool.mode = 0o700
    first = tarball(tmp_path / "a.tar.gz", (script, SCORE))
    second = tarball(
        tmp_path / "b.tar.gz",
        (member("helper", tarfile.DIRTYPE), b""),
        (tool, b"x"),
        (member("helper/copy.sh", tarfile.LNKTYPE, "helper/tool.sh"), b""),
        (member("helper/link.sh", tarfile.SYMTYPE, "tool.sh"), b""),
    )
    blob = tmp_path / "blob"
    blob.write_bytes(b"model")
    blob.chmod(0o600)
    models = (ModelFiles("m", 3, unpack=False, files={"deep/m.pkl": blob}),)
    root = tmp_path / "work" / "app"
    request = request_of(tmp_path, first, second, models=models)
    staging.stage(request, root, log)
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in files.items()} == {
        "main.py": DRIVER.encode(),
        "score.py": SCORE,
        "helper/tool.sh": b"x",
        "helper/copy.sh": b"x",
        "helper/link.sh": b"x",
        "azureml-models/m/3/deep/m.pkl": b"model",
    }
    assert not any(path.is_symlink() for path in files.values())
    assert files["helper/tool.sh"].stat().st_mode & 0o777 == 0o755
    assert files["azureml-models/m/3/deep/m.pkl"].stat().st_mode & 0o777 == 0o644
    assert request.model_dir == "/var/azureml-app/azureml-models/m/3"


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../escaped", tarfile.REGTYPE, ""),
        ("a/../../escaped", tarfile.REGTYPE, ""),
        ("/escaped", tarfile.REGTYPE, ""),
        ("..\\escaped", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc/passwd"),
        ("link", tarfile.SYMTYPE, "../../etc/passwd"),
        ("link", tarfile.LNKTYPE, "/etc/passwd"),
        ("device", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
    ],
)
def test_nothing_leads_out_of_the_root(tmp_path: Path, log: BuildLog, name: str, kind: bytes, link: str) -> None:
    archive = tarball(tmp_path / "a.tar.gz", (member(name, kind, link), b"x"), (member("link/below"), b"x"))
    with pytest.raises(BuildError, match=r"a\.tar\.gz"):
        staging.unpack(archive, tmp_path / "work" / "app", "a.tar.gz")
    assert not list(tmp_path.rglob("escaped"))
    assert not (tmp_path / "work" / "app" / name).is_symlink()


def test_what_is_no_archive_or_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"not a tarball")
    with pytest.raises(BuildError, match="cannot be unpacked"):
        staging.unpack(tmp_path / "a", tmp_path / "app", "a")
    whole = tarball(tmp_path / "whole", (member("random"), os.urandom(100_000))).read_bytes()
    for name, broken in (("half", whole[:50_000]), ("changed", whole[:50_000] + bytes(40) + whole[50_040:])):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(BuildError, match="cannot be unpacked"):
            staging.unpack(tmp_path / name, tmp_path / "app", name)
    bomb = tarball(tmp_path / "b", (member("zeros"), b"\0" * 100_000))
    assert bomb.stat().st_size < 1000
    monkeypatch.setattr(staging, "MAX_UNPACKED", 50_000)
    with pytest.raises(BuildError, match="too much"):
        staging.unpack(bomb, tmp_path / "app", "b")
    assert not (tmp_path / "app" / "zeros").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (b"def run(raw): pass", "does not define init()"),
        (b"def init(): pass", "does not define run()"),
        (b"VALUE = 1", "does not define init() and run()"),
        (b"class A:\n  def init(self): pass\n  def run(self): pass", "does not define init() and run()"),
        (b"def outer():\n  def init(): pass\n  def run(raw): pass", "does not define init() and run()"),
        (b"def init(:", "not valid Python"),
        (b"\0", "not valid Python"),
        (b"try:\n  from a import init\nexcept ImportError:\n  def init(): pass\nrun = init", None),
        (b"from implementation import *", None),
        (b"async def init(): pass\nif True:\n  def run(raw): pass", None),
    ],
)
def test_the_script_must_define_init_and_run(tmp_path: Path, log: BuildLog, script: bytes, message: str | None) -> None:
    archive = tarball(tmp_path / "a.tar.gz", (member("score.py"), script))
    if message is None:
        staging.stage(request_of(tmp_path, archive), tmp_path / "app", log)
        return
    with pytest.raises(BuildError) as error:
        staging.stage(request_of(tmp_path, archive), tmp_path / "app", log)
    assert message in str(error.value)


def test_a_script_elsewhere_is_not_moved(tmp_path: Path, log: BuildLog) -> None:
    archive = tarball(tmp_path / "a.tar.gz", (member("home/user/score.py"), SCORE))
    with pytest.raises(BuildError, match=r"home/user/score\.py"):
        staging.stage(request_of(tmp_path, archive), tmp_path / "app", log)


def test_another_driver_is_used_unchecked(tmp_path: Path, log: BuildLog) -> None:
    staging.stage(request_of(tmp_path, driver="def init(): pass\ndef run(raw): pass\n"), tmp_path / "app", log)
    assert "unchecked" in (tmp_path / "log").read_text()
