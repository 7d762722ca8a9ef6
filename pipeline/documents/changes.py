"""What became of a fragment's rows since an earlier version of it: compared once, for all stages.

Every stage asks which rows of a changed fragment are as they were, and then reads the text of the others. Both are the
same for all of them, and unpacking the text of two versions is most of what a stage costs that has few new rows. So the
first that asks leaves the answer beside the versions of the raw documents:

    <raw_documents>/.changes/<fragment>    16 bytes: the hash of what it is about, and of the rest; a Parquet table

There is one for each name of a fragment, and `slm store prune` deletes them. One that is about other versions, or
damaged, is not used: what is compared again comes out the same.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl
import xxhash

from model.files import write_whole
from pipeline.store import disk
from pipeline.store.artifact import CHANGES, Artifact

VERSION = "1"
# Where more than one in so many rows is new, text is not kept: reading all of it is not much more.
MOST_NEW = 4


class Change(NamedTuple):
    """The rows of a fragment beside those of an earlier version of it."""

    place: pl.Series  # UInt32: for each row, the place of one with the same id and text before; null if there is none
    texts: pl.Series | None  # of the rows without a place, null elsewhere; None if there are too many


def change_of(before: Artifact, holder: str, now: Artifact, fragment: str) -> Change:
    """The change of a fragment since an earlier version of the raw documents, where its rows stood in `holder`.

    Raises Damaged if one of the two cannot be read.
    """
    about = "\0".join((VERSION, before.entry(holder)["sha256"], now.entry(fragment)["sha256"])).encode()
    kept = now.directory.parent / CHANGES / fragment
    known = _read(kept, about)
    if known is None:
        known = _compared(before.table(holder), now.table(fragment))
        with suppress(OSError), disk.alone(kept):  # without it, the next stage compares again
            _write(kept, about, known)
    return Change(known["place"], known["text"] if "text" in known.columns else None)


def places(frame: pl.DataFrame, before: pl.DataFrame) -> pl.Series:
    """For each row of `frame` (doc_id, text), the number of an equal row of `before`; null if there is none."""
    marked = [table.select("doc_id", mark=pl.col("text").hash()) for table in (frame, before)]
    known = marked[1].with_row_index("place").unique(["doc_id", "mark"], keep="first")
    place = marked[0].join(known, on=["doc_id", "mark"], how="left", maintain_order="left")["place"]
    # An id is of the words alone, and a hash may be another text's by chance.
    same = frame["text"].eq_missing(before["text"].gather(place)) & place.is_not_null()
    return pl.select(pl.when(same).then(place)).to_series()


def _compared(before: Path, now: Path) -> pl.DataFrame:
    """The columns `place` and, if few rows are new, `text`."""
    then, frame = (pl.read_parquet(path, columns=["doc_id", "text"]) for path in (before, now))
    place = places(frame, then).alias("place")
    if MOST_NEW * place.null_count() > frame.height:
        return place.to_frame()
    return frame.select(place, text=pl.when(place.is_null()).then("text"))


def _write(path: Path, about: bytes, table: pl.DataFrame) -> None:
    packed = io.BytesIO()
    table.write_parquet(packed, compression="lz4")
    content = packed.getvalue()
    write_whole(path, _hash(about, content) + content)


def _read(path: Path, about: bytes) -> pl.DataFrame | None:
    """What was kept; None if nothing was, or if it is about something else or damaged."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    content = kept[16:]
    return pl.read_parquet(content) if kept[:16] == _hash(about, content) else None


def _hash(about: bytes, content: bytes) -> bytes:
    hashed = xxhash.xxh3_128(about)
    hashed.update(content)
    return hashed.digest()
