"""Reading the store: versions, the one in force, and the small records beside the artifacts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import UserError
from pipeline.store import disk, leases, manifest
from pipeline.store.artifact import MANIFEST, REPAIR, Artifact
from pipeline.store.bytes_check import Damaged

CURRENT = "current"
DAMAGED, SUSPECT = ".damaged", ".suspect"  # ends of the names of folders that `slm store repair` set aside
DRAFT, TRIAL = ".draft", ".trial"  # ends of the names of folders of artifacts in the making
VERSION = re.compile(r"[0-9a-f]{16}")


class Reader:
    """The artifacts of one recipe below `root` (`SLM_DATA`), as they are."""

    def __init__(self, root: str | Path, recipe: str):
        self.root = Path(root)
        self.recipe = recipe
        # If set, what is made is noted here (asset -> version) and in force for this store alone (`Store.trial`).
        self.tried: dict[str, str] | None = None

    def current(self, asset: str) -> Artifact | None:
        """The artifact in force, or None if it was never made. Raises Damaged if the store no longer says which."""
        version = (self.tried or {}).get(asset) or self._current_version(asset)
        return None if version is None else self._read(asset, version)

    def require(self, asset: str) -> Artifact:
        """The artifact in force. Raises UserError if there is none."""
        artifact = self.current(asset)
        if artifact is None:
            gone = self._current_version(asset) is not None
            what = "has lost the version in force" if gone else "has not been made yet"
            raise UserError(
                f"`{asset}` of the recipe `{self.recipe}` {what}: run `dagster job execute -j full_job`, or "
                f"`slm make {asset}`."
            )
        return artifact

    @contextmanager
    def reading(self, asset: str) -> Iterator[Artifact]:
        """The artifact in force, which nobody deletes while the block runs. Raises UserError if there is none."""
        while True:
            artifact = self.require(asset)
            with leases.held([artifact.directory]):
                if self._read(asset, artifact.version) is not None:  # else it was deleted meanwhile
                    yield artifact
                    return

    def versions(self, asset: str) -> list[Artifact]:
        """All finished versions, the one in force first, then by name; without those whose manifest is damaged."""
        now = None
        with suppress(Damaged):
            now = self._current_version(asset)
        found = []
        for version in self._version_names(asset):
            with suppress(Damaged):
                artifact = self._read(asset, version)
                found += [artifact] if artifact is not None else []
        return sorted(found, key=lambda artifact: (artifact.version != now, artifact.version))

    def version(self, asset: str, version: str) -> Artifact | None:
        """The given version, in force or not; None if it was pruned or never made."""
        return self._read(asset, version)

    def assets(self) -> list[str]:
        """Names of all assets that have a version in force."""
        return sorted(path.parent.name for path in (self.root / self.recipe).glob(f"*/{CURRENT}"))

    def all_assets(self) -> list[str]:
        """Names of all assets that have a version, in force or not."""
        folders = [path for path in (self.root / self.recipe).glob("[!.]*") if path.is_dir()]
        return sorted(path.name for path in folders if (path / CURRENT).exists() or self._version_names(path.name))

    # -- small records that are not artifacts ------------------------------------------------------------------------

    def read_record(self, name: str) -> str | None:
        """A small text file of the recipe that is not an artifact, such as the removal list; None if missing."""
        path = self.root / self.recipe / name
        try:
            return path.read_text(encoding="utf-8") if path.exists() else None
        except UnicodeDecodeError:
            raise UserError(f"{path} is damaged, it is no text: put it back from a backup.") from None

    def change_record(self, name: str, changed: Callable[[str | None], str]) -> None:
        """Read a record (None if missing), change it and write it, as one step that no other process interrupts."""
        disk.check_root(self.root)
        with disk.disk_errors(self.root, f"`{name}` is as it was"):
            disk.change(self.root / self.recipe / name, changed)

    def write_record(self, name: str, text: str) -> None:
        """Replace a record, whatever it held."""
        self.change_record(name, lambda before: text)

    # -- paths ---------------------------------------------------------------------------------------------------------

    def _asset_directory(self, asset: str) -> Path:
        return self.root / self.recipe / asset

    def _version_names(self, asset: str) -> list[str]:
        """Names of the folders that hold a manifest, damaged or not; drafts and what was set aside do not count."""
        found = (path.parent.name for path in self._asset_directory(asset).glob(f"*/{MANIFEST}"))
        return sorted(name for name in found if not name.startswith("."))

    def _current_version(self, asset: str) -> str | None:
        pointer = self._asset_directory(asset) / CURRENT
        try:
            found = pointer.read_bytes().decode(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return checked_version(found, str(pointer))

    def _read(self, asset: str, version: str) -> Artifact | None:
        directory = self._asset_directory(asset) / version
        found = manifest.read(directory)
        return None if found is None else Artifact(asset, version, directory, found)

    def _partly_damaged(self, asset: str) -> list[Artifact]:
        """Versions that `slm store repair` set aside because of some files, of which others may still be used."""
        found = []
        for directory in sorted(self._asset_directory(asset).glob(f".*{DAMAGED}")):
            with suppress(Damaged):
                known = manifest.read(directory)
                if known is not None:
                    found.append(Artifact(asset, known["version"], directory, known))
        return found


def checked_version(found: str, name: str) -> str:
    """The version that a pointer names. Raises Damaged if it names none."""
    if VERSION.fullmatch(found) is None:
        raise Damaged(f"{name} is {'empty' if not found else 'damaged: it names no version'}: {REPAIR}.")
    return found
