"""An artifact in the making: a directory in which finished files survive a kill.

Each file is remembered under a key that says what it was made from. A file that this draft or an earlier version made
under the same key is hard-linked instead of being made again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.store.artifact import Artifact, canonical, digest, file_digest
from pipeline.store.tables import put_in_place, write_table, write_whole


class Draft:
    """An artifact in the making. After a kill, the next run with the same fingerprint resumes it."""

    def __init__(self, directory: Path, earlier: Callable[[], list[Artifact]], log: Callable[[str], None]):
        self.directory = directory
        self.log = log
        self.fingerprint = ""  # of the artifact; set by the store
        self.counts: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.timings: dict[str, float] = {}  # seconds by part; not part of the identity
        self.computed = self.reused = 0
        self._earlier = earlier
        self._records = directory / ".records"
        self._records.mkdir(parents=True, exist_ok=True)
        for leftover in directory.rglob("*.tmp"):
            leftover.unlink()
        self.entries: dict[str, dict[str, Any]] = {}

    def path(self, name: str) -> Path:
        """The path to write the file `name` to (use `write_whole` or `write_table`)."""
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

    def _recall(self, name: str, key: dict[str, Any]) -> dict[str, Any] | None:
        key_digest = digest(key)
        record = self._records / f"{_record_name(name)}.json"
        if record.exists():  # made before a kill
            entry: dict[str, Any] = json.loads(record.read_text())
            if entry["key"] == key_digest and (self.directory / name).exists():
                self.entries[name] = entry
                return entry
            record.unlink()
        for artifact in self._earlier():
            earlier: dict[str, Any] | None = artifact.manifest["files"].get(name)
            if earlier and earlier.get("key") == key_digest and artifact.file(name).exists():
                link(artifact.file(name), self.path(name))
                self.entries[name] = earlier
                return earlier
        return None

    def _record(self, name: str, key: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        path = self.directory / name
        entry = {"sha256": file_digest(path), "bytes": path.stat().st_size, "key": digest(key), **extra}
        write_whole(self._records / f"{_record_name(name)}.json", canonical(entry))
        self.entries[name] = entry
        return entry

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
            if all(artifact.file(required).exists() for required in names):
                return artifact.file(name)
        return None

    def _finish(self) -> dict[str, Any]:
        """Entries of all files, in order; hashes files that were not recorded when they were written."""
        shutil.rmtree(self._records)
        files: dict[str, dict[str, Any]] = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_dir():
                continue
            name = path.relative_to(self.directory).as_posix()
            files[name] = self.entries.get(name) or {"sha256": file_digest(path), "bytes": path.stat().st_size}
        return files


def link(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`; copy it where the file system has no hard links."""
    temporary = target.with_name(target.name + ".tmp")
    try:
        os.link(source, temporary)
        temporary.replace(target)
        temporary.unlink(missing_ok=True)  # rename does nothing if both names already refer to one file
    except OSError:
        shutil.copyfile(source, temporary)
        put_in_place(temporary, target)


def _record_name(fragment: str) -> str:
    return re.sub(r"[^\w.-]", "+", fragment)
