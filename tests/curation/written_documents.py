"""Raw documents for tests: a frame of texts as the artifact that curation starts from."""

import unicodedata

import polars as pl
import xxhash

from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.execution import ExecutionSettings
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store

HERE = ExecutionSettings(executor="in_process")


def identity(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(" ".join(unicodedata.normalize("NFC", text).split()).encode())


def raw_documents(store: Store, rows: list[dict], parts: int = 1) -> Artifact:
    """rows: `text` and any other columns of a document; each source is cut into fragments by the first bits of doc_id,
    `parts` of them or the next power of two."""
    bits = (parts - 1).bit_length()
    full = [
        {"source": "s", "source_id": f"{number:05d}", **row, "doc_id": identity(row["text"])}
        for number, row in enumerate(rows)
    ]
    frame = pl.DataFrame([{name: row.get(name) for name in DOCUMENT_SCHEMA} for row in full], schema=DOCUMENT_SCHEMA)

    def build(draft):
        for (source,), table in frame.sort("doc_id", "source_id").group_by("source", maintain_order=True):
            part = pl.Series([f"{int(value[:4], 16):016b}"[:bits] for value in table["doc_id"]])
            for name in [f"{number:0{bits}b}" for number in range(1 << bits)] if bits else [""]:
                some = table.filter(part == name)
                key = {"rows": some.hash_rows().to_list(), "bits": bits}
                draft.table(f"{source}-{name or 'all'}", key, lambda some=some: some)

    settings = {"rows": sorted(frame.hash_rows().to_list()), "bits": bits}
    return store.make("raw_documents", code_version="1", settings=settings, inputs={}, build=build, log=lambda _: None)


def outcome(raw: Artifact, decisions: Artifact) -> dict[str, dict]:
    """Decisions by source_id, with the columns of the document."""
    table = pl.concat(
        pl.read_parquet(decisions.table(name)).hstack(pl.read_parquet(raw.table(name)).drop("doc_id"))
        for name in raw.fragments
    )
    return {row["source_id"]: row for row in table.iter_rows(named=True)}
