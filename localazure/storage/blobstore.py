"""Blobs on disk. Names live in the database only: a file is called by a random id, so that no name can lead out of the folder."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localazure.instance import Instance
from localazure.store import Store

_TABLES = """
CREATE TABLE IF NOT EXISTS ml_blobs (
    workspace TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, size INTEGER,
    md5 TEXT, content_type TEXT NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL,
    PRIMARY KEY (workspace, name));
CREATE TABLE IF NOT EXISTS ml_blocks (
    workspace TEXT NOT NULL, blob TEXT NOT NULL, id TEXT NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL,
    created REAL NOT NULL, PRIMARY KEY (workspace, blob, id));
CREATE TABLE IF NOT EXISTS storage_metadata (
    owner TEXT NOT NULL, blob TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, blob, key));
"""  # the names of the first two are those of databases that exist; a workspace is an owner

_BLOCK_LIFETIME = 7 * 24 * 3600  # "Put Block": an uncommitted block is discarded after one week


@dataclass(frozen=True)
class Blob:
    """`size` is None for a blob that still grows (a build log); `modified` is in seconds since 1970."""

    name: str
    path: Path
    size: int | None
    md5: str | None
    content_type: str
    etag: str
    modified: float
    metadata: dict[str, str]

    def length(self) -> int:
        """Bytes that can be read now."""
        return self.path.stat().st_size if self.size is None else self.size


class BlobStore:
    """A file is written first and named in the database after it is whole: what a kill leaves half-written is swept at the next start."""

    def __init__(self, instance: Instance, store: Store) -> None:
        self._folder, self._store = instance.blobs, store
        store.script(_TABLES)

    def sweep(self) -> None:
        """Remove files that no row names: leftovers of uploads that a kill interrupted, and blocks nobody committed."""
        self._store.execute("DELETE FROM ml_blocks WHERE created < ?", time.time() - _BLOCK_LIFETIME)
        rows = self._store.all("SELECT workspace, file FROM ml_blobs UNION ALL SELECT workspace, file FROM ml_blocks")
        named = {self._folder / row["workspace"] / row["file"] for row in rows}
        for path in self._folder.glob("*/*"):
            if path not in named and path.is_file():
                path.unlink(missing_ok=True)

    def draft(self, owner: str) -> Path:
        """A path for a file to be."""
        folder = self._folder / owner
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / uuid.uuid4().hex

    def commit(
        self,
        owner: str,
        name: str,
        file: Path,
        *,
        content_type: str = "application/octet-stream",
        md5: str | None = None,
        growing: bool = False,
    ) -> Blob:
        """Give the file a name, in place of what had it. Blocks staged under the name are gone, as in Azure."""
        size = None if growing else file.stat().st_size
        replaced = self.find(owner, name)
        with self._store.transaction():
            blocks = self._store.all("SELECT file FROM ml_blocks WHERE workspace = ? AND blob = ?", owner, name)
            self._store.execute("DELETE FROM ml_blocks WHERE workspace = ? AND blob = ?", owner, name)
            self._store.execute("DELETE FROM storage_metadata WHERE owner = ? AND blob = ?", owner, name)
            etag = f'"0x{uuid.uuid4().hex[:15].upper()}"'
            self._store.execute(
                "INSERT OR REPLACE INTO ml_blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                owner, name, file.name, size, md5, content_type, etag, time.time(),
            )  # fmt: skip
        if replaced:
            replaced.path.unlink(missing_ok=True)
        for row in blocks:
            (file.parent / row["file"]).unlink(missing_ok=True)
        blob = self.find(owner, name)
        assert blob
        return blob

    def seal(self, owner: str, name: str, metadata: Mapping[str, str] | None = None) -> None:
        """A growing blob is complete; its metadata from now on."""
        blob = self.find(owner, name)
        if not blob or blob.size is not None:
            return
        with self._store.transaction():
            self._store.execute(
                "UPDATE ml_blobs SET size = ?, modified = ? WHERE workspace = ? AND name = ?",
                blob.length(), time.time(), owner, name,
            )  # fmt: skip
            for key, value in (metadata or {}).items():
                self._store.execute(
                    "INSERT OR REPLACE INTO storage_metadata VALUES (?, ?, ?, ?)", owner, name, key, value
                )

    def find(self, owner: str, name: str) -> Blob | None:
        row = self._store.one("SELECT * FROM ml_blobs WHERE workspace = ? AND name = ?", owner, name)
        if not row:
            return None
        metadata = self._store.all("SELECT key, value FROM storage_metadata WHERE owner = ? AND blob = ?", owner, name)
        return Blob(
            name=row["name"],
            path=self._folder / owner / row["file"],
            size=row["size"],
            md5=row["md5"],
            content_type=row["content_type"],
            etag=row["etag"],
            modified=row["modified"],
            metadata={entry["key"]: entry["value"] for entry in metadata},
        )

    def stage(self, owner: str, name: str, block: str, file: Path) -> None:
        """Keep an uncommitted block; one of the same id is replaced."""
        replaced = self.block(owner, name, block)
        self._store.execute(
            "INSERT OR REPLACE INTO ml_blocks VALUES (?, ?, ?, ?, ?, ?)",
            owner, name, block, file.name, file.stat().st_size, time.time(),
        )  # fmt: skip
        if replaced:
            replaced.unlink(missing_ok=True)

    def block(self, owner: str, name: str, block: str) -> Path | None:
        row = self._store.one(
            "SELECT file FROM ml_blocks WHERE workspace = ? AND blob = ? AND id = ?", owner, name, block
        )
        return self._folder / owner / row["file"] if row else None

    def staged_bytes(self, owner: str, name: str) -> int:
        """Size of all uncommitted blocks of a blob."""
        row = self._store.one(
            "SELECT COALESCE(SUM(size), 0) AS total FROM ml_blocks WHERE workspace = ? AND blob = ?", owner, name
        )
        return int(row["total"]) if row else 0

    def older(self, owner: str, prefix: str, before: float) -> list[str]:
        """Names of an owner's blobs that begin so and were last written before this time (seconds since 1970)."""
        rows = self._store.all(
            "SELECT name FROM ml_blobs WHERE workspace = ? AND substr(name, 1, ?) = ? AND modified < ?",
            owner, len(prefix), prefix, before,
        )  # fmt: skip
        return [row["name"] for row in rows]

    def remove(self, owner: str, name: str) -> None:
        """Absence is fine."""
        blob = self.find(owner, name)
        if not blob:
            return
        with self._store.transaction():
            self._store.execute("DELETE FROM ml_blobs WHERE workspace = ? AND name = ?", owner, name)
            self._store.execute("DELETE FROM storage_metadata WHERE owner = ? AND blob = ?", owner, name)
        blob.path.unlink(missing_ok=True)

    def forget(self, owner: str) -> None:
        """Remove every blob of an owner that was deleted for good."""
        with self._store.transaction():
            self._store.execute("DELETE FROM ml_blobs WHERE workspace = ?", owner)
            self._store.execute("DELETE FROM ml_blocks WHERE workspace = ?", owner)
            self._store.execute("DELETE FROM storage_metadata WHERE owner = ?", owner)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder / owner)


def concatenate(parts: list[Path], target: Path) -> None:
    """One file of many, copied by the kernel: never in memory."""
    with target.open("xb") as whole:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, whole, 2**20)
