"""What a store holds, of all its recipes: versions with their owners, sizes and what keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.store import notes
from pipeline.store.artifact import LADDERS, MANIFEST, Artifact
from pipeline.store.remote import open_store, recipes_in
from pipeline.store.store import Store

UNKNOWN = "?"  # the owner of versions that were made before owners were noted


@dataclass(frozen=True)
class Holding:
    """A version of an artifact."""

    store: Store
    artifact: Artifact
    owner: str
    in_force: bool
    pinned: str | None  # why, or None

    @property
    def recipe(self) -> str:
        return self.store.recipe

    @property
    def name(self) -> str:
        """As people write it: `notes/sft_model/0a1b2c3d4e5f6071`."""
        return f"{self.recipe}/{self.artifact.asset}/{self.artifact.version}"

    @property
    def inputs(self) -> list[str]:
        """The names of the versions that it was made from."""
        given = self.artifact.manifest["inputs"].values()
        return [f"{self.recipe}/{of['asset']}/{of['version']}" for of in given if isinstance(of, dict)]

    @property
    def seconds(self) -> float:
        """How long making it took."""
        return float(self.artifact.manifest["seconds"]["total"])

    @cached_property
    def files(self) -> dict[str, int]:
        """Bytes of its files, manifest and ladder, by what tells a file from all others: versions share files."""
        folder = self.artifact.directory
        listed = {str(folder / name): entry["bytes"] for name, entry in self.artifact.manifest["files"].items()}
        found: dict[str, int] = {}
        ladder = folder.parent / LADDERS / self.artifact.version
        for path in [*map(Path, listed), folder / MANIFEST, *(place for place in ladder.rglob("*") if place.is_file())]:
            try:
                about = os.stat(path)
                found[f"{about.st_dev}:{about.st_ino}"] = about.st_size
            except OSError:  # in object storage, and not in the mirror
                found[str(path)] = listed.get(str(path), 0)
        return found


def holdings(root: str | Path, recipes: Iterable[str] | None = None) -> list[Holding]:
    """All finished versions of a store, or of some of its recipes; of each artifact the newest first."""
    found = []
    for recipe in recipes_in(root) if recipes is None else recipes:
        store = open_store(root, recipe)
        makers, pins = notes.read(store, notes.MAKERS), notes.read(store, notes.PINS)
        for asset in store.all_assets():
            current = store.current(asset)
            for artifact in store.newest_first(asset):
                name = f"{asset}/{artifact.version}"
                in_force = current is not None and current.version == artifact.version
                found.append(Holding(store, artifact, makers.get(name, UNKNOWN), in_force, pins.get(name)))
    return found


def size_of(some: Iterable[Holding]) -> int:
    """Bytes of versions together; a file that several share counts once."""
    return sum({file: count for holding in some for file, count in holding.files.items()}.values())
