"""Keeping the store in order: verifying it, setting damaged versions aside, deleting old ones."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from pipeline.store import disk, leases, notes
from pipeline.store.artifact import CHANGES, LADDERS, MANIFEST, Artifact, file_digest
from pipeline.store.bytes_check import Damaged
from pipeline.store.made_on import explained
from pipeline.store.reading import CURRENT, DAMAGED, SUSPECT, TRIAL, Reader

SECONDS_BETWEEN_TRIES = 0.1  # to take a lock that another process holds
SECONDS_BETWEEN_LINES = 10.0  # about what is waited for
DOOMED = ".doomed"  # end of the name of a folder that is being deleted


class Upkeep(Reader):
    """The artifacts of one recipe, and what keeps them in order."""

    def verify(self, asset: str) -> Iterator[str]:
        """Rehash all files of all versions of the asset; yields one sentence for each missing or changed file."""
        for problems in self.problems(asset).values():
            yield from problems

    def problems(self, asset: str) -> dict[str, list[str]]:
        """Version -> a sentence for each of its files that is missing or changed, by SHA-256; only versions with any.

        The pointer to the version in force counts as the version "current".
        """
        found: dict[str, list[str]] = {}
        try:
            self._current_version(asset)
        except Damaged as error:
            found[CURRENT] = [str(error)]
        for version in self._version_names(asset):
            try:
                artifact = self._read(asset, version)
            except Damaged as error:
                found[version] = [str(error)]
                continue
            wrong = list(_damaged_files(artifact)) if artifact is not None else []
            if wrong:
                found[version] = wrong
        return found

    def other_makings(self, asset: str, other: Reader | None = None) -> Iterator[str]:
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

    def set_aside(self, asset: str, version: str, suspect: bool = False) -> Path:
        """Rename a version so that it no longer counts; the version "current" is the pointer. Returns the new path.

        suspect: none of its files may be used again, whatever they look like.
        """
        place = self._asset_directory(asset)
        end = SUSPECT if suspect else DAMAGED
        with self._locked(asset, print):
            target = place / f".{version}{end}"
            if target.exists():  # an earlier repair set the same version aside
                discard(target)
            (place / version).rename(target)
        return target

    def prunable(self, asset: str, keep: int, days: float = 0) -> list[Artifact]:
        """What `prune` deletes unless a run reads it: neither in force, nor pinned, nor of the `keep` newest others,
        nor younger than so many days; newest first."""
        now, since = self._current_version(asset), time.time() - days * 24 * 3600
        pinned = notes.read(self, notes.PINS)
        others = [other for other in self.newest_first(asset) if other.version != now]
        beyond = [other for other in others[keep:] if f"{asset}/{other.version}" not in pinned]
        return [other for other in beyond if not days or self.written(other) < since]

    def newest_first(self, asset: str) -> list[Artifact]:
        """All finished versions, in the order in which they were made, the last one first."""
        return sorted(self.versions(asset), key=self._age, reverse=True)

    def prune(
        self, asset: str, keep: int, log: Callable[[str], None] = print, days: float = 0
    ) -> list[tuple[str, int]]:
        """Delete the versions that are `prunable`, except those that a run reads; returns (version, bytes freed).

        What `repair` set aside is deleted as well, and what an experiment left unfinished.
        """
        with disk.disk_errors(self.root, f"`{asset}` could not be pruned"), self._locked(asset, log):
            freed = self._prune(asset, self.prunable(asset, keep, days), log)
            for end, what in ((DAMAGED, "set aside"), (SUSPECT, "set aside"), (TRIAL, "unfinished, of an experiment")):
                for left in sorted(self._asset_directory(asset).glob(f".*{end}")):
                    freed.append((f"{left.name.split('.')[1]} ({what})", self._delete(left)))
            freed += self._prune_ladders(asset)
        return freed

    def delete(
        self, asset: str, versions: Collection[str], log: Callable[[str], None], needed: Callable[[], Collection[str]]
    ) -> list[tuple[str, int]]:
        """Delete versions with their checkpoints, except what is in force, pinned or `needed` by now, or what a run
        reads; returns (version, bytes freed).

        needed: names `<asset>/<version>`, asked for when no other run makes the asset.
        """
        with disk.disk_errors(self.root, f"`{asset}` could not be pruned"), self._locked(asset, log):
            stay = {*notes.read(self, notes.PINS), *needed()}
            named = [found for found in self.versions(asset) if found.version in versions]
            freed = self._prune(asset, [of for of in named if f"{asset}/{of.version}" not in stay], log)
            return freed + list(self._prune_ladders(asset))

    def held_now(self, known: Collection[str]) -> list[Artifact]:
        """The versions that are in force or pinned, and those that are not among `known` (`<asset>/<version>`)."""
        pinned = notes.read(self, notes.PINS)
        found = []
        for asset in self.all_assets():
            now = self._current_version(asset)
            for version in self._version_names(asset):
                name = f"{asset}/{version}"
                if version == now or name in pinned or name not in known:
                    with suppress(Damaged):  # what it was made from is not known
                        found.append(self._read(asset, version))
        return [artifact for artifact in found if artifact is not None]

    def sweep(self, dry_run: bool = False) -> int:
        """Delete what deletions left that were killed or could not finish; returns the bytes freed, or to free.

        What a process is deleting at this moment is left to it.
        """
        freed = 0
        for place in sorted({left.parent for left in (self.root / self.recipe).glob(f"*/.*{DOOMED}")}):
            with disk.disk_errors(self.root, "it could not be pruned"), open(place / ".lock", "a+") as lock:
                for left in list(place.glob(f".*{DOOMED}")) if _taken(lock) else ():
                    count = _alone_in(left)
                    if not dry_run:
                        shutil.rmtree(left, ignore_errors=True)
                    freed += 0 if left.exists() and not dry_run else count
        return freed

    def _prune(self, asset: str, versions: list[Artifact], log: Callable[[str], None]) -> list[tuple[str, int]]:
        """Delete versions that are neither in force nor read, and what is known of changes; the asset is locked."""
        freed = []
        if (self._asset_directory(asset) / CHANGES).exists():
            discard(self._asset_directory(asset) / CHANGES)  # no version: what is needed of it is compared again
        for artifact in versions:
            closed = next((folder for folder in _folders(artifact.directory) if not os.access(folder, os.W_OK)), None)
            with leases.unread(artifact.directory) as free:
                if not free:
                    log(f"{asset}/{artifact.version} stays: a run reads it")
                elif closed is not None:  # seen before anything of it is gone
                    log(f"{asset}/{artifact.version} stays: {closed} is not writable; whoever made it can delete it")
                elif self._current_version(asset) != artifact.version:  # put in force meanwhile
                    freed.append((artifact.version, self._delete(artifact.directory)))
        gone = [f"{asset}/{version}" for version, _ in freed]
        if gone and self.read_record(notes.MAKERS) is not None:
            notes.change(self, notes.MAKERS, lambda known: notes.without(known, gone))
        return freed

    def _prune_ladders(self, asset: str) -> Iterator[tuple[str, int]]:
        """Delete the ladders of versions that are neither there nor being made."""
        place = self._asset_directory(asset)
        for ladder in sorted((place / LADDERS).glob("[!.]*")):
            if not (place / ladder.name / MANIFEST).exists() and not (place / f".{ladder.name}.draft").exists():
                yield f"{ladder.name} (its checkpoints)", discard(ladder)

    def _age(self, artifact: Artifact) -> tuple[float, ...]:
        """Sorts versions from the oldest on: by the number that each got when it was made.

        Manifests of older versions have none; these came first, by the time of their manifest.
        """
        number = artifact.manifest.get("number")
        return (0, self.written(artifact)) if number is None else (1, number)

    def written(self, artifact: Artifact) -> float:
        """When the version was written, in seconds."""
        return artifact.place(MANIFEST).stat().st_mtime

    def _delete(self, directory: Path) -> int:
        """Delete a version, or what was set aside; returns the bytes freed."""
        return discard(directory)

    @contextmanager
    def _locked(self, asset: str, log: Callable[[str], None]) -> Iterator[None]:
        """Let one run at a time make an asset. The kernel releases the lock when its owner dies, however it dies."""
        place = self._asset_directory(asset)
        disk.check_root(self.root)
        place.mkdir(parents=True, exist_ok=True)
        with open(place / ".lock", "a+") as lock:
            _wait_for(lock, asset, log)
            lock.seek(0)
            lock.truncate()
            with suppress(OSError):  # a full disk; the lock holds all the same
                lock.write(str(os.getpid()))
                lock.flush()
            for doomed in place.glob(f".*{DOOMED}"):
                shutil.rmtree(doomed, ignore_errors=True)
            yield


def _wait_for(lock: TextIO, asset: str, log: Callable[[str], None]) -> None:
    """Take the lock of an asset; while another process has it, say so every SECONDS_BETWEEN_LINES."""
    began = due = time.monotonic()
    while not _taken(lock):
        now = time.monotonic()
        if now >= due:
            lock.seek(0)
            maker, so_far = lock.read().strip() or "?", f", {now - began:.0f} s so far" if due != began else ""
            log(f"{asset} is being made by process {maker}; waiting for it{so_far}")
            due = now + SECONDS_BETWEEN_LINES
        time.sleep(SECONDS_BETWEEN_TRIES)


def _taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def discard(directory: Path) -> int:
    """Delete a folder of this disk, which no longer counts from the first moment on; returns the bytes freed."""
    if directory.is_file():
        size = directory.stat().st_size
        directory.unlink()
        return size
    freed = _alone_in(directory)
    doomed = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}{DOOMED}")
    directory.rename(doomed)
    shutil.rmtree(doomed)
    return freed


def _alone_in(directory: Path) -> int:
    """Bytes of a folder's files; a hard-linked one frees nothing until its last link is deleted."""
    files = [path.stat() for path in directory.rglob("*") if path.is_file()]
    return sum(file.st_size for file in files if file.st_nlink == 1)


def _folders(directory: Path) -> Iterator[Path]:
    """A folder, if it is there, and all below it."""
    yield from [directory, *(path for path in directory.rglob("*") if path.is_dir())] if directory.exists() else ()


def _damaged_files(artifact: Artifact) -> Iterator[str]:
    for name, entry in artifact.manifest["files"].items():
        try:
            path = artifact.place(name)
            if not path.exists():
                yield f"{artifact.asset}/{artifact.version}/{name} is missing"
            elif file_digest(path) != entry["sha256"]:
                yield f"{artifact.asset}/{artifact.version}/{name} has changed since it was written"
        except OSError as error:
            yield f"{artifact.asset}/{artifact.version}/{name} cannot be read ({error.strerror})"


def two_makings(here: Artifact, there: Artifact, where: str) -> str | None:
    """The sentence about two makings of one version with other bytes; None if they are the same.

    where: where the second one is.
    """
    if here.digest == there.digest:
        return None
    ours, others = here.manifest["files"], there.manifest["files"]
    digests = [{name: entry["sha256"] for name, entry in files.items()} for files in (ours, others)]
    names = [name for name in sorted({*ours, *others}) if digests[0].get(name) != digests[1].get(name)]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    why = explained(here.manifest.get("made_on"), there.manifest.get("made_on"))
    return f"{here.asset}/{here.version} was made twice with other bytes, here and {where} ({listed}): {why}"
