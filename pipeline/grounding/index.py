"""grounding: documents cut into chunks, with the terms and, if wished, a vector of each chunk.

One table of chunks and one of vectors for each fragment of documents. What was made of a fragment is remembered
under the fragment's bytes, and a vector under its chunk's text, so that new documents cost the chunks of their
fragments and vectors of their own. Whatever depends on all documents (how rare a term is, what all vectors have in
common) is computed when the index is opened (`search.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash

from pipeline.context import RunContext
from pipeline.curation.duplicates.signature_tables import binary_column
from pipeline.curation.duplicates.vectors import Matrix
from pipeline.documents.document import holders
from pipeline.documents.fragment_tables import fragment_task, make_tables
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.grounding.chunks import BYTES, chunks_of
from pipeline.grounding.embedding import Embedder
from pipeline.grounding.terms import terms_of
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

ASSET = "grounding"
VERSION = "1"

COLUMNS = ("doc_id", "source", "source_id", "url", "start", "end", "text", "terms", "counts")


def make(context: RunContext, documents: Artifact, embedder: Embedder | None = None, most: int = BYTES) -> Artifact:
    """The index of the documents of an artifact (raw or curated). most: bytes of a chunk, without white space.

    Raises UserError if there is nothing to index.
    """
    view = Documents(documents)
    execution = context.execution

    def build(draft: Draft) -> None:
        tasks = [fragment_task(view, name, name, {"version": VERSION, "bytes": most}, most) for name in view.fragments]
        make_tables(draft, tasks, index_fragment, execution, ASSET)
        chunks = sum(draft.entries[f"{name}.parquet"]["rows"] for name in view.fragments)
        if not chunks:
            raise UserError("There is nothing to answer from: the documents hold no text.")
        draft.counts = {"documents": sum(map(view.rows, view.fragments)), "chunks": chunks}
        if embedder is not None:
            for name in view.fragments:
                _embed(draft, name, embedder)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={"bytes": most, "vectors": embedder.identity if embedder else None},
        inputs={"documents": documents},
        build=build,
        log=context.log,
    )


def index_fragment(documents: Documents, fragment: str, most: int, target: Path) -> tuple[int, dict[str, Any]]:
    """Write the table of one fragment: its chunks and their terms. Runs in a worker."""
    frame = documents.read(fragment, ("doc_id", "text", "source", "source_id", "url", "lang")).filter("kept")
    table = indexed(frame, most)
    write_table(table, target)
    return table.height, {}


def indexed(documents: pl.DataFrame, most: int = BYTES) -> pl.DataFrame:
    """The chunks of documents (doc_id, text, source, source_id, url, lang), with the columns COLUMNS.

    `terms` are hashes, sorted, and `counts` how often each is in the chunk.
    """
    chunks = chunks_of(documents["text"], (documents["lang"] == "code").fill_null(False).to_numpy(), most)
    terms = terms_of(chunks["text"]).group_by("row", maintain_order=True).agg(terms="term", counts="count")
    about = documents.select("doc_id", "source", "source_id", "url")[chunks["row"]]
    numbered = chunks.drop("row").with_row_index("row").with_columns(about)
    return numbered.join(terms, on="row", how="left", maintain_order="left").select(COLUMNS)


def _embed(draft: Draft, fragment: str, embedder: Embedder) -> None:
    """Write the vectors of a fragment's chunks; those of texts that an earlier version has are taken from it."""
    name = vectors_table(fragment)
    key = {"chunks": draft.entries[f"{fragment}.parquet"]["sha256"], "embedder": embedder.identity}
    if draft.recall(name, key):
        return
    texts = pl.read_parquet(draft.path(f"{fragment}.parquet"), columns=["text"])["text"]
    digests = pl.Series("digest", [xxhash.xxh3_128_digest(text.encode()) for text in texts], dtype=pl.Binary)
    tables = (draft.earlier_part(vectors_table(holder), "vectors", embedder.identity) for holder in holders(fragment))
    earlier = next(filter(None, tables), None)
    known = pl.DataFrame(schema={"digest": pl.Binary, "vector": pl.Binary})
    if earlier is not None:
        known = pl.read_parquet(earlier).unique("digest", keep="first")
    frame = digests.to_frame().join(known, on="digest", how="left", maintain_order="left")
    missing = frame["vector"].is_null().arg_true()
    made = embedder.embed(texts.gather(missing).to_list()).astype(np.float16)
    vectors = frame["vector"].clone().scatter(missing, binary_column(made)) if len(missing) else frame["vector"]
    write_table(frame.with_columns(vector=vectors), draft.path(f"{name}.parquet"))
    draft.record(name, key, rows=frame.height, facts={"made": len(missing)}, parts={"vectors": embedder.identity})


def vectors_table(fragment: str) -> str:
    """The table of a fragment's vectors: `digest` of the chunk's text, and `vector`, bytes of float16."""
    return f"vectors/{fragment}"


def vectors_of(path: Path) -> Matrix:
    """The vectors [chunks, dimensions] of a fragment."""
    column = pl.read_parquet(path, columns=["vector"])["vector"]
    return np.frombuffer(b"".join(column), np.float16).reshape(len(column), -1).astype(np.float32)
