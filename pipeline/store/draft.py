"""An artifact in the making: a directory in which finished files survive a kill.

Each file is remembered under a key that says what it was made from. A file that this draft or an earlier version made
under the same key is hard-linked instead of being made again.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from model.files import TEMPORARY, flush, whole, write_whole
from pipeline.store import bytes_check, leases
from pipeline.store.artifact import MANIFEST, Artifact, canonical, digest
from pipeline.store.bytes_check import HASH
from pipeline.store.disk import remove_tree
from pipeline.store.tables import write_table

RECORDS = ".records"  # folder of the draft's notes; not part of the artifact
UNFINISHED = (f"*{TEMPORARY}", ".tmp*")  # files that a kill met half written; safetensors has names of its own
# What file systems say that have no hard links, or no more for this file, or not from there.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class Draft:
    """An artifact in the making. After a kill, the next run with the same fingerprint resumes it."""

    def __init__(self, directory: Path, earlier: Callable[[], list[Artifact]], log: Callable[[str], None]):
        self.directory = directory
        self.log = log
        self.fingerprint = ""  # of the artifact; set by the store
        self.counts: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.timings: dict[str, float] = {}  # seconds by part; not part of the identity
        self.made_on: dict[str, Any] = {}  # added to what the store notes of the machine; not part of the identity
        self.computed = self.reused = 0
        self.checked = bytes_check.enabled()  # whether all that went into the draft was as written
        self.leases = ExitStack()  # of what `hold` was given; the store closes it when the draft is finished
        self._earlier = earlier
        self._records = directory / RECORDS
        self._records.mkdir(parents=True, exist_ok=True)
        for pattern in UNFINISHED:
            for leftover in directory.rglob(pattern):
                leftover.unlink()
        self.entries: dict[str, dict[str, Any]] = {}

    def path(self, name: str) -> Path:
        """The path to write the file `name` to (use `write_whole` or `write_table`)."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def scratch(self, name: str) -> Path:
        """A folder for what is needed only while the artifact is made, such as what tasks hand to one another."""
        folder = self._records / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def table(
        self,
        fragment: str,
        key: dict[str, Any],
        compute: Callable[[], pl.DataFrame],
        facts: Callable[[pl.DataFrame], dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The table `fragment`, remembered under `key`; computed and written only if it is not remembered.

        facts: computes the small figures that the manifest records with the table. Returns the table's entry.
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
            # Made in this draft, before a kill.
            fresh = (self._records / f"{_record_name(fragment)}.parquet.json").exists()
            self.computed += fresh
            self.reused += not fresh
        return entry

    def record(
        self, fragment: str, key: dict[str, Any], rows: int, facts: dict[str, Any], parts: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Record a table that was just written to its path.

        parts: keys of the parts of it that a later version may reuse (see `earlier_part`).
        """
        self.computed += 1
        extra = {"rows": rows, "facts": facts, **({"parts": parts} if parts else {})}
        return self._record(f"{fragment}.parquet", key, extra)

    def file(self, name: str, key: dict[str, Any], write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The file `name`, remembered under `key` as tables are; `write` writes it atomically and returns its facts.

        Returns the file's entry, which holds those facts.
        """
        entry = self._recall(name, key)
        if entry is None:
            facts = write(self.path(name))
            entry = self._record(name, key, {"facts": facts})
        return entry

    def once(self, name: str, work: Callable[[], None], scratch: str) -> None:
        """Do `work`, which writes files and leaves counts, facts, timings and made_on, only once in this draft.

        After a kill, what it left is restored, provided that the files which it wrote are as they were.
        scratch: folder of what the work needs only until it is done; deleted afterwards.
        """
        self._once(name, work, scratch)
        remove_tree(self.directory / scratch)  # what stayed of it would be part of the artifact

    def _once(self, name: str, work: Callable[[], None], scratch: str) -> None:
        record = self._records / f"{name}.done"
        known = read_record(record)
        if known and all(self._intact(file, entry) for file, entry in known["files"].items()):
            self.counts, self.facts = known["counts"], known["facts"]
            self.timings, self.made_on = known["timings"], known["made_on"]
            self.entries |= known["files"]
            return
        before = set(self._written())
        work()
        new = [file for file in self._written() if file not in before and not file.startswith(f"{scratch}/")]
        files = {file: self.entries.get(file) or self._hashed(file) for file in new}
        done = {"files": files, "counts": self.counts, "facts": self.facts, "timings": self.timings}
        write_whole(record, canonical({**done, "made_on": self.made_on}))

    def _recall(self, name: str, key: dict[str, Any]) -> dict[str, Any] | None:
        key_digest = digest(key)
        record = self._records / f"{_record_name(name)}.json"
        entry = read_record(record)
        if entry is not None and entry.get("key") == key_digest and self._intact(name, entry):  # made before a kill
            self.entries[name] = entry
            return entry
        record.unlink(missing_ok=True)
        for artifact in self._earlier():
            earlier: dict[str, Any] | None = artifact.manifest["files"].get(name)
            if earlier and earlier.get("key") == key_digest and self.usable(artifact, name):
                link(artifact.place(name), self.path(name))
                fast = {} if HASH in earlier else {HASH: bytes_check.fast_hash(self.directory / name)}
                self.entries[name] = {**earlier, **fast}
                return self.entries[name]
        return None

    def usable(self, artifact: Artifact, name: str) -> bool:
        """Whether a file of an earlier version can be used: a damaged one is made again."""
        if not bytes_check.enabled():
            return artifact.place(name).exists()
        wrong = artifact.problem(name)
        if wrong and wrong != bytes_check.MISSING:
            self.log(f"{artifact.place(name)} {wrong}, so it is not used")
        if not wrong:
            self.checked &= bool(artifact.manifest.get("checked"))
        return not wrong

    def _intact(self, name: str, entry: dict[str, Any]) -> bool:
        return bytes_check.problem(self.directory / name, entry) is None

    def _hashed(self, name: str) -> dict[str, Any]:
        flush(self.directory / name)  # whatever wrote it may not have done so
        return bytes_check.hashes(self.directory / name)

    def _record(self, name: str, key: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        entry = {**bytes_check.hashes(self.directory / name), "key": digest(key), **extra}
        write_whole(self._records / f"{_record_name(name)}.json", canonical(entry))
        self.entries[name] = entry
        return entry

    def earlier(self) -> list[Artifact]:
        """Earlier versions of the artifact, the one in force first."""
        return self._earlier()

    def hold(self, artifacts: Iterable[Artifact]) -> bool:
        """Keep these versions, which are no inputs, from being deleted until the draft is finished; False, and none of
        them is kept, if one was deleted before."""
        directories = [artifact.directory for artifact in artifacts]
        with ExitStack() as held:
            held.enter_context(leases.held(directories))
            there = all((directory / MANIFEST).exists() for directory in directories)
            if there:
                self.leases.enter_context(held.pop_all())
        return there

    def earlier_part(self, fragment: str, part: str, part_key: str, companion: str = "") -> Path | None:
        """A table of an earlier version that holds `part` (such as a stage's signals) made under `part_key`.

        companion: suffix of a file of the same name that has to exist as well.
        """
        name = f"{fragment}.parquet"
        for artifact in self._earlier():
            entry = artifact.manifest["files"].get(name)
            if not entry or entry.get("parts", {}).get(part) != part_key:
                continue
            names = [name, f"{fragment}{companion}"] if companion else [name]
            if all(self.usable(artifact, required) for required in names):
                return artifact.place(name)
        return None

    def _finish(self) -> dict[str, Any]:
        """Entries of all files, in order; hashes files that were not recorded when they were written."""
        files = {name: self.entries.get(name) or self._hashed(name) for name in self._written()}
        for folder in {(self.directory / name).parent for name in files}:
            flush(folder)
        return files

    def _written(self) -> list[str]:
        """Names of all files of the draft that will be in the artifact, sorted by path."""
        paths = (path for path in sorted(self.directory.rglob("*")) if not path.is_dir())
        names = [path.relative_to(self.directory).as_posix() for path in paths]
        return [name for name in names if not name.startswith(f"{RECORDS}/") and name != MANIFEST]


def read_record(path: Path) -> dict[str, Any] | None:
    """What a draft noted at `path`; None if it noted nothing, or if the note is damaged: its file is made again."""
    try:
        known = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def link(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`; copy it where the file system has no hard links."""
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with whole(target) as unfinished:
            shutil.copyfile(source, unfinished)
        return
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # rename does nothing if both names already refer to one file


def _record_name(fragment: str) -> str:
    return re.sub(r"[^\w.-]", "+", fragment)
