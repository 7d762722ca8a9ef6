"""The store: versioned artifacts, each of which appears whole or not at all and knows what it was made of.

An artifact's version is the fingerprint of what it is made of: its code version, its settings and the *contents* of
its inputs. So the same question is never answered twice, and an input that was made again but came out the same
changes nothing after it. Tables inside an artifact are remembered the same way, one by one: a table that an earlier
version made under the same key is linked into the new one, not made again. The store is its own memory.

    <root>/<recipe>/<asset>/<version>/manifest.json   the record, written last
    <root>/<recipe>/<asset>/<version>/...             tables and other files
    <root>/<recipe>/<asset>/current                   one line: the version in force
    <root>/<recipe>/<asset>/.<version>.draft/         an artifact being made; survives a kill, and is gone on with
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.store.artifact import MANIFEST, Artifact, canonical, digest, file_digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole


class Store:
    """Artifacts of one recipe below `root` (`SLM_DATA`)."""

    def __init__(self, root: str | Path, recipe: str):
        self.root = Path(root)
        self.recipe = recipe
        # Where set, `make` makes nothing: it notes here why the asset is or is not up to date (`slm why`).
        self.explanations: dict[str, list[str]] | None = None

    # -- reading ---------------------------------------------------------------------------------------------------

    def current(self, asset: str) -> Artifact | None:
        """The artifact in force, or None where it was never made."""
        pointer = self._place(asset) / "current"
        if not pointer.exists():
            return None
        return self._read(asset, pointer.read_text().strip())

    def require(self, asset: str) -> Artifact:
        """The artifact in force; a UserError where there is none."""
        artifact = self.current(asset)
        if artifact is None:
            raise UserError(
                f"`{asset}` of the recipe `{self.recipe}` has not been made yet: "
                f"run `dagster job execute -j full_job`, or `slm make {asset}`."
            )
        return artifact

    def versions(self, asset: str) -> list[Artifact]:
        """All finished versions, the one in force first, then by name."""
        place = self._place(asset)
        if not place.exists():
            return []
        found = [self._read(asset, path.parent.name) for path in sorted(place.glob(f"*/{MANIFEST}"))]
        now = self.current(asset)
        finished = [artifact for artifact in found if artifact is not None]
        return sorted(finished, key=lambda artifact: (now is None or artifact.version != now.version, artifact.version))

    def version(self, asset: str, version: str) -> Artifact | None:
        """A certain version, in force or not; None where it was pruned or never was."""
        return self._read(asset, version)

    def assets(self) -> list[str]:
        """Names of the assets that have a version in force."""
        return sorted(path.parent.name for path in (self.root / self.recipe).glob("*/current"))

    # -- small records beside the artifacts ------------------------------------------------------------------------

    def read_record(self, name: str) -> str | None:
        """A small text file that belongs to the recipe and is no artifact, such as the removal list."""
        path = self.root / self.recipe / name
        return path.read_text() if path.exists() else None

    def write_record(self, name: str, text: str) -> None:
        write_whole(self.root / self.recipe / name, text)

    # -- making ----------------------------------------------------------------------------------------------------

    def explaining(self) -> Store:
        """The same store, in which `make` makes nothing and notes in `explanations` what it would be made for."""
        store = copy.copy(self)
        store.explanations = {}
        return store

    def make(
        self,
        asset: str,
        *,
        code_version: str,
        settings: dict[str, Any],
        inputs: dict[str, Artifact | str],
        build: Callable[[Draft], None],
        log: Callable[[str], None] = print,
    ) -> Artifact:
        """The artifact made of exactly this; from the store where it is there, else made by `build` in a draft.

        A `str` in `inputs` is a digest of something outside the store (a source's revision, a reference file).
        """
        made_of = {
            "asset": asset,
            "code_version": code_version,
            "settings": settings,
            "inputs": {name: given if isinstance(given, str) else given.digest for name, given in inputs.items()},
        }
        fingerprint = digest(made_of)
        version = fingerprint[:16]
        if self.explanations is not None:
            return self._explain(asset, made_of, fingerprint)
        known = self._read(asset, version)
        if known is None:
            with self._locked(asset, log):
                known = self._read(asset, version)  # made by another run while this one waited
                if known is None:
                    return self._build(asset, version, fingerprint, made_of, inputs, build, log)
        self._point(asset, version)
        log(f"{asset}: up to date ({version})")
        return known

    def _build(
        self,
        asset: str,
        version: str,
        fingerprint: str,
        made_of: dict[str, Any],
        inputs: dict[str, Artifact | str],
        build: Callable[[Draft], None],
        log: Callable[[str], None],
    ) -> Artifact:
        place = self._place(asset)
        directory = place / f".{version}.draft"
        for other in place.glob(".*.draft"):  # of settings or inputs that are no longer asked for
            if other != directory:
                shutil.rmtree(other)
        started = time.monotonic()
        draft = Draft(directory, cached(lambda: self.versions(asset)), log)
        draft.fingerprint = fingerprint
        try:
            build(draft)
            files = draft._finish()
        except UserError as error:
            if not getattr(error, "draft_stays", False):  # a training that ran out of memory keeps its checkpoints
                shutil.rmtree(directory, ignore_errors=True)
            raise
        except OSError as error:
            if error.errno == 28:  # no space left on device: what is finished stays in the draft
                raise UserError(
                    f"The disk that holds {self.root} is full while `{asset}` is made: "
                    "free some space or point SLM_DATA elsewhere, then run the same command again."
                ) from error
            raise
        seconds = {"total": round(time.monotonic() - started, 3), **draft.timings}
        manifest = {
            "asset": asset,
            "recipe": self.recipe,
            "version": version,
            "fingerprint": fingerprint,
            "made_of": made_of,
            "inputs": {name: given if isinstance(given, str) else given.reference for name, given in inputs.items()},
            "files": files,
            "counts": draft.counts,
            "facts": draft.facts,
            "fragments": {"computed": draft.computed, "reused": draft.reused},
            "seconds": seconds,
        }  # fmt: skip
        write_whole(directory / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        flush_directory(directory)
        os.replace(directory, place / version)
        flush_directory(place)
        self._published(asset, version)
        self._point(asset, version)
        log(f"{asset}: made in {seconds['total']:.1f} s ({version})")
        made = self._read(asset, version)
        assert made is not None
        return replace(made, made=True)

    def _explain(self, asset: str, made_of: dict[str, Any], fingerprint: str) -> Artifact:
        """Note the differences between what is asked for and what is in force; go on with what is in force."""
        assert self.explanations is not None
        now = self.current(asset)
        if now is None:
            self.explanations[asset] = ["it was never made"]
            raise NotMade(asset)
        self.explanations[asset] = (
            [] if now.manifest["fingerprint"] == fingerprint else differences(now.manifest["made_of"], made_of)
        )
        return now

    # -- keeping in order ------------------------------------------------------------------------------------------

    def verify(self, asset: str) -> Iterator[str]:
        """Rehash every file of every version of the asset; yields one sentence for each that is not as recorded."""
        for artifact in self.versions(asset):
            for name, entry in artifact.manifest["files"].items():
                path = artifact.file(name)
                if not path.exists():
                    yield f"{asset}/{artifact.version}/{name} is missing"
                elif file_digest(path) != entry["sha256"]:
                    yield f"{asset}/{artifact.version}/{name} is not the file that was written"

    def prune(self, asset: str, keep: int) -> list[tuple[str, int]]:
        """Delete all versions but the one in force and the `keep` newest others; returns (version, bytes freed)."""
        others = self.versions(asset)[1:]
        others.sort(key=lambda artifact: artifact.file(MANIFEST).stat().st_mtime, reverse=True)
        freed = []
        with self._locked(asset, print):
            for artifact in others[keep:]:
                # Linked files free nothing until their last version goes.
                files = [path.stat() for path in artifact.directory.rglob("*") if path.is_file()]
                size = sum(file.st_size for file in files if file.st_nlink == 1)
                doomed = artifact.directory.with_name(f".{artifact.version}.doomed")
                artifact.directory.rename(doomed)
                shutil.rmtree(doomed)
                freed.append((artifact.version, size))
        return freed

    # -- places ----------------------------------------------------------------------------------------------------

    def _place(self, asset: str) -> Path:
        return self.root / self.recipe / asset

    def _read(self, asset: str, version: str) -> Artifact | None:
        directory = self._place(asset) / version
        try:
            return Artifact(asset, version, directory, json.loads((directory / MANIFEST).read_text()))
        except FileNotFoundError:
            return None

    def _point(self, asset: str, version: str) -> None:
        pointer = self._place(asset) / "current"
        if not pointer.exists() or pointer.read_text().strip() != version:
            write_whole(pointer, version + "\n")

    def _published(self, asset: str, version: str) -> None:
        """Called when a version stands whole on this disk, before it is put in force."""

    @contextmanager
    def _locked(self, asset: str, log: Callable[[str], None]) -> Iterator[None]:
        """One run at a time makes an asset. The kernel drops the lock with its owner, however that one dies."""
        place = self._place(asset)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"SLM_DATA ({self.root}) cannot be written: {error.strerror}.") from error
        with open(place / ".lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                log(f"{asset} is being made by process {lock.read().strip() or '?'}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            for doomed in place.glob(".*.doomed"):
                shutil.rmtree(doomed, ignore_errors=True)
            yield


class NotMade(Exception):
    """While explaining: the asset was never made, so nothing can be said of what depends on it."""


def differences(before: Any, after: Any, at: str = "") -> list[str]:
    """What differs between two `made_of`, one sentence a field."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for name in sorted(before.keys() | after.keys()):
            where = f"{at}.{name}" if at else name
            if name not in before:
                found.append(f"{where} is new: {_short(after[name])}")
            elif name not in after:
                found.append(f"{where} is gone (was {_short(before[name])})")
            else:
                found += differences(before[name], after[name], where)
        return found
    return [] if before == after else [f"{at} was {_short(before)}, is {_short(after)}"]


def flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cached(function: Callable[[], list[Artifact]]) -> Callable[[], list[Artifact]]:
    """`function`, called once and only when first needed: earlier manifests may be long."""
    answer: list[list[Artifact]] = []

    def once() -> list[Artifact]:
        if not answer:
            answer.append(function())
        return answer[0]

    return once


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
