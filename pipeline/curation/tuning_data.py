"""`curated_instructions`: the conversations to train on, after stages that text goes through, too.

A conversation is a document to a stage: its turns behind one another. So nothing is written twice: the stages are those
of the recipe's curation, with its settings, run over the conversations in a store of their own, which is deleted
afterwards. What a stage removes is removed and counted under its reason; what `personal_data` replaces is replaced in
the turn where it stands; a conversation in which `contamination` would cut anything goes as a whole, since half an
answer teaches nothing. Conversations that are held back stay as they are.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from pipeline.context import Inputs, RunContext
from pipeline.curation import contamination
from pipeline.curation.curated import apply_edits
from pipeline.curation.duplicates import near
from pipeline.curation.filters import language
from pipeline.curation.personal_data import personal_data
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.stage import Stage
from pipeline.errors import UserError
from pipeline.ingest.cache import cache_of
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table

VERSION = "1"
ASSET = "curated_instructions"
STAGES: tuple[Stage, ...] = (language.STAGE, near.STAGE, personal_data.STAGE, contamination.STAGE)
BETWEEN = "\n\n"  # turns, in the document of a conversation


@dataclass(frozen=True)
class Chosen:
    """The stages to run, in order, each with its settings."""

    stages: tuple[tuple[Stage, StageSettings], ...]

    @staticmethod
    def of(blocks: Sequence[str], settings: dict[str, StageSettings]) -> Chosen:
        """The stages of these blocks of `curation`, with the settings there; they run although text may skip them."""
        found = []
        for stage in STAGES:
            if stage.block in blocks:
                # The held-back conversations are kept apart by their first question already.
                further = {"held_back": False} if stage.block == contamination.STAGE.block else {}
                found.append((stage, settings[stage.block].model_copy(update={"enabled": True, **further})))
        return Chosen(tuple(found))


def make(context: RunContext, inputs: Inputs, settings: Chosen) -> Artifact:
    """The artifact `curated_instructions`: train.parquet and held_back.parquet, as `instruction_data` has them.

    inputs: instruction_data. Raises UserError if no conversation is left to train on.
    """
    data = inputs["instruction_data"]
    identity = {stage.block: {"version": stage.version, **recorded(own)} for stage, own in settings.stages}
    items: dict[str, Artifact | str] = {}
    for stage, own in settings.stages:
        if stage.block == contamination.STAGE.block and isinstance(own, contamination.Settings):
            cache = cache_of(context.store)
            items = {f"items {one.name}": one.digest(one.contents(cache, context.log)) for one in own.sets}

    def build(draft: Draft) -> None:
        train = pl.read_parquet(data.table("train"))
        documents = documents_of(train)
        with tempfile.TemporaryDirectory(prefix="slm-instructions-") as folder:
            decided = run(context, documents, settings, Path(folder))
        left, reasons, edited = applied(train, decided)
        if not left.height:
            raise UserError(
                f"No conversation is left for {ASSET}: {told(reasons)}; loosen the stages of `curation`, or name fewer"
                " under `instructions.stages`."
            )
        write_table(left, draft.path("train.parquet"))
        held_back = pl.read_parquet(data.table("held_back"))
        write_table(held_back, draft.path("held_back.parquet"))
        draft.counts = {
            "in": train.height + held_back.height, "kept": left.height + held_back.height, "removed": reasons,
            "edited": edited, "train": left.height, "held_back": held_back.height,
        }  # fmt: skip
        draft.facts = {"sources": data.facts["sources"]}
        context.log(f"{ASSET}: {train.height:,} conversations to train on, removed: {told(reasons)}; {edited:,} edited")

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings=identity,
        inputs={"instruction_data": data, **items},
        build=build,
        log=context.log,
    )


def recorded(settings: StageSettings) -> dict[str, Any]:
    """The settings of a stage; of evaluation sets their names, since the inputs have their contents."""
    found = settings.model_dump(mode="json")
    if "sets" in found:
        found["sets"] = [one["name"] for one in found["sets"]]
    return found


def told(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none"


def documents_of(conversations: pl.DataFrame) -> pl.DataFrame:
    """One document for each conversation (id, messages, source, lang): its turns, in the columns of documents."""
    texts = [BETWEEN.join(turn["content"] for turn in talk) for talk in conversations["messages"].to_list()]
    ids = pl.Series([xxhash.xxh3_128_hexdigest(text.encode()) for text in texts], dtype=pl.String)
    frame = conversations.select("source", "lang", source_id="id").with_columns(doc_id=ids, text=pl.Series(texts))
    missing = [pl.lit(None).alias(name) for name in DOCUMENT_SCHEMA if name not in frame.columns]
    frame = frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in DOCUMENT_SCHEMA.items())
    return frame.sort("doc_id", "source_id")


def run(context: RunContext, documents: pl.DataFrame, settings: Chosen, folder: Path) -> pl.DataFrame:
    """What the stages decided: source_id, reason (null: kept), and edits, of all stages together."""
    store = Store(folder, context.store.recipe)
    cache = cache_of(context.store)
    cache_of(store).symlink_to(cache.resolve())  # nothing is fetched twice
    quiet = replace(context, store=store, log=lambda line: None, progress=None)

    def write(draft: Draft) -> None:
        for (source,), part in documents.group_by("source", maintain_order=True):
            draft.table(f"{source}-all", {"conversations": str(source)}, part.clone)

    raw = store.make("raw_documents", code_version="1", settings={}, inputs={}, build=write, log=lambda line: None)
    inputs: dict[str, Artifact] = {"raw_documents": raw}
    found = documents.select("source", "source_id").with_columns(
        reason=pl.lit(None, pl.String), edits=pl.lit([], pl.List(EDITS))
    )
    for stage, own in settings.stages:
        made = stage.make(quiet, inputs, own)
        inputs = {"raw_documents": raw, "previous": made}
        decided = pl.concat(
            pl.read_parquet(raw.table(name), columns=["source", "source_id"]).hstack(
                pl.read_parquet(made.table(name), columns=["keep", "reason", "edits"])
            )
            for name in raw.fragments
        )
        cut = stage.block == contamination.STAGE.block
        removed = ~pl.col("keep") | (pl.lit(cut) & (pl.col("edits").list.len() > 0))
        decided = decided.with_columns(
            now=pl.when(removed).then(pl.coalesce("reason", pl.lit("contaminated"))),
            further=pl.col("edits").cast(pl.List(EDITS)).fill_null([]),
        ).select("source", "source_id", "now", "further")
        found = found.join(decided, on=("source", "source_id"), how="left", maintain_order="left").select(
            "source", "source_id", reason=pl.coalesce("reason", "now"), edits=pl.concat_list("edits", "further")
        )
    return found


EDITS = pl.Struct({"start": pl.Int64, "end": pl.Int64, "replacement": pl.String, "label": pl.String})


def applied(train: pl.DataFrame, decided: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int], int]:
    """(the conversations that stay, edited; number removed by reason; number edited)."""
    joined = train.join(decided.rename({"source_id": "id"}), on=("source", "id"), how="left", maintain_order="left")
    reasons = Counter(joined["reason"].drop_nulls().to_list())
    left = joined.filter(pl.col("reason").is_null())
    talks, edited = left["messages"].to_list(), 0
    for number, spans in enumerate(left["edits"].to_list()):
        if spans:
            talks[number] = with_edits(talks[number], spans)
            edited += 1
    left = left.with_columns(messages=pl.Series(talks, dtype=train.schema["messages"])).select(train.columns)
    return left, dict(sorted(reasons.items())), edited


def with_edits(talk: list[dict[str, str]], spans: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A conversation with edits of its document applied to the turns in which they begin."""
    rows, at = [], 0
    for number, turn in enumerate(talk):
        end = at + len(turn["content"])
        rows += [
            {"row": number, "start": span["start"] - at, "end": min(span["end"], end) - at,
             "replacement": span["replacement"]}
            for span in spans
            if at <= span["start"] < end
        ]  # fmt: skip
        at = end + len(BETWEEN)
    if not rows:
        return talk
    texts = apply_edits(pl.Series([turn["content"] for turn in talk]), pl.DataFrame(rows)).to_list()
    return [{**turn, "content": text} for turn, text in zip(talk, texts, strict=True)]
