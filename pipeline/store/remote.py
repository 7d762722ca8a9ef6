"""The store in object storage (`SLM_DATA=s3://bucket/folder`, or any other fsspec address).

Object storage has no rename, so the order of uploads makes a version atomic: its files first, its manifest last, as
one object. A version without a manifest does not exist. Since a version is named by the fingerprint of what it is made
from, two machines that make the same version upload the same bytes, and no lock between machines is needed.

Work is done in a mirror on the local disk (`SLM_CACHE`, default `~/.cache/slm`); files are downloaded to it when they
are first read. The mirror can be deleted at any time; unfinished work then starts again.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.store import Store
from pipeline.store.tables import put_in_place


@dataclass(frozen=True)
class RemoteArtifact(Artifact):
    """An artifact whose files are downloaded to the mirror when they are first read."""

    address: str = ""  # of the version's folder

    def file(self, name: str) -> Path:
        path = self.directory / name
        if not path.exists() and name in self.manifest["files"]:
            filesystem, folder = _filesystem(self.address)
            path.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own: two processes may download the same file at once.
            temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            filesystem.get_file(f"{folder}/{name}", str(temporary))
            put_in_place(temporary, path)
        return path

    def local_directory(self) -> Path:
        for name in self.manifest["files"]:
            self.file(name)
        return self.directory


class RemoteStore(Store):
    """A store at an fsspec address, accessed through a local mirror."""

    def __init__(self, address: str, recipe: str):
        self.address = address.rstrip("/")
        mirror = Path(os.environ.get("SLM_CACHE") or Path.home() / ".cache" / "slm")
        super().__init__(mirror / hashlib.sha256(self.address.encode()).hexdigest()[:16], recipe)
        try:
            self._files, self._root = _filesystem(self.address)
        except (ImportError, ValueError) as error:
            raise UserError(
                f"SLM_DATA={address} cannot be opened: {error} (for S3: `pip install -e .[remote]`)."
            ) from error

    def current(self, asset: str) -> Artifact | None:
        version = self._text(f"{asset}/current")
        return None if version is None else self._read(asset, version.strip())

    def versions(self, asset: str) -> list[Artifact]:
        self._files.invalidate_cache()
        for path in self._files.glob(f"{self._root}/{self.recipe}/{asset}/*/{MANIFEST}"):
            self._read(asset, path.split("/")[-2])  # downloads its manifest to the mirror
        return super().versions(asset)

    def assets(self) -> list[str]:
        self._files.invalidate_cache()
        return sorted(path.split("/")[-2] for path in self._files.glob(f"{self._root}/{self.recipe}/*/current"))

    def prune(self, asset: str, keep: int) -> list[tuple[str, int]]:
        freed = []
        for version, _ in super().prune(asset, keep):
            folder = f"{self._root}/{self.recipe}/{asset}/{version}"
            size = sum(self._files.find(folder, detail=True)[path]["size"] or 0 for path in self._files.find(folder))
            self._files.rm_file(f"{folder}/{MANIFEST}")  # first: without it the version does not exist
            self._files.rm(folder, recursive=True)
            freed.append((version, size))
        return freed

    def read_record(self, name: str) -> str | None:
        return self._text(name)

    def write_record(self, name: str, text: str) -> None:
        self._files.pipe_file(f"{self._root}/{self.recipe}/{name}", text.encode())

    def _read(self, asset: str, version: str) -> Artifact | None:
        directory = self._asset_directory(asset) / version
        if not (directory / MANIFEST).exists():
            text = self._text(f"{asset}/{version}/{MANIFEST}")
            if text is None:
                return None
            directory.mkdir(parents=True, exist_ok=True)
            temporary = directory / f"{MANIFEST}.{os.getpid()}.tmp"
            temporary.write_text(text)
            put_in_place(temporary, directory / MANIFEST)
        found = super()._read(asset, version)
        if found is None:
            return None
        address = f"{self.address}/{self.recipe}/{asset}/{version}"
        return RemoteArtifact(asset, version, directory, found.manifest, address=address)

    def _publish(self, asset: str, version: str) -> None:
        """Upload a version, its manifest last; files that an earlier version holds are copied within the storage."""
        local = super()._read(asset, version)
        assert local is not None
        folder = f"{self._root}/{self.recipe}/{asset}"
        uploaded: dict[str, str] = {}
        for earlier in self.versions(asset):
            if earlier.version != version:
                files = earlier.manifest["files"].items()
                uploaded.update({entry["sha256"]: f"{folder}/{earlier.version}/{name}" for name, entry in files})
        for name, entry in local.manifest["files"].items():
            if entry["sha256"] in uploaded:
                self._files.copy(uploaded[entry["sha256"]], f"{folder}/{version}/{name}")
            else:
                self._files.put_file(str(local.directory / name), f"{folder}/{version}/{name}")
        self._files.put_file(str(local.directory / MANIFEST), f"{folder}/{version}/{MANIFEST}")

    def _set_current(self, asset: str, version: str) -> None:
        if self._text(f"{asset}/{version}/{MANIFEST}") is None:  # killed between the local rename and the upload
            self._publish(asset, version)
        if self._text(f"{asset}/current") != version + "\n":
            self._files.pipe_file(f"{self._root}/{self.recipe}/{asset}/current", f"{version}\n".encode())

    def _text(self, name: str) -> str | None:
        try:
            self._files.invalidate_cache()
            content: bytes = self._files.cat_file(f"{self._root}/{self.recipe}/{name}")
            return content.decode()
        except FileNotFoundError:
            return None


def open_store(root: str | Path, recipe: str) -> Store:
    """The store at `root`: a folder, or an fsspec address such as `s3://bucket/folder`."""
    return RemoteStore(str(root), recipe) if "://" in str(root) else Store(root, recipe)


def _filesystem(address: str) -> tuple[Any, str]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(address)
    return filesystem, path.rstrip("/")
