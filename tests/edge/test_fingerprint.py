"""What changes a fingerprint and what does not, one rule a test."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.edge import fingerprint
from components.edge.fingerprint import FingerprintError, hash_file, hash_tree, image_fingerprint


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "score.py").write_bytes(b"a = 1\nb = 2\n")
    (root / "sub" / "data.bin").write_bytes(b"\0\r\n\1")
    (root / "run.sh").write_bytes(b"#!/bin/sh\n")
    return root


def test_a_copy_made_in_another_order_is_the_same(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    (copy / "sub").mkdir(parents=True)
    for name in ("sub/data.bin", "run.sh", "score.py"):
        (copy / name).write_bytes((tree / name).read_bytes())
    assert hash_tree(copy) == hash_tree(tree)


def test_times_and_other_mode_bits_do_not_count(tree: Path) -> None:
    before = hash_tree(tree)
    os.utime(tree / "score.py", (1, 1))
    (tree / "score.py").chmod(0o600)
    (tree / "sub").chmod(0o700)
    assert hash_tree(tree) == before


def test_the_executable_bit_counts(tree: Path) -> None:
    before, part = hash_tree(tree), fingerprint.file_part(tree / "run.sh")
    (tree / "run.sh").chmod(0o755)
    assert hash_tree(tree) != before
    assert fingerprint.file_part(tree / "run.sh") == f"{part}+x"


def test_crlf_of_a_text_does_not_count_but_of_a_binary_does(tree: Path) -> None:
    before = hash_tree(tree)
    (tree / "score.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    assert hash_tree(tree) == before
    (tree / "sub" / "data.bin").write_bytes(b"\0\n\1")
    assert hash_tree(tree) != before


def test_content_counts(tree: Path) -> None:
    before = hash_tree(tree)
    (tree / "score.py").write_bytes(b"a = 1\nb = 3\n")
    assert hash_tree(tree) != before


def test_renaming_counts(tree: Path) -> None:
    before = hash_tree(tree)
    (tree / "score.py").rename(tree / "scores.py")
    assert hash_tree(tree) != before


def test_the_name_of_the_folder_itself_does_not_count(tree: Path, tmp_path: Path) -> None:
    before = hash_tree(tree)
    assert hash_tree(tree.rename(tmp_path / "renamed")) == before


def test_the_name_counts_where_it_is_asked_for(tree: Path, tmp_path: Path) -> None:
    for path, renamed in ((tree / "score.py", tree / "scorer.py"), (tree, tmp_path / "renamed")):
        before = fingerprint.hash_named(path)
        assert before != hash_tree(path)
        assert fingerprint.hash_named(path.rename(renamed)) != before


def test_leftovers_of_python_and_empty_folders_do_not_count(tree: Path) -> None:
    before = hash_tree(tree)
    (tree / "sub" / "__pycache__").mkdir()
    (tree / "sub" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
    (tree / "empty").mkdir()
    assert hash_tree(tree) == before
    assert fingerprint.tree_files(tree) == ["run.sh", "score.py", "sub/data.bin"]


def test_moving_bytes_between_name_and_content_counts(tmp_path: Path) -> None:
    for number, (name, content) in enumerate([("ab", "c"), ("a", "bc")]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / name).write_text(content)
    assert hash_tree(tmp_path / "0") != hash_tree(tmp_path / "1")


def test_a_link_counts_by_its_target(tree: Path) -> None:
    (tree / "link.py").symlink_to("score.py")
    linked = hash_tree(tree)
    (tree / "link.py").unlink()
    (tree / "link.py").symlink_to("run.sh")
    relinked = hash_tree(tree)
    (tree / "link.py").unlink()
    (tree / "link.py").write_bytes((tree / "score.py").read_bytes())
    assert len({linked, relinked, hash_tree(tree)}) == 3


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "missing", "loop"])
def test_a_link_that_leads_out_or_nowhere_is_refused(tree: Path, target: str) -> None:
    (tree.parent / "outside").write_text("x")
    (tree / "loop").symlink_to(target)
    with pytest.raises(FingerprintError, match="loop"):
        hash_tree(tree)


def test_a_link_that_leads_out_through_another_is_refused(tree: Path) -> None:
    (tree.parent / "outside").mkdir()
    (tree.parent / "outside" / "f").write_text("x")
    (tree / "a").symlink_to("../outside")
    (tree / "b").symlink_to("a/f")
    with pytest.raises(FingerprintError, match="outside"):
        hash_tree(tree)


def test_what_is_no_file_is_refused(tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(FingerprintError, match="pipe"):
        hash_tree(tree)
    with pytest.raises(FingerprintError, match="not a file"):
        hash_file(tree)
    with pytest.raises(FingerprintError, match="not a folder"):
        hash_tree(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FingerprintError, match="no file"):
        hash_tree(tmp_path / "empty")


def test_a_single_file_as_a_tree_goes_by_its_content(tree: Path) -> None:
    before = hash_tree(tree / "score.py")
    assert hash_tree((tree / "score.py").rename(tree / "other.py")) == before
    assert before != hash_tree(tree / "run.sh")


def test_hash_file_is_sha256sum_for_unix_text_and_binaries(tree: Path) -> None:
    for name in ("score.py", "sub/data.bin"):
        assert hash_file(tree / name) == hashlib.sha256((tree / name).read_bytes()).hexdigest()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(content=st.lists(st.sampled_from([b"\r", b"\n", b"x"]), max_size=30).map(b"".join), block=st.integers(1, 5))
def test_line_ends_across_blocks(tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int) -> None:
    path = tmp_path_factory.mktemp("f") / "text"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_BLOCK", block)
        assert hash_file(path) == hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def test_a_big_file_is_streamed(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "model.pkl"
    with path.open("wb") as big:
        big.write(b"\0")
        big.truncate(64 << 20)
    tracemalloc.start()
    try:
        hash_file(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_image_fingerprint_is_a_tag_and_counts_labels_hashes_and_recipe() -> None:
    parts = {"script": "a" * 64, "conda": "b" * 64}
    one = image_fingerprint(parts, "azureml-1")
    assert re.fullmatch(r"[0-9a-f]{32}", one)
    assert image_fingerprint(dict(reversed(parts.items())), "azureml-1") == one
    swapped = {"script": "b" * 64, "conda": "a" * 64}
    others = [
        image_fingerprint(parts, "azureml-2"),
        image_fingerprint(swapped, "azureml-1"),
        image_fingerprint({**parts, "extra": ""}, "azureml-1"),
    ]
    assert len({one, *others}) == 4


def test_the_recipe_of_fingerprints_has_not_changed() -> None:
    """Equal on another machine and in another release: a changed value rebuilds every image of every user."""
    assert image_fingerprint({"script": "a"}, "azureml-1") == EXPECTED_IMAGE


def test_the_recipe_of_trees_has_not_changed(tree: Path) -> None:
    assert hash_tree(tree) == EXPECTED_TREE


EXPECTED_IMAGE = "dd00c1815f5c9c7e589afef73044b974"
EXPECTED_TREE = "406afece758d65ae217f3b1a7c776d1676688946ba7b085f96cdbc1b4ad43d75"


# The ignore file


def ignore(tree: Path, *patterns: str) -> list[str]:
    (tree / ".amlignore").write_text("\n".join(patterns) + "\n")
    return fingerprint.tree_files(tree)


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["run.sh", "score.py", "sub/data.bin"]),
        (["*.sh", "# a comment", ""], ["score.py", "sub/data.bin"]),
        (["sub/"], ["run.sh", "score.py"]),
        (["*", "!sub", "!sub/**"], ["sub/data.bin"]),
        (["/data.bin"], ["run.sh", "score.py", "sub/data.bin"]),
        (["data.bin"], ["run.sh", "score.py"]),
    ],
)
def test_what_the_ignore_file_names_is_left_out_as_azureml_core_reads_it(
    tree: Path, patterns: list[str], left: list[str]
) -> None:
    from azureml._project.ignore_file import AmlIgnoreFile

    assert ignore(tree, *patterns) == left
    theirs = AmlIgnoreFile(str(tree))
    there = ["run.sh", "score.py", "sub/data.bin"]
    assert [path for path in there if not theirs.is_file_excluded(path)] == left


def test_an_ignored_file_does_not_count_and_neither_does_the_ignore_file(tree: Path) -> None:
    (tree / "notes.txt").write_text("a")
    counted = hash_tree(tree)
    ignore(tree, "notes.txt")
    ignored = hash_tree(tree)
    (tree / "notes.txt").write_text("b")
    ignore(tree, "# the same", "notes.txt")
    assert hash_tree(tree) == ignored != counted
    (tree / "notes.txt").unlink()
    (tree / ".amlignore").unlink()
    assert hash_tree(tree) == ignored, "as if it had never been there"


def test_only_the_ignore_file_of_the_folder_itself_is_read(tree: Path) -> None:
    before = hash_tree(tree)
    (tree / ".gitignore").write_text("*")
    with_gitignore = hash_tree(tree)
    (tree / "sub" / ".amlignore").write_text("*")
    assert len({before, with_gitignore, hash_tree(tree)}) == 3, "they are content like any other"


def test_what_is_ignored_may_be_of_any_kind(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "away").symlink_to("/etc/hostname")
    assert ignore(tree, "pipe", "away") == ["run.sh", "score.py", "sub/data.bin"]


def test_a_link_to_what_is_ignored_is_refused(tree: Path) -> None:
    (tree / "link.py").symlink_to("score.py")
    with pytest.raises(FingerprintError, match=r"link\.py.*ignored"):
        ignore(tree, "score.py")
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "x").touch()
    (tree / ".amlignore").unlink()
    (tree / "cache").symlink_to("__pycache__")
    with pytest.raises(FingerprintError, match=r"cache.*ignored"):
        hash_tree(tree)


def test_an_ignore_file_that_cannot_be_read_is_refused(tree: Path) -> None:
    (tree / ".amlignore").write_bytes(b"\xff\xfe*")
    with pytest.raises(FingerprintError, match=r"cannot read .*\.amlignore"):
        hash_tree(tree)


# What is staged


def test_the_content_is_what_was_hashed(tree: Path) -> None:
    (tree / "score.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    for name, staged in (("score.py", b"a = 1\nb = 2\n"), ("sub/data.bin", b"\0\r\n\1")):
        assert b"".join(fingerprint.content(tree / name)) == staged
        assert hash_file(tree / name) == hashlib.sha256(staged).hexdigest()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", True),
        ("Zürich\r\n".encode(), True),
        ("Zürich\r\n".encode("latin-1"), False),
        (b"x" * 9000 + b"\0\r\n", False),
        (b"\x80\x02]q\x00.", False),
        (b"\x80\x02K\r\n.", False),
        ("ü".encode()[:1], False),
    ],
)
def test_text_is_utf_8_to_its_end(tmp_path: Path, data: bytes, text: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert fingerprint.is_text(path) is text
    staged = b"".join(fingerprint.content(path))
    assert staged == (data.replace(b"\r\n", b"\n") if text else data)


def test_a_character_across_two_blocks_is_still_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes("aüb\r\n".encode())
    monkeypatch.setattr(fingerprint, "_BLOCK", 2)
    assert fingerprint.is_text(path)
    assert b"".join(fingerprint.content(path)) == "aüb\n".encode()


@pytest.mark.parametrize("owner", [(0, 0), (12345, 54321)])
def test_the_owner_does_not_count(tree: Path, owner: tuple[int, int]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    before = hash_tree(tree)
    os.chown(tree / "score.py", *owner)
    assert hash_tree(tree) == before
