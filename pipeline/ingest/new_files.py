"""Files that a source has got since it was read: where all others are as they were, these alone are read.

Which files were read, and their hashes, is noted in the cache beside the store when a version is made. The note counts
only if it gives the digest that the manifest of the version in force has of the source. So one that is stale, damaged
or missing means that everything is read again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.ingest.archives import is_archive
from pipeline.ingest.cache import alone
from pipeline.ingest.files import FileSource, remembered_hashes
from pipeline.ingest.open_files import format_of
from pipeline.ingest.source_kind import Observed, SourceKind
from pipeline.store.disk import sweep
from pipeline.store.tables import write_table

SCHEMA = pl.Schema({"name": pl.String()})
GATHERED = ("text", "html")  # small files of these are read together, after tables that come later


def remember(source: SourceKind, observed: Observed, cache: Path) -> None:
    """Note the files of a source that the version in force was made from, which has `observed` in its manifest."""
    if not isinstance(source, FileSource) or source.digest_of(_noted(source, cache)) == observed["digest"]:
        return
    contents = source.contents_by_name(source.matching(), cache)
    if source.digest_of(contents) != observed["digest"]:  # they have changed meanwhile
        return
    note = _note(source, cache)
    # Where it cannot be written, everything is read the next time.
    with suppress(OSError, pl.exceptions.PolarsError), alone(note):
        sweep(note)
        write_table(pl.DataFrame({"name": list(contents), "hash": list(contents.values())}), note)


def of(source: SourceKind, observed: Observed, known: dict[str, Any], cache: Path) -> frozenset[str] | None:
    """Names of the files that are new since a version was made, which has `known` in its manifest of the source.

    None where it takes more than reading these: where another file has changed or is gone, settings are others, or what
    is read depends on the files before.
    """
    if not isinstance(source, FileSource) or source.limit is not None:
        return None
    then = _noted(source, cache)
    if (
        source.digest_of(then) != known["observed"]["digest"]
        or source.identity(known["observed"]["digest"]) != known["identity"]
    ):
        return None
    now = source.contents_by_name(source.matching(), cache)
    same_files = then.items() <= now.items() and source.digest_of(now) == observed["digest"]
    kinds = {
        "archive" if is_archive(name) else (source.format or format_of(name) or "text") in GATHERED for name in now
    }
    # Equal ids are put in the order of reading, so this has to be the order of the files.
    return frozenset(now.keys() - then.keys()) if same_files and len(kinds) == 1 else None


def _noted(source: FileSource, cache: Path) -> dict[str, str]:
    """The hashes of files by name, in order, as they were noted; none if they were not, or if the note is damaged."""
    noted = remembered_hashes(_note(source, cache), SCHEMA)
    return dict(noted.select("name", "hash").drop_nulls().iter_rows())


def _note(source: FileSource, cache: Path) -> Path:
    return cache / f"{source.name}.read.parquet"
