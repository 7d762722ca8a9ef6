"""How benchmarks make artifacts: a quiet run in this process, raw documents from a frame, shards of given tokens."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash

from pipeline.context import RunContext
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store

ROW_GROUP_TOKENS = 2**20


def quiet(line: str) -> None:
    """A log that says nothing."""


def context(store: Store, **changes: Any) -> RunContext:
    """A run that logs nothing, on the CPU, in this process."""
    given = {"log": quiet, "device": "cpu", "execution": ExecutionSettings(executor="in_process"), **changes}
    return RunContext(store, **given)


def as_documents(frame: pl.DataFrame) -> pl.DataFrame:
    """Documents of a frame with `id`, `text` and `source`; other columns are null where the frame has none.

    The id of a document is computed here, with no code of the pipeline.
    """

    def identity(text: str) -> str:
        return xxhash.xxh3_128_hexdigest(" ".join(unicodedata.normalize("NFC", text).split()).encode())

    frame = frame.rename({"id": "source_id"}).with_columns(doc_id=pl.Series([identity(text) for text in frame["text"]]))
    frame = frame.with_columns(pl.lit(None).alias(name) for name in DOCUMENT_SCHEMA if name not in frame.columns)
    return frame.select(pl.col(name).cast(kind) for name, kind in DOCUMENT_SCHEMA.items()).sort("doc_id", "source_id")


def raw_documents(store: Store, frame: pl.DataFrame, rows_in_fragment: int = 8192) -> Artifact:
    """The artifact `raw_documents` of a frame with `id`, `text`, `source` and, where there is, `lang`."""
    documents = as_documents(frame)

    def build(draft: Draft) -> None:
        for (source,), rows in documents.group_by("source", maintain_order=True):
            parts = -(-rows.height // rows_in_fragment)
            part = np.array([int(value[:4], 16) * parts >> 16 for value in rows["doc_id"]])
            for number in range(parts):
                table = rows.filter(pl.Series(part == number))
                key = {"rows": str(table.hash_rows().sum()), "height": table.height}
                draft.table(f"{source}-{number:02x}", key, lambda table=table: table)  # type: ignore[misc]

    texts = str(documents.hash_rows().sum())
    return store.make(
        "raw_documents", code_version="1", settings={}, inputs={"texts": texts}, build=build, log=quiet
    )  # fmt: skip


def write_tokens(table: pl.DataFrame, path: Path) -> dict[str, Any]:
    """Write a fragment of `token_shards` as that asset does; returns the facts that it records of it.

    table: doc_id, source, lang, split, tokens, length and bytes; rows of one split and language stand together.
    """
    # Here, so that benchmarks that measure memory do not load what they do not use.
    from pipeline.tokens.shards import row_groups, write_shard

    groups = list(row_groups(table, ROW_GROUP_TOKENS))
    write_shard(table, groups, path)
    parts = [table[start:end] for start, end in groups]
    return {
        "source": table["source"][0],
        "groups": [
            [part["split"][0], part["lang"][0], part.height, int(part["length"].sum()), int(part["bytes"].sum())]
            for part in parts
        ],
    }
