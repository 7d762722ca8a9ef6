"""What a document is: the columns of document tables and decision tables, and what follows from a document's id.

Curation never changes the text of a document. Decisions are tables of their own, row for row parallel to the fragment
of documents that they are about.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

DOCUMENT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "doc_id": pl.String,  # hex of the 128-bit xxh3 of the normalised text
    "text": pl.String,
    "source": pl.String,
    "source_id": pl.String,  # the record's id, or its path, at its source
    "lang": pl.String,  # raw: as the source declares it; curated: as it was found; may be null
    "url": pl.String,
    "license": pl.String,
    "meta": pl.String,  # JSON, or null
}

EDIT = pl.Struct({"start": pl.Int64, "end": pl.Int64, "replacement": pl.String, "label": pl.String})

DECISION_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "doc_id": pl.String,
    "keep": pl.Boolean,  # null: removed by an earlier stage
    "reason": pl.String,
    "score": pl.Float64,
    "edits": pl.List(EDIT),  # code points of the raw text, end exclusive
}


def id_fraction(doc_ids: pl.Expr, digit: int) -> pl.Expr:
    """A number in [0, 1) from the eight hex digits of each id that start at `digit` (0 to 24).

    An id is a hash, so the number is a random draw that depends on nothing but the document's text. Draws from
    different digits are independent: digits 16 to 23 choose samples, digits 24 to 31 choose what is held out.
    """
    return doc_ids.str.slice(digit, 8).str.to_integer(base=16, dtype=pl.Int64) / 2**32


SAMPLE_DIGIT, HELD_OUT_DIGIT = 16, 24


def mask_digest(kept: pl.Series) -> str:
    """Digest of which rows of a fragment are kept: all that a later stage depends on of the decisions before it."""
    bits = np.packbits(kept.to_numpy().astype(bool))
    return hashlib.sha256(len(kept).to_bytes(8, "little") + bits.tobytes()).hexdigest()


def source_of(fragment: str) -> str:
    """The source of a fragment: its name is `<source>-<part>`."""
    return fragment.rpartition("-")[0]


def holders(fragment: str) -> list[str]:
    """The fragments that have all rows of this one, however its source is cut: itself, then those of fewer bits.

    A source that grows is cut by one bit more, so the rows of `web-010` stood in `web-01` before, or in `web-all`.
    """
    source, _, bits = fragment.rpartition("-")
    if bits == "all":
        return [fragment]
    return [*(f"{source}-{bits[:end]}" for end in range(len(bits), 0, -1)), f"{source}-all"]
