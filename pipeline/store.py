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
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.errors import UserError
from pipeline.tables import put_in_place, write_table, write_whole

MANIFEST = "manifest.json"
# What is true of one making and not of the thing made; left out where two manifests are compared.
OF_THE_MAKING = ("seconds", "fragments")


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: a directory that is never written again."""

    asset: str
    version: str
    directory: Path
    manifest: dict[str, Any] = field(repr=False)
    made: bool = False  # True where this call made it, False where the store had it

    @cached_property
    def digest(self) -> str:
        """Hash of the contents alone: two artifacts of equal digest hold the same bytes."""
        return digest({name: entry["sha256"] for name, entry in self.manifest["files"].items()})

    @property
    def reference(self) -> dict[str, str]:
        """How the manifest of what is made of this artifact names it."""
        return {"asset": self.asset, "version": self.version, "digest": self.digest}

    @cached_property
    def fragments(self) -> list[str]:
        """Names of the tables at the top of the artifact, without `.parquet`, sorted."""
        names = (name for name in self.manifest["files"] if "/" not in name)
        return sorted(name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))

    def entry(self, fragment: str) -> dict[str, Any]:
        """What the manifest says of one table: sha256, bytes, rows, key, facts."""
        return self.manifest["files"][f"{fragment}.parquet"]

    def only(self, *fragments: str) -> Artifact:
        """The same artifact with some tables in its manifest: a manifest of thousands is too much to send around.

        Its digest is that of these tables alone, so what is made of it depends on nothing else.
        """
        files = {f"{fragment}.parquet": self.entry(fragment) for fragment in fragments}
        return replace(self, manifest={**self.manifest, "files": files})

    def file(self, name: str) -> Path:
        """A local path of one of the artifact's files."""
        return self.directory / name

    def whole(self) -> Path:
        """The directory with all of its files in it, for what wants a directory (a model, a tokenizer)."""
        return self.directory

    def table(self, fragment: str) -> Path:
        return self.file(f"{fragment}.parquet")

    @property
    def counts(self) -> dict[str, Any]:
        return self.manifest["counts"]

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest["facts"]


class Draft:
    """An artifact being made. What is finished in it is found again after a kill, by the same fingerprint."""

    def __init__(self, directory: Path, earlier: Callable[[], list[Artifact]], log: Callable[[str], None]):
        self.directory = directory
        self.log = log
        self.fingerprint = ""  # of what the artifact is made of; set by the store
        self.counts: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.timings: dict[str, float] = {}  # seconds by part; of the making, so outside the identity
        self.computed = self.reused = 0
        self._earlier = earlier
        self._records = directory / ".records"
        self._records.mkdir(parents=True, exist_ok=True)
        for leftover in directory.rglob("*.tmp"):
            leftover.unlink()
        self.entries: dict[str, dict[str, Any]] = {}

    def path(self, name: str) -> Path:
        """Where to write the file `name` of the artifact (use `write_whole` or `write_table`)."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table(
        self,
        fragment: str,
        key: dict[str, Any],
        compute: Callable[[], pl.DataFrame],
        facts: Callable[[pl.DataFrame], dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The table `fragment`, remembered under `key`; computed and written where nothing remembers it.

        `facts` makes the small figures that stand beside the table in the manifest. Returns the table's entry.
        """
        entry = self.recall(fragment, key)
        if entry is None:
            frame = compute()
            write_table(frame, self.path(f"{fragment}.parquet"))
            entry = self.record(fragment, key, rows=frame.height, facts=facts(frame) if facts else {})
        return entry

    def recall(self, fragment: str, key: dict[str, Any]) -> dict[str, Any] | None:
        """The entry of `fragment` if this draft or an earlier version made it under the same key."""
        entry = self._recall(f"{fragment}.parquet", key)
        if entry is not None:
            fresh = (self._records / f"{_flat(fragment)}.parquet.json").exists()  # made in this draft, before a kill
            self.computed += fresh
            self.reused += not fresh
        return entry

    def record(
        self, fragment: str, key: dict[str, Any], rows: int, facts: dict[str, Any], parts: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Remember a table that was just written at its path. `parts` are keys of what else it can be used for."""
        self.computed += 1
        more = {"rows": rows, "facts": facts, **({"parts": parts} if parts else {})}
        return self._record(f"{fragment}.parquet", key, more)

    def file(self, name: str, key: dict[str, Any], write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The file `name`, remembered under `key` as tables are; `write` writes it whole and returns its facts.

        Returns the file's entry, with those facts.
        """
        entry = self._recall(name, key)
        if entry is None:
            facts = write(self.path(name))
            entry = self._record(name, key, {"facts": facts})
        return entry

    def _recall(self, name: str, key: dict[str, Any]) -> dict[str, Any] | None:
        wanted = digest(key)
        record = self._records / f"{_flat(name)}.json"
        if record.exists():  # made before a kill
            entry = json.loads(record.read_text())
            if entry["key"] == wanted and (self.directory / name).exists():
                self.entries[name] = entry
                return entry
            record.unlink()
        for artifact in self._earlier():
            entry = artifact.manifest["files"].get(name)
            if entry and entry.get("key") == wanted and artifact.file(name).exists():
                link(artifact.file(name), self.path(name))
                self.entries[name] = entry
                return entry
        return None

    def _record(self, name: str, key: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
        path = self.directory / name
        entry = {"sha256": file_digest(path), "bytes": path.stat().st_size, "key": digest(key), **more}
        write_whole(self._records / f"{_flat(name)}.json", canonical(entry))
        self.entries[name] = entry
        return entry

    def earlier_part(self, fragment: str, part: str, part_key: str, beside: str = "") -> Path | None:
        """A table of an earlier version that holds `part` (such as a stage's signals) made under `part_key`.

        beside: suffix of a file that belongs to the table, and lies beside it under the same name.
        """
        name = f"{fragment}.parquet"
        for artifact in self._earlier():
            entry = artifact.manifest["files"].get(name)
            if not entry or entry.get("parts", {}).get(part) != part_key:
                continue
            names = [name, f"{fragment}{beside}"] if beside else [name]
            if all(artifact.file(wanted).exists() for wanted in names):
                return artifact.file(name)
        return None

    def _finish(self) -> dict[str, Any]:
        """Entries of all files, in order; hashes those that were written past `table`."""
        shutil.rmtree(self._records)
        files: dict[str, dict[str, Any]] = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_dir():
                continue
            name = path.relative_to(self.directory).as_posix()
            files[name] = self.entries.get(name) or {"sha256": file_digest(path), "bytes": path.stat().st_size}
        return files


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


def link(source: Path, target: Path) -> None:
    """The same bytes under a second name; a copy where the file system has no hard links."""
    temporary = target.with_name(target.name + ".tmp")
    try:
        os.link(source, temporary)
        temporary.replace(target)
        temporary.unlink(missing_ok=True)  # rename does nothing where both names are one file already
    except OSError:
        shutil.copyfile(source, temporary)
        put_in_place(temporary, target)


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


def _flat(fragment: str) -> str:
    return re.sub(r"[^\w.-]", "+", fragment)


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
