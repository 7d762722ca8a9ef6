"""The store: versioned artifacts, each written atomically with a record of what it was made from.

An artifact's version is the fingerprint of what it is made from: its code version, its settings and the *contents* of
its inputs. So nothing is made twice, and an input that was made again with the same result changes nothing downstream.
The tables of an artifact are remembered in the same way, one by one: a table that an earlier version made under the
same key is linked into the new version instead of being made again. The store is its own cache.

    <root>/<recipe>/<asset>/<version>/manifest.json   the manifest, written last
    <root>/<recipe>/<asset>/<version>/...             tables and other files
    <root>/<recipe>/<asset>/current                   one line: the version in force
    <root>/<recipe>/<asset>/.<version>.draft/         an artifact in the making; survives a kill and is resumed
    <root>/<recipe>/<asset>/.<version>.trial/         the same, of an experiment; `slm store prune` deletes what is left
    <root>/<recipe>/<asset>/.leases/<version>         locked by whoever reads the version, so that it is not deleted
    <root>/<recipe>/<asset>/.<version>.damaged/       set aside by `slm store repair`, deleted by `slm store prune`
    <root>/<recipe>/makers.json, pins.json            who made a version, and which must stay (notes.py)
"""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from model.files import flush
from pipeline.errors import UserError
from pipeline.owner import owner
from pipeline.store import bytes_check, disk, leases, manifest, notes
from pipeline.store.artifact import MANIFEST, Artifact, canonical, digest
from pipeline.store.bytes_check import Damaged
from pipeline.store.draft import RECORDS, Draft
from pipeline.store.made_on import made_on
from pipeline.store.reading import CURRENT, DRAFT, TRIAL
from pipeline.store.upkeep import Upkeep, discard
from pipeline.store.upkeep import two_makings as two_makings


class Store(Upkeep):
    """Artifacts of one recipe below `root` (`SLM_DATA`)."""

    def __init__(self, root: str | Path, recipe: str):
        super().__init__(root, recipe)
        # If set, `make` makes nothing and records here why each asset is out of date (`slm why`).
        self.explanations: dict[str, list[str]] | None = None
        self.makes_nothing = False  # if set, `make` raises NotMade where it would have to make something

    # -- making ----------------------------------------------------------------------------------------------------

    def explaining(self) -> Store:
        """The same store, in which `make` makes nothing and records in `explanations` why an asset is out of date."""
        store = copy.copy(self)
        store.explanations = {}
        return store

    def answering(self) -> Store:
        """The same store, in which `make` answers from what there is, and raises NotMade where there is nothing."""
        store = copy.copy(self)
        store.makes_nothing = True
        return store

    def trial(self) -> Store:
        """The same store, in which what `make` makes is in force for the returned object alone.

        So an experiment makes models of other settings and answers from the store what there is, and the versions in
        force, and the drafts of trainings that were stopped, stay as they are.
        """
        store = copy.copy(self)
        store.tried = {}
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
        read = [given.directory for given in inputs.values() if isinstance(given, Artifact)]
        with disk.disk_errors(self.root, f"`{asset}` could not be finished"), leases.held(read):
            known = self._put_in_force(asset, version)
            if known is None and self.makes_nothing:
                raise NotMade(asset)
            if known is None:
                with self._locked(asset, log):
                    known = self._put_in_force(asset, version)  # made by another run while this one waited
                    if known is None:
                        return self._build(asset, made_of, inputs, build, log)
        log(f"{asset}: up to date ({version})")
        return known

    def _build(
        self,
        asset: str,
        made_of: dict[str, Any],
        inputs: dict[str, Artifact | str],
        build: Callable[[Draft], None],
        log: Callable[[str], None],
    ) -> Artifact:
        fingerprint = digest(made_of)
        version = fingerprint[:16]
        place = self._asset_directory(asset)
        directory = place / f".{version}{DRAFT if self.tried is None else TRIAL}"
        for other in place.glob(f".*{DRAFT}"):  # of settings or inputs that are out of date
            if other != directory and self.tried is None:
                shutil.rmtree(other)
        described = finished(directory, fingerprint)
        if described is None:
            described = self._built(directory, made_of, build, log)
            given = {name: given if isinstance(given, str) else given.reference for name, given in inputs.items()}
            described |= {"asset": asset, "recipe": self.recipe, "version": version, "inputs": given}
            manifest.write(directory, described)
        self._note_maker(asset, version, log)  # before it is in force: the next run sweeps what a kill leaves
        disk.remove_tree(directory / RECORDS)
        flush(directory)
        if (place / version).exists():  # without a manifest, such as what is left of a deletion
            discard(place / version)
        os.replace(directory, place / version)
        flush(place)
        told = self._publish(asset, version)
        if told:
            log(told)
        made = self._put_in_force(asset, version)
        assert made is not None
        log(f"{asset}: made in {described['seconds']['total']:.1f} s ({version})")
        return replace(made, made=True)

    def _built(
        self, directory: Path, made_of: dict[str, Any], build: Callable[[Draft], None], log: Callable[[str], None]
    ) -> dict[str, Any]:
        """Have `build` write its files into the draft; returns what the manifest says of them and of the making."""
        started = time.monotonic()
        asset = made_of["asset"]
        earlier = cached(lambda: self.versions(asset) + self._partly_damaged(asset))
        draft = Draft(directory, earlier, log)
        draft.fingerprint = digest(made_of)
        try:
            build(draft)
            files = draft._finish()
        except UserError as error:
            if not getattr(error, "draft_stays", False):  # a training that ran out of memory keeps its checkpoints
                shutil.rmtree(directory, ignore_errors=True)
            raise
        finally:
            draft.leases.close()
        return {
            "fingerprint": draft.fingerprint,
            "made_of": made_of,
            "files": files,
            "counts": draft.counts,
            "facts": draft.facts,
            "fragments": {"computed": draft.computed, "reused": draft.reused},
            "seconds": {"total": round(time.monotonic() - started, 3), **draft.timings},
            "made_on": {**made_on(), **draft.made_on},
            "checked": draft.checked,
            "number": 1 + max((known.manifest.get("number", 0) for known in earlier()), default=0),
        }  # fmt: skip

    def _note_maker(self, asset: str, version: str, log: Callable[[str], None]) -> None:
        """Note beside the version whose it is; it will be in force, whatever becomes of the note."""
        try:
            notes.write(self, notes.MAKERS, f"{asset}/{version}", owner())
        except (OSError, UserError) as error:
            log(f"{asset}: whose version {version} is could not be noted ({error})")

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

    # -- putting in force ----------------------------------------------------------------------------------------------

    def _put_in_force(self, asset: str, version: str) -> Artifact | None:
        """Put a version that is finished in force; None if there is no such version."""
        with leases.held([self._asset_directory(asset) / version]):  # `prune` may be about to delete it
            known = self._read(asset, version)
            if known is not None and self.tried is not None:
                self.tried[asset] = version
            elif known is not None:
                self._set_current(asset, version)
            return known

    def _set_current(self, asset: str, version: str) -> None:
        pointer = self._asset_directory(asset) / CURRENT
        with suppress(OSError):
            if pointer.read_bytes() == f"{version}\n".encode():
                return
        disk.change(pointer, lambda before: f"{version}\n")

    def _publish(self, asset: str, version: str) -> str | None:
        """Hook: called when a version is complete on this disk, before it is put in force; returns what to tell."""
        return None


def finished(directory: Path, fingerprint: str) -> dict[str, Any] | None:
    """The manifest of a draft that a kill met between its last file and its new name; None if it is not finished.

    Such a draft needs only its name. A manifest to which the draft's files do not correspond is deleted.
    """
    try:
        described = manifest.read(directory)
    except Damaged:
        described = None
    if described is not None and described["fingerprint"] == fingerprint:
        files = described["files"].items()
        if all(bytes_check.problem(directory / name, entry) is None for name, entry in files):
            return described
    (directory / MANIFEST).unlink(missing_ok=True)
    return None


class NotMade(Exception):
    """Raised by a store that makes nothing: there is no such version, or (while explaining) none at all."""


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
