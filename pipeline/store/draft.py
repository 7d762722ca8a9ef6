"""An artifact being made: a directory beside its place, in which whatever is finished is found again after a kill.

Files are remembered by what they were made of. One that this draft or an earlier version made under the same key is
linked, not made again.
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


def _flat(fragment: str) -> str:
    return re.sub(r"[^\w.-]", "+", fragment)
