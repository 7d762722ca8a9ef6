"""Files on this machine: globs of tables, JSON, text, pages, source code and archives of them.

A file is identified by the hash of its contents, never by its place or its date, so that a copied or touched folder is
still the same source. The hash is remembered under the file's path, size and time of change, and only computed where
these changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import polars as pl
import xxhash
from pydantic import Field, ValidationInfo, field_validator

from pipeline.errors import UserError
from pipeline.ingest.formats import FilesOfRecords
from pipeline.ingest.globs import joined, matches_of
from pipeline.ingest.open_files import Part, format_of, plain_name
from pipeline.ingest.records import Reading
from pipeline.ingest.source_kind import Content, Log, Observed, Place, Texts
from pipeline.store.disk import sweep
from pipeline.store.tables import write_table

AGAIN = "run the same command again when nothing writes there."
# A file that changed so lately may change again within its clock's tick: its hash is not remembered yet.
LATELY = 2.0


# The kind of every block that reads files on this machine.
Files = Annotated[Literal["files"], Field(description="files on this machine")]


class InFiles(Place):
    """Files on this machine."""

    path: Texts = Field(description="globs, relative to the recipe's folder; a folder is all that lies below it")

    @field_validator("path")
    @classmethod
    def _from_the_recipe(cls, path: list[str], info: ValidationInfo) -> list[str]:
        """Relative paths start at the recipe's folder (`context["base"]`)."""
        base = (info.context or {}).get("base")
        return path if base is None else [joined(base, pattern) for pattern in path]

    def observe(self, cache: Path, log: Log = print, force: bool = False) -> Observed:
        """What is there now: one digest over the names and contents of all files."""
        found = self.matching()
        return {
            "digest": self.digest_of(self.contents_by_name(found, cache)),
            "files": len(found),
            "bytes": sum(os.path.getsize(path) for _, path in found),
        }

    def contents_by_name(self, found: list[tuple[str, str]], cache: Path) -> dict[str, str]:
        """The hashes of files (`matching`) by name."""
        hashes = content_hashes([path for _, path in found], cache / f"{self.name}.files.parquet")
        return {name: content for (name, _path), content in zip(found, hashes)}

    def digest_of(self, contents: dict[str, str]) -> str:
        """One digest over the names and contents of files, and how they are read."""
        combined = xxhash.xxh3_128()
        for name, content in contents.items():
            combined.update("\0".join([name, content, *self.read_as(name)]).encode() + b"\n")
        return combined.hexdigest()

    @contextmanager
    def opened(self, observed: Observed, reading: Reading) -> Iterator[Iterable[Part]]:
        found = self.matching()
        before = [state(path) for _, path in found]
        if observed.get("states", before) != before or (
            "digest" in observed and self.observe(reading.cache)["digest"] != observed["digest"]
        ):
            raise UserError(f"{self.heading}: its files have changed since they were looked at: {AGAIN}")

        def confirm() -> None:
            for (name, path), known in zip(found, before):
                if state(path) != known:
                    raise UserError(f"{self.heading}: {name} was changed while it was read: {AGAIN}")

        reading.confirm.append(confirm)
        chosen = reading.only
        yield (Part.of_file(path, name) for name, path in found if chosen is None or name in chosen)

    def describe(self) -> str:
        return ", ".join(self.path)

    def matching(self) -> list[tuple[str, str]]:
        """(stable name, path) of all files that the globs match, sorted by name; a UserError where one matches none.

        The name is the path from the folder at which the glob's first wild card stands, so that it is the same wherever
        that folder lies. Hidden files are matched only by name.
        """
        found: dict[str, str] = {}
        for pattern in self.path:
            root, matched, whole_folder = matches_of(pattern)
            if whole_folder:
                matched = [path for path in matched if self.in_folder(path)]
            if not matched:
                looked = plain_name(os.path.abspath(root))
                raise UserError(f"{self.heading}: no file matches `{pattern}` (looked in {looked}): fix `path`.")
            above = len(os.path.join(root, "")) if root else 0
            for path in matched:
                short, full = (plain_name(name.replace(os.sep, "/")) for name in (path[above:], path.lstrip("/.")))
                # Two globs may have files of one name, and a name in CP949 may be that of another file in UTF-8.
                names = chain((short, full), (f"{full}~{number}" for number in count(2)))
                name = next(name for name in names if found.get(name, path) == path)
                found[name] = path
        return sorted(found.items())

    def in_folder(self, path: str) -> bool:
        """Whether a file is meant where the recipe names a folder above it."""
        return True


class FileSource(FilesOfRecords, InFiles):
    """Tables, JSON, text, pages, source code and archives of them, on this machine."""

    icon: ClassVar[str] = "file"

    kind: Files = "files"

    def recognised(self) -> Content:
        """A person's own files of text are no web pages; tables, pages and crawls may hold anything."""
        if self.lang == "code":
            return "code"
        formats = [self.format or format_of(pattern) or "text" for pattern in self.path]
        return "notes" if "text" in formats else "web"


def state(path: str) -> tuple[int, ...] | None:
    """What differs after a file was changed, also where its contents are as they were before; None if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def content_hashes(paths: list[str], memory: Path) -> list[str]:
    """xxh3-128 of each file's bytes, read only where size or time of change are not as `memory` has them."""
    try:
        stats = [os.stat(path) for path in paths]
    except FileNotFoundError as error:
        raise UserError(f"{plain_name(error.filename)} was deleted while it was looked at: {AGAIN}") from None
    now = pl.DataFrame(
        {
            "path": [as_column(os.path.abspath(path)) for path in paths],
            "size": [stat.st_size for stat in stats],
            "changed": [stat.st_mtime_ns for stat in stats],
        },
        schema={"path": pl.String, "size": pl.Int64, "changed": pl.Int64},
    )
    known = now.join(remembered_hashes(memory, now.schema), on=list(now.columns), how="left", maintain_order="left")
    hashes: list[str | None] = known["hash"].to_list()
    missing = [i for i, known_hash in enumerate(hashes) if known_hash is None]
    for i in missing:
        hashes[i] = file_hash(paths[i])
    settled = pl.col("changed") < int((time.time() - LATELY) * 1e9)
    remembered = now.with_columns(hash=pl.Series(hashes, dtype=pl.String)).filter(settled)
    if missing:
        sweep(memory)
        write_table(remembered, memory)
    return [content or "" for content in hashes]


def remembered_hashes(memory: Path, schema: pl.Schema) -> pl.DataFrame:
    """The hashes that were remembered; none if the file is missing or damaged, and then files are read anew."""
    wanted = pl.Schema({**schema, "hash": pl.String()})
    try:
        known = pl.read_parquet(memory, memory_map=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return pl.DataFrame(schema=wanted)
    return known if known.schema == wanted else pl.DataFrame(schema=wanted)


def as_column(path: str) -> str:
    """A path as text of a column; one that is no UTF-8 in a way that differs from every other path."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "\0" + os.fsencode(path).hex()
    return path


def file_hash(path: str | Path) -> str:
    hashed = xxhash.xxh3_128()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                hashed.update(block)
    except OSError as error:
        named = plain_name(os.fspath(path))
        if isinstance(error, PermissionError):
            raise UserError(f"{named} may not be read: give this user the right to (`chmod +r`).") from None
        raise UserError(
            f"{named} cannot be read ({error.strerror}): check the disk, or leave it out of `path`."
        ) from None
    return hashed.hexdigest()
