"""The store: versioned artifacts, each written atomically with a record of what it was made from.

An artifact's version is the fingerprint of what it is made from: its code version, its settings and the *contents* of
its inputs. So nothing is made twice, and an input that was made again with the same result changes nothing downstream.
The tables of an artifact are remembered in the same way, one by one: a table that an earlier version made under the
same key is linked into the new version instead of being made again. The store is its own cache.

    <root>/<recipe>/<asset>/<version>/manifest.json   the manifest, written last
    <root>/<recipe>/<asset>/<version>/...             tables and other files
    <root>/<recipe>/<asset>/current                   one line: the version in force
    <root>/<recipe>/<asset>/.<version>.draft/         an artifact in the making; survives a kill and is resumed
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
from pipeline.store.made_on import explained, made_on
from pipeline.store.tables import write_whole


class Store:
    """Artifacts of one recipe below `root` (`SLM_DATA`)."""

    def __init__(self, root: str | Path, recipe: str):
        self.root = Path(root)
        self.recipe = recipe
        # If set, `make` makes nothing and records here why each asset is out of date (`slm why`).
        self.explanations: dict[str, list[str]] | None = None

    # -- reading ---------------------------------------------------------------------------------------------------

    def current(self, asset: str) -> Artifact | None:
        """The artifact in force, or None if it was never made."""
        pointer = self._asset_directory(asset) / "current"
        if not pointer.exists():
            return None
        return self._read(asset, pointer.read_text().strip())

    def require(self, asset: str) -> Artifact:
        """The artifact in force. Raises UserError if there is none."""
        artifact = self.current(asset)
        if artifact is None:
            raise UserError(
                f"`{asset}` of the recipe `{self.recipe}` has not been made yet: "
                f"run `dagster job execute -j full_job`, or `slm make {asset}`."
            )
        return artifact

    def versions(self, asset: str) -> list[Artifact]:
        """All finished versions, the one in force first, then by name."""
        place = self._asset_directory(asset)
        if not place.exists():
            return []
        found = [self._read(asset, path.parent.name) for path in sorted(place.glob(f"*/{MANIFEST}"))]
        now = self.current(asset)
        finished = [artifact for artifact in found if artifact is not None]
        return sorted(finished, key=lambda artifact: (now is None or artifact.version != now.version, artifact.version))

    def version(self, asset: str, version: str) -> Artifact | None:
        """The given version, in force or not; None if it was pruned or never made."""
        return self._read(asset, version)

    def assets(self) -> list[str]:
        """Names of all assets that have a version in force."""
        return sorted(path.parent.name for path in (self.root / self.recipe).glob("*/current"))

    # -- small records that are not artifacts ------------------------------------------------------------------------

    def read_record(self, name: str) -> str | None:
        """A small text file of the recipe that is not an artifact, such as the removal list; None if missing."""
        path = self.root / self.recipe / name
        return path.read_text() if path.exists() else None

    def write_record(self, name: str, text: str) -> None:
        write_whole(self.root / self.recipe / name, text)

    # -- making ----------------------------------------------------------------------------------------------------

    def explaining(self) -> Store:
        """The same store, in which `make` makes nothing and records in `explanations` why an asset is out of date."""
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
        """The artifact made from exactly these inputs: taken from the store, or else built by `build` in a draft.

        A `str` in `inputs` is the digest of something outside the store (a source's revision, a reference file).
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
        self._set_current(asset, version)
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
        place = self._asset_directory(asset)
        directory = place / f".{version}.draft"
        for other in place.glob(".*.draft"):  # of settings or inputs that are out of date
            if other != directory:
                shutil.rmtree(other)
        started = time.monotonic()
        draft = Draft(directory, cached(lambda: self.versions(asset)), log)
        draft.fingerprint = fingerprint
        try:
            build(draft)
            files = draft._finish()
        except UserError as error:
            if not getattr(error, "draft_stays", False):  # a training run that ran out of memory keeps its checkpoints
                shutil.rmtree(directory, ignore_errors=True)
            raise
        except OSError as error:
            if error.errno == 28:  # no space left on device: finished files stay in the draft
                raise UserError(
                    f"The disk that holds {self.root} is full, so `{asset}` could not be finished: "
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
            "made_on": {**made_on(), **draft.made_on},
        }  # fmt: skip
        write_whole(directory / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        flush_directory(directory)
        os.replace(directory, place / version)
        flush_directory(place)
        told = self._publish(asset, version)
        if told:
            log(told)
        self._set_current(asset, version)
        log(f"{asset}: made in {seconds['total']:.1f} s ({version})")
        made = self._read(asset, version)
        assert made is not None
        return replace(made, made=True)

    def _explain(self, asset: str, made_of: dict[str, Any], fingerprint: str) -> Artifact:
        """Record how the requested artifact differs from the one in force, and return the one in force."""
        assert self.explanations is not None
        now = self.current(asset)
        if now is None:
            self.explanations[asset] = ["it was never made"]
            raise NotMade(asset)
        self.explanations[asset] = (
            [] if now.manifest["fingerprint"] == fingerprint else differences(now.manifest["made_of"], made_of)
        )
        return now

    # -- maintenance ------------------------------------------------------------------------------------------

    def verify(self, asset: str) -> Iterator[str]:
        """Rehash all files of all versions of the asset; yields one sentence for each missing or changed file."""
        for artifact in self.versions(asset):
            for name, entry in artifact.manifest["files"].items():
                path = artifact.file(name)
                if not path.exists():
                    yield f"{asset}/{artifact.version}/{name} is missing"
                elif file_digest(path) != entry["sha256"]:
                    yield f"{asset}/{artifact.version}/{name} has changed since it was written"

    def other_makings(self, asset: str, other: Store | None = None) -> Iterator[str]:
        """Yields one sentence for each version that is known with other bytes than this store has.

        Those are inputs of the asset's versions, and the versions themselves in the store `other`.
        """
        for artifact in self.versions(asset):
            yield from self._other_inputs(artifact)
            there = other.version(asset, artifact.version) if other else None
            differ = there and other and two_makings(artifact, there, f"in {other.root}")
            if differ:
                yield differ

    def _other_inputs(self, artifact: Artifact) -> Iterator[str]:
        for given in artifact.manifest["inputs"].values():
            found = self._read(given["asset"], given["version"]) if isinstance(given, dict) else None
            # A reference to some tables of an artifact has a digest of its own (`Artifact.only`).
            if found is None or all(name.endswith(".parquet") for name in found.manifest["files"]):
                continue
            if found.digest != given["digest"]:
                yield (
                    f"{artifact.asset}/{artifact.version} was made from another making of"
                    f" {found.asset}/{found.version} than the one in this store, which has other bytes: make"
                    f" {artifact.asset} again, or copy the first {found.asset} back"
                )

    def prune(self, asset: str, keep: int) -> list[tuple[str, int]]:
        """Delete all versions except the one in force and the `keep` newest others; returns (version, bytes freed)."""
        others = self.versions(asset)[1:]
        others.sort(key=lambda artifact: artifact.file(MANIFEST).stat().st_mtime, reverse=True)
        freed = []
        with self._locked(asset, print):
            for artifact in others[keep:]:
                # A hard-linked file frees nothing until its last link is deleted.
                files = [path.stat() for path in artifact.directory.rglob("*") if path.is_file()]
                size = sum(file.st_size for file in files if file.st_nlink == 1)
                doomed = artifact.directory.with_name(f".{artifact.version}.doomed")
                artifact.directory.rename(doomed)
                shutil.rmtree(doomed)
                freed.append((artifact.version, size))
        return freed

    # -- paths ----------------------------------------------------------------------------------------------------

    def _asset_directory(self, asset: str) -> Path:
        return self.root / self.recipe / asset

    def _read(self, asset: str, version: str) -> Artifact | None:
        directory = self._asset_directory(asset) / version
        try:
            return Artifact(asset, version, directory, json.loads((directory / MANIFEST).read_text()))
        except FileNotFoundError:
            return None

    def _set_current(self, asset: str, version: str) -> None:
        pointer = self._asset_directory(asset) / "current"
        if not pointer.exists() or pointer.read_text().strip() != version:
            write_whole(pointer, version + "\n")

    def _publish(self, asset: str, version: str) -> str | None:
        """Hook: called when a version is complete on this disk, before it is put in force; returns what to tell."""
        return None

    @contextmanager
    def _locked(self, asset: str, log: Callable[[str], None]) -> Iterator[None]:
        """Let one run at a time make an asset. The kernel releases the lock when its owner dies, however it dies."""
        place = self._asset_directory(asset)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"SLM_DATA ({self.root}) is not writable: {error.strerror}.") from error
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


def two_makings(here: Artifact, there: Artifact, where: str) -> str | None:
    """The sentence about two makings of one version with other bytes; None if they are the same.

    where: where the second one is.
    """
    if here.digest == there.digest:
        return None
    ours, others = here.manifest["files"], there.manifest["files"]
    names = [name for name in sorted({*ours, *others}) if _digest_in(ours, name) != _digest_in(others, name)]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    why = explained(here.manifest.get("made_on"), there.manifest.get("made_on"))
    return f"{here.asset}/{here.version} was made twice with other bytes, here and {where} ({listed}): {why}"


def _digest_in(files: dict[str, Any], name: str) -> str | None:
    return files[name]["sha256"] if name in files else None


class NotMade(Exception):
    """Raised while explaining: the asset was never made, so nothing can be said about what depends on it."""


def differences(before: Any, after: Any, at: str = "") -> list[str]:
    """The differences between two `made_of` records, one sentence for each field."""
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
    """`function`, called at most once, when its result is first needed: earlier manifests may be long."""
    answer: list[list[Artifact]] = []

    def once() -> list[Artifact]:
        if not answer:
            answer.append(function())
        return answer[0]

    return once


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
