"""Which text the tokenizer is trained on, and which documents are set aside to measure it: `tokenizer_sample`.

Both are decided by digits of the document's own id, which is a hash of its text: so they depend on no order, no
position and no other document. What is known of each document without its text is remembered by fragment; the two
lists made of it are all that a tokenizer is made of, so that it stays as it is while no document on them changes.

    documents/<fragment>.parquet   row for row beside the curated fragment: DOCUMENT, no text
    trained_on.parquet             the sample, in the order of the tables; the tokenizer is made of it
    measured_on.parquet            what the report reads
    places/<list>.parquet          row for row, where the texts of a list lie
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from pipeline.context import RunContext
from pipeline.documents.document import source_of
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
LONGEST_TEXT = 2**18  # characters given to a trainer at once
REPORT_BYTES = 2**21  # text of one language that the report reads at most
TRAINED_ON, MEASURED_ON = "trained_on", "measured_on"
DOCUMENT = ("row", "held_out", "drawn", "lang", "bytes", "content")  # content: hash of the curated text
SETTINGS = ("sample_bytes", "held_back", "source_weights", "language_weights")


def held_out(doc_id: pl.Expr) -> pl.Expr:
    """A number in [0, 1) that decides what is kept from training: shards and tokenizer read the same digits, so
    that of two shares the smaller one lies within the larger."""
    return _fraction(doc_id, 24)


def drawn(doc_id: pl.Expr) -> pl.Expr:
    """A number in [0, 1), independent of `held_out`, that decides what is in a sample."""
    return _fraction(doc_id, 16)


def _fraction(doc_id: pl.Expr, digit: int) -> pl.Expr:
    return doc_id.str.slice(digit, 8).str.to_integer(base=16, dtype=pl.Int64) / 2**32


def language(lang: str = "lang") -> pl.Expr:
    return pl.col(lang).fill_null(UNKNOWN_LANGUAGE)


@dataclass(frozen=True)
class Sample:
    """A sample and the documents that it is of."""

    artifact: Artifact
    curated: Artifact

    @property
    def identity(self) -> Artifact:
        """What a tokenizer is made of: the two lists, without where their texts lie."""
        return self.artifact.only(TRAINED_ON, MEASURED_ON)

    @property
    def held_back(self) -> bool:
        """Whether the documents to measure on were held back from training (else too few were, and any serve)."""
        return bool(self.artifact.facts["held_back"])

    def trained_on(self) -> pl.DataFrame:
        """source, lang, bytes, content and copies (how often it counts) of each document to train on."""
        return pl.read_parquet(self.artifact.table(TRAINED_ON))

    def texts(self) -> Iterator[str]:
        """The texts to train on in the order of the tables, long ones in parts. One table is in memory at a time."""
        places = pl.read_parquet(self.artifact.table(f"places/{TRAINED_ON}")).sort("fragment", "row")
        for (fragment,), rows in places.group_by("fragment", maintain_order=True):
            texts = self._of(str(fragment)).gather(rows["row"])
            for text, copies in zip(texts, rows["copies"], strict=True):
                for _ in range(copies):
                    for start in range(0, len(text), LONGEST_TEXT):
                        yield text[start : start + LONGEST_TEXT]

    def report_documents(self) -> pl.DataFrame:
        """Documents for the report: text, lang, at most `REPORT_BYTES` a language."""
        listed = pl.read_parquet(self.artifact.table(MEASURED_ON))
        places = pl.read_parquet(self.artifact.table(f"places/{MEASURED_ON}"))
        return listed.with_columns(gather_texts(places, self._of))

    def _of(self, fragment: str) -> pl.Series:
        return pl.read_parquet(self.curated.table(fragment), columns=["text"])["text"]


def make(context: RunContext, curated: Artifact, settings: TokenizerSettings) -> Sample:
    """The documents to train and to measure on.

    Raises UserError where a weight names a source or language that is not there, or nothing is left to train on.
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

    def wanted(fragment: str) -> TableTask:
        entry = curated.entry(fragment)
        key = {"curated": entry["sha256"], "version": VERSION}
        return TableTask(f"documents/{fragment}", key, entry["bytes"], lambda target: (curated.table(fragment), target))

    make_tables(draft, map(wanted, curated.fragments), write_documents, execution, ASSET)
    tables = {fragment: draft.path(f"documents/{fragment}.parquet") for fragment in curated.fragments}
    sources = {fragment: source_of(fragment) for fragment in curated.fragments}
    source = pl.col("fragment").replace_strict(sources, return_dtype=pl.String).alias("source")
    return scan_tables(tables).with_columns(source)


def write_documents(curated: Path, target: Path) -> tuple[int, dict[str, Any]]:
    """Write what is known of each document of a curated table; returns its rows, and no facts. Runs in a worker."""
    frame = pl.read_parquet(curated, columns=["doc_id", "text", "lang"]).with_row_index("row")
    content = [xxhash.xxh3_64_intdigest(raw) for raw in frame["text"].cast(pl.Binary).to_list()]
    table = frame.with_columns(
        held_out(pl.col("doc_id")).alias("held_out"),
        drawn(pl.col("doc_id")).alias("drawn"),
        language(),
        pl.col("text").str.len_bytes().cast(pl.Int64).alias("bytes"),
        pl.Series("content", content, dtype=pl.UInt64),
    ).select(DOCUMENT)
    write_table(table, target)
    return table.height, {}


def rates(known: pl.LazyFrame, settings: TokenizerSettings) -> pl.DataFrame:
    """How many times a document of a source and language counts, so that the sample keeps within `sample_bytes`.

    source, lang, documents, bytes (held-back documents left out), rate.
    """
    groups = (
        known.filter(pl.col("held_out") >= settings.held_back)
        .group_by("source", "lang")
        .agg(pl.len().cast(pl.Int64).alias("documents"), pl.col("bytes").sum())
        .sort("source", "lang")
        .collect()
    )
    for name, given, there in (
        ("source_weights", settings.source_weights, groups["source"]),
        ("language_weights", settings.language_weights, groups["lang"]),
    ):
        for key in given:
            if key not in there:
                names = ", ".join(sorted(set(there)))
                raise UserError(f"`tokenizer.{name}` names `{key}`, of which there is no text; there is: {names}.")
    weight = pl.col("source").replace_strict(settings.source_weights, default=1.0, return_dtype=pl.Float64) * pl.col(
        "lang"
    ).replace_strict(settings.language_weights, default=1.0, return_dtype=pl.Float64)
    groups = groups.with_columns(weight.alias("rate"))
    wanted = float((groups["bytes"] * groups["rate"]).sum())
    if not wanted:
        raise UserError(
            "There is no text to train the tokenizer on: lower `tokenizer.held_back`, raise the weights, or add text."
        )
    return groups.with_columns(pl.col("rate") * min(1.0, settings.sample_bytes / wanted))


def training_documents(known: pl.LazyFrame, groups: pl.DataFrame, held_back: float) -> pl.DataFrame:
    """The documents that count at all, with `copies`, in the order of the tables."""
    whole = pl.col("rate").floor()
    copies = whole + (pl.col("drawn") < pl.col("rate") - whole).cast(pl.Float64)
    return (
        known.filter(pl.col("held_out") >= held_back)
        .join(groups.lazy().select("source", "lang", "rate"), on=["source", "lang"])
        .with_columns(copies.cast(pl.Int64).alias("copies"))
        .filter(pl.col("copies") > 0)
        .collect()
        .sort("fragment", "row")
    )


def documents_to_report_on(known: pl.LazyFrame) -> pl.DataFrame:
    """The documents that are drawn first, at most `REPORT_BYTES` a language."""
    before = pl.col("bytes").cum_sum().over("lang") - pl.col("bytes")
    return known.collect().sort("drawn", "content", "fragment", "row").filter(before < REPORT_BYTES)


def write_list(draft: Draft, name: str, chosen: pl.DataFrame, identity: tuple[str, ...], more: tuple[str, ...]) -> None:
    """A list of documents, and where they lie."""
    write_table(chosen.select(identity), draft.path(f"{name}.parquet"))
    write_table(chosen.select("fragment", "row", *more), draft.path(f"places/{name}.parquet"))
