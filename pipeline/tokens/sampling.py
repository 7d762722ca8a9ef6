"""The text that the tokenizer is trained on, and the documents held back to evaluate it: `tokenizer_sample`.

Both depend only on digits of a document's id, which is a hash of its text, and so on no order, position or other
document. The properties of each document, without its text, are remembered by fragment. The tokenizer is made from the
two lists derived from them alone, so it stays up to date as long as no document on the lists changes.

    documents/<fragment>.parquet   row for row parallel to the curated fragment: DOCUMENT, no text
    trained_on.parquet             the sample, in the order of the tables; the tokenizer is made from it
    measured_on.parquet            the documents that the report reads
    places/<list>.parquet          row for row, where the texts of a list are
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from pipeline.context import RunContext
from pipeline.documents.document import HELD_OUT_DIGIT, SAMPLE_DIGIT, id_fraction, source_of
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import TableTask, make_tables
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import gather_texts, scan_tables, write_table
from pipeline.tokens.token_settings import TokenizerSettings

ASSET = "tokenizer_sample"
VERSION = "1"
UNKNOWN_LANGUAGE = "?"
LONGEST_TEXT = 2**18  # characters passed to a trainer at once
REPORT_BYTES = 2**21  # most text of one language that the report reads
TRAINED_ON, MEASURED_ON = "trained_on", "measured_on"
DOCUMENT = ("row", "held_out", "drawn", "lang", "bytes", "content")  # content: hash of the curated text
SETTINGS = ("sample_bytes", "held_back", "source_weights", "language_weights")


def held_out_fraction(doc_id: pl.Expr) -> pl.Expr:
    """A number in [0, 1) that decides what is held out from training.

    Shards and tokenizer read the same digits, so the smaller of two held-out shares is part of the larger.
    """
    return id_fraction(doc_id, HELD_OUT_DIGIT)


def sample_fraction(doc_id: pl.Expr) -> pl.Expr:
    """A number in [0, 1), independent of `held_out_fraction`, that decides what is in a sample."""
    return id_fraction(doc_id, SAMPLE_DIGIT)


def language(lang: str = "lang") -> pl.Expr:
    return pl.col(lang).fill_null(UNKNOWN_LANGUAGE)


@dataclass(frozen=True)
class Sample:
    """A sample and the documents that it was drawn from."""

    artifact: Artifact
    curated: Artifact

    @property
    def identity(self) -> Artifact:
        """What a tokenizer is made from: the two lists, without the places of their texts."""
        return self.artifact.only(TRAINED_ON, MEASURED_ON)

    @property
    def held_back(self) -> bool:
        """Whether the report's documents were held back from training; if none were, it reads any documents."""
        return bool(self.artifact.facts["held_back"])

    def trained_on(self) -> pl.DataFrame:
        """The training documents: source, lang, bytes, content, and copies (how often the document counts)."""
        return pl.read_parquet(self.artifact.table(TRAINED_ON))

    def texts(self) -> Iterator[str]:
        """The training texts in the order of the tables, long ones in parts. One table is in memory at a time."""
        places = pl.read_parquet(self.artifact.table(f"places/{TRAINED_ON}")).sort("fragment", "row")
        for (fragment,), rows in places.group_by("fragment", maintain_order=True):
            texts = self._texts_of(str(fragment)).gather(rows["row"])
            for text, copies in zip(texts, rows["copies"], strict=True):
                for _ in range(copies):
                    for start in range(0, len(text), LONGEST_TEXT):
                        yield text[start : start + LONGEST_TEXT]

    def report_documents(self) -> pl.DataFrame:
        """The documents of the report: text, lang; at most `REPORT_BYTES` per language."""
        listed = pl.read_parquet(self.artifact.table(MEASURED_ON))
        places = pl.read_parquet(self.artifact.table(f"places/{MEASURED_ON}"))
        return listed.with_columns(gather_texts(places, self._texts_of))

    def _texts_of(self, fragment: str) -> pl.Series:
        return pl.read_parquet(self.curated.table(fragment), columns=["text"])["text"]


def make(context: RunContext, curated: Artifact, settings: TokenizerSettings) -> Sample:
    """The documents to train on and those for the report.

    Raises UserError if a weight names an unknown source or language, or if there is no text to train on.
    """
    trains = settings.kind != "existing"

    def build(draft: Draft) -> None:
        known = documents_of(draft, curated, context.execution)
        held_back = known.filter(pl.col("held_out") < settings.held_back)
        measured = documents_to_report_on(held_back)
        draft.facts["held_back"] = bool(measured.height)
        if not measured.height:
            measured = documents_to_report_on(known)
        write_list(draft, MEASURED_ON, measured, ("lang", "content"), ())
        trained = known.head(0).with_columns(copies=pl.lit(0, dtype=pl.Int64)).collect()
        if trains:
            groups = rates(known, settings)
            draft.facts["groups"] = groups.to_dicts()
            trained = training_documents(known, groups, settings.held_back)
        write_list(draft, TRAINED_ON, trained, ("source", "lang", "bytes", "content", "copies"), ("copies",))

    read_here = {name: value for name, value in settings.model_dump(mode="json").items() if name in SETTINGS}
    artifact = context.store.make(
        ASSET,
        code_version=VERSION,
        settings={**read_here, "trains": trains},
        inputs={"curated_documents": curated},
        build=build,
        log=context.log,
    )
    return Sample(artifact, curated)


def documents_of(draft: Draft, curated: Artifact, execution: ExecutionSettings) -> pl.LazyFrame:
    """DOCUMENT, fragment and source of each curated document, in the order of the tables; remembered by fragment."""

    def table_task(fragment: str) -> TableTask:
        entry = curated.entry(fragment)
        key = {"curated": entry["sha256"], "version": VERSION}
        return TableTask(f"documents/{fragment}", key, entry["bytes"], lambda target: (curated.table(fragment), target))

    make_tables(draft, map(table_task, curated.fragments), write_documents, execution, ASSET)
    tables = {fragment: draft.path(f"documents/{fragment}.parquet") for fragment in curated.fragments}
    sources = {fragment: source_of(fragment) for fragment in curated.fragments}
    source = pl.col("fragment").replace_strict(sources, return_dtype=pl.String).alias("source")
    return scan_tables(tables).with_columns(source)


def write_documents(curated: Path, target: Path) -> tuple[int, dict[str, Any]]:
    """Write DOCUMENT for each document of a curated table; returns (rows, no facts). Runs in a worker."""
    frame = pl.read_parquet(curated, columns=["doc_id", "text", "lang"]).with_row_index("row")
    content = [xxhash.xxh3_64_intdigest(raw) for raw in frame["text"].cast(pl.Binary).to_list()]
    table = frame.with_columns(
        held_out_fraction(pl.col("doc_id")).alias("held_out"),
        sample_fraction(pl.col("doc_id")).alias("drawn"),
        language(),
        pl.col("text").str.len_bytes().cast(pl.Int64).alias("bytes"),
        pl.Series("content", content, dtype=pl.UInt64),
    ).select(DOCUMENT)
    write_table(table, target)
    return table.height, {}


def rates(known: pl.LazyFrame, settings: TokenizerSettings) -> pl.DataFrame:
    """How often a document of each source and language counts, such that the sample fits `sample_bytes`.

    Columns: source, lang, documents, bytes (both without held-back documents), rate.
    """
    groups = (
        known.filter(pl.col("held_out") >= settings.held_back)
        .group_by("source", "lang")
        .agg(pl.len().cast(pl.Int64).alias("documents"), pl.col("bytes").sum())
        .sort("source", "lang")
        .collect()
    )
    for name, given, known_names in (
        ("source_weights", settings.source_weights, groups["source"]),
        ("language_weights", settings.language_weights, groups["lang"]),
    ):
        for key in given:
            if key not in known_names:
                names = ", ".join(sorted(set(known_names)))
                raise UserError(f"`tokenizer.{name}` names `{key}`, which has no text: use {names}.")
    weight = pl.col("source").replace_strict(settings.source_weights, default=1.0, return_dtype=pl.Float64) * pl.col(
        "lang"
    ).replace_strict(settings.language_weights, default=1.0, return_dtype=pl.Float64)
    groups = groups.with_columns(weight.alias("rate"))
    weighted_bytes = float((groups["bytes"] * groups["rate"]).sum())
    if not weighted_bytes:
        raise UserError(
            "There is no text to train the tokenizer on: lower `tokenizer.held_back`, raise the weights, or add text."
        )
    return groups.with_columns(pl.col("rate") * min(1.0, settings.sample_bytes / weighted_bytes))


def training_documents(known: pl.LazyFrame, groups: pl.DataFrame, held_back: float) -> pl.DataFrame:
    """The documents in the sample, with `copies`, in the order of the tables."""
    full_copies = pl.col("rate").floor()
    copies = full_copies + (pl.col("drawn") < pl.col("rate") - full_copies).cast(pl.Float64)
    return (
        known.filter(pl.col("held_out") >= held_back)
        .join(groups.lazy().select("source", "lang", "rate"), on=["source", "lang"])
        .with_columns(copies.cast(pl.Int64).alias("copies"))
        .filter(pl.col("copies") > 0)
        .collect()
        .sort("fragment", "row")
    )


def documents_to_report_on(known: pl.LazyFrame) -> pl.DataFrame:
    """Documents in their random order, at most `REPORT_BYTES` per language."""
    before = pl.col("bytes").cum_sum().over("lang") - pl.col("bytes")
    return known.collect().sort("drawn", "content", "fragment", "row").filter(before < REPORT_BYTES)


def write_list(draft: Draft, name: str, chosen: pl.DataFrame, identity: tuple[str, ...], more: tuple[str, ...]) -> None:
    """Write a list of documents and the places of their texts."""
    write_table(chosen.select(identity), draft.path(f"{name}.parquet"))
    write_table(chosen.select("fragment", "row", *more), draft.path(f"places/{name}.parquet"))
