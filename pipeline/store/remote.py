"""The store in object storage (`SLM_DATA=s3://bucket/folder`, or any other fsspec address).

Object storage has no rename, so the order of uploads makes a version atomic: its files first, its manifest last, as
one object. A version without a manifest does not exist. Since a version is named by the fingerprint of what it is made
from, no lock between machines is needed: where two machines make the same version, the first that is complete stays,
and if the bytes of the second differ, as weights made on another kind of processor do, a sentence says so.

Work is done in a mirror on the local disk (`SLM_CACHE`, default `~/.cache/slm`); files are downloaded to it when they
are first read. The mirror can be deleted at any time; unfinished work then starts again. What fails in the storage is
tried again for some minutes (`patience.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from model.files import whole, write_whole
from pipeline.errors import UserError
from pipeline.store import bytes_check, disk, manifest
from pipeline.store.artifact import MANIFEST, Artifact
from pipeline.store.bytes_check import Damaged
from pipeline.store.patience import PatientFiles
from pipeline.store.reading import CURRENT, Reader, checked_version
from pipeline.store.store import Store
from pipeline.store.upkeep import discard, two_makings

WITH_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")  # whose addresses begin with a bucket or container


@dataclass(frozen=True)
class RemoteArtifact(Artifact):
    """An artifact whose files are downloaded to the mirror when they are first read."""

    address: str = ""  # of the version's folder

    def place(self, name: str) -> Path:
        path = self.directory / name
        if not path.exists() and name in self.manifest["files"]:
            self._download(name)
        return path

    def file(self, name: str) -> Path:
        try:
            return super().file(name)
        except Damaged:  # in the mirror, and perhaps only there
            (self.directory / name).unlink(missing_ok=True)
            return super().file(name)

    def _download(self, name: str) -> None:
        filesystem, folder = _filesystem(self.address)
        try:
            with whole(self.directory / name) as unfinished:
                filesystem.get_file(f"{folder}/{name}", str(unfinished))
        except FileNotFoundError:
            raise UserError(
                f"{self.address}/{name} is gone: if another machine has pruned {self.asset}/{self.version}, run the "
                "same command again, which makes what it needs; otherwise `slm store repair` does."
            ) from None


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

    def _current_version(self, asset: str) -> str | None:
        found = self._text(f"{asset}/{CURRENT}")
        return None if found is None else checked_version(found.strip(), self._address(asset, CURRENT))

    def _version_names(self, asset: str) -> list[str]:
        """Those that the storage holds, whatever the mirror does."""
        self._files.invalidate_cache()
        found = self._files.glob(f"{self._root}/{self.recipe}/{asset}/*/{MANIFEST}")
        return sorted(path.split("/")[-2] for path in found)

    def assets(self) -> list[str]:
        self._files.invalidate_cache()
        return sorted(path.split("/")[-2] for path in self._files.glob(f"{self._root}/{self.recipe}/*/current"))

    def all_assets(self) -> list[str]:
        self._files.invalidate_cache()
        found = self._files.glob(f"{self._root}/{self.recipe}/*/*/{MANIFEST}")
        return sorted({path.split("/")[-3] for path in found} | {*self.assets()})

    def problems(self, asset: str) -> dict[str, list[str]]:
        """As of a local store. What is damaged in the mirror alone is downloaded again."""
        for artifact in self.versions(asset):
            for name, entry in artifact.manifest["files"].items():
                if bytes_check.problem(artifact.directory / name, entry) not in (None, bytes_check.MISSING):
                    (artifact.directory / name).unlink()
        return super().problems(asset)

    def _delete(self, directory: Path) -> int:
        """Delete a folder of the mirror, and the version in the storage that it mirrors; returns the bytes freed."""
        mirrored = discard(directory) if directory.exists() else 0
        if directory.name.startswith("."):
            return mirrored
        folder = self._remote(directory)
        with suppress(FileNotFoundError):  # another machine has deleted it meanwhile
            files = self._files.find(folder, detail=True)
            self._files.rm_file(f"{folder}/{MANIFEST}")  # first: without it the version does not exist
            self._files.rm(folder, recursive=True)
            return sum(about["size"] or 0 for about in files.values())
        return 0

    def set_aside(self, asset: str, version: str, suspect: bool = False) -> Path:
        """As of a local store, in the mirror; in the storage, the version loses its manifest, and so does not exist."""
        folder = f"{self._root}/{self.recipe}/{asset}"
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{folder}/{CURRENT}" if version == CURRENT else f"{folder}/{version}/{MANIFEST}")
        local = self._asset_directory(asset) / version
        return super().set_aside(asset, version, suspect) if local.exists() else local

    def written(self, artifact: Artifact) -> float:
        """When the storage got the manifest, whenever it came into the mirror."""
        return float(self._files.modified(f"{self._remote(artifact.directory)}/{MANIFEST}").timestamp())

    def read_record(self, name: str) -> str | None:
        return self._text(name)

    def change_record(self, name: str, changed: Callable[[str | None], str]) -> None:
        """As in a local store, for the processes of one machine; the storage has no lock between machines."""
        with disk.alone(self.root / self.recipe / name):
            self._files.pipe_file(f"{self._root}/{self.recipe}/{name}", changed(self._text(name)).encode())

    def _read(self, asset: str, version: str) -> Artifact | None:
        directory = self._asset_directory(asset) / version
        found = self._mirrored(directory)
        if found is None:
            text = self._text(f"{asset}/{version}/{MANIFEST}")
            if text is None:
                return None
            found = manifest.parsed(text.encode(), self._address(asset, version, MANIFEST))
            write_whole(directory / MANIFEST, text)
        return RemoteArtifact(asset, version, directory, found, address=self._address(asset, version))

    def _mirrored(self, directory: Path) -> dict[str, Any] | None:
        """The manifest in the mirror, if it holds for the storage too.

        It does not if another machine has deleted the version, unless all files are here: then it was made here, and a
        kill met it before its upload.
        """
        try:
            found = manifest.read(directory)
        except Damaged:
            found = None
        if found is not None and not self._files.exists(f"{self._remote(directory)}/{MANIFEST}"):
            if all(bytes_check.problem(directory / name, entry) is None for name, entry in found["files"].items()):
                return found
            found = None
        if found is None:
            (directory / MANIFEST).unlink(missing_ok=True)
        return found

    def _address(self, *parts: str) -> str:
        """The address of something of this recipe, as a person would write it."""
        return "/".join((self.address, self.recipe, *parts))

    def _remote(self, directory: Path) -> str:
        """The place in the storage of a version's folder in the mirror."""
        return f"{self._root}/{directory.relative_to(self.root).as_posix()}"

    def _stored(self, asset: str, version: str) -> Artifact | None:
        """The version as the storage has it, whatever the mirror holds."""
        text = self._text(f"{asset}/{version}/{MANIFEST}")
        if text is None:
            return None
        name = self._address(asset, version, MANIFEST)
        return Artifact(asset, version, Path(self.address), manifest.parsed(text.encode(), name))

    def _publish(self, asset: str, version: str) -> str | None:
        """Upload a version, its manifest last; files that an earlier version holds are copied within the storage.

        A version that another machine has completed meanwhile stays as it is, and replaces the one in the mirror;
        returns a sentence if they differ.
        """
        directory = self._asset_directory(asset) / version
        known = manifest.read(directory)
        assert known is not None
        local = Artifact(asset, version, directory, known)
        stored = self._stored(asset, version)
        if stored is not None:
            differ = two_makings(local, stored, f"in {self.address}")
            if differ:
                discard(local.directory)
                differ += f". The one in {self.address}, which was complete first, stays"
            return differ
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
        return None

    def other_makings(self, asset: str, other: Reader | None = None) -> Iterator[str]:
        """As of a local store; also the versions that the mirror holds with other bytes than the storage."""
        yield from super().other_makings(asset, other)
        for artifact in self.versions(asset):
            stored = self._stored(asset, artifact.version)
            differ = stored and two_makings(artifact, stored, f"in {self.address}")
            if differ:
                yield f"{differ}. Delete {artifact.directory} to use the one in {self.address}"

    def _set_current(self, asset: str, version: str) -> None:
        if self._text(f"{asset}/{version}/{MANIFEST}") is None:  # killed between the local rename and the upload
            self._publish(asset, version)
        if self._text(f"{asset}/{CURRENT}") != version + "\n":
            self._files.pipe_file(f"{self._root}/{self.recipe}/{asset}/{CURRENT}", f"{version}\n".encode())

    def _text(self, name: str) -> str | None:
        try:
            self._files.invalidate_cache()
            content: bytes = self._files.cat_file(f"{self._root}/{self.recipe}/{name}")
            return content.decode(errors="replace")
        except FileNotFoundError:
            _see_bucket(self.address)
            return None


def open_store(root: str | Path, recipe: str) -> Store:
    """The store at `root`: a folder, or an fsspec address such as `s3://bucket/folder`."""
    return RemoteStore(str(root), recipe) if "://" in str(root) else Store(root, recipe)


def open_text(root: str | Path, name: str) -> str | None:
    """A small text file of a store itself, of no recipe; None if there is none."""
    try:
        if "://" not in str(root):
            return (Path(root) / name).read_text(encoding="utf-8")
        filesystem, folder = _filesystem(str(root).rstrip("/"))
        filesystem.invalidate_cache()
        content: bytes = filesystem.cat_file(f"{folder}/{name}")
        return content.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if "://" in str(root):
            _see_bucket(str(root))
        return None
    except UnicodeDecodeError:
        raise UserError(f"{root}/{name} is damaged, it is no text: put it back from a backup.") from None


def _filesystem(address: str) -> tuple[PatientFiles, str]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(address)
    return PatientFiles(filesystem, address), path.rstrip("/")


@cache
def _see_bucket(address: str) -> None:
    """Raises UserError if the bucket of an address is certainly not there: otherwise it would look like an empty store,
    into which nothing can be written. Asks once in a process."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(address)
    bucket = path.partition("/")[0]
    if address.partition("://")[0] not in WITH_BUCKETS:
        return
    try:
        there = filesystem.exists(bucket)
    except Exception:  # keys that may see the store alone; what else is wrong the next request says
        return
    if not there:
        raise UserError(
            f"SLM_DATA={address}: there is no bucket `{bucket}`. Correct its name, or have the bucket made first."
        )


def recipes_in(root: str | Path) -> list[str]:
    """The names of the recipes that a store holds artifacts of, sorted."""
    if "://" not in str(root):
        folder = Path(root)
        found = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    else:
        filesystem, folder_there = _filesystem(str(root).rstrip("/"))
        filesystem.invalidate_cache()  # another machine may have added one
        _see_bucket(str(root))
        listed = filesystem.ls(folder_there, detail=True) if filesystem.exists(folder_there) else []
        folders = [str(about["name"]) for about in listed if about["type"] == "directory"]
        found = [path.rstrip("/").rpartition("/")[2] for path in folders]
    return sorted(name for name in found if not name.startswith("."))
