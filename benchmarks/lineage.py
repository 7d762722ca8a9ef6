"""How long `slm lineage document` takes in a store of a million documents.

    python -m benchmarks.lineage DIRECTORY --documents 1000000

The store is written with the project's own writers, without the work in between: raw documents of two sources, a
decision table for each stage, token shards of generated tokens, and three versions of a model that has read them once.
Two times are measured: the whole command, including the start of its process, and the look-up alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.making import write_tokens
from benchmarks.measuring import cpu_of_children, output_of
from pipeline.curation.curated import VERSION as CURATED
from pipeline.curation.stages import Curation, decision_assets
from pipeline.documents.document import DECISION_SCHEMA
from pipeline.ingest.fragments import Sorter, documents_of, fragment_bits, fragment_name
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens.encoding import list_series
from pipeline.tokens.sampling import held_out_fraction

SOURCES = {"web": 0.8, "books": 0.2}
SENTENCES, AT_ONCE, TOKENS = 24, 50_000, 100  # a document: its sentences (about 2 kB); made at once; tokens of it
MODELS = 3
RECIPE_NAME = "lineage"
RECIPE = f"name: {RECIPE_NAME}\nsources: [{{name: web, kind: files, path: none/*.txt}}]\n"
CONTEXT, BATCH = 1024, 64
STAGES = decision_assets(Curation())


def records(count: int, seed: int) -> pl.DataFrame:
    """Documents of sentences drawn from ten thousand, with a number of their own."""
    draw = np.random.default_rng([7, seed])
    words = np.array([f"word{number}" for number in range(3000)])
    pool = pl.Series([" ".join(draw.choice(words, 10)).capitalize() + "." for _ in range(10_000)])
    number = pl.Series([f"Document {seed}-{row}." for row in range(count)])
    parts = [number, *(pool.gather(draw.integers(len(pool), size=count)) for _ in range(SENTENCES))]
    frame = pl.DataFrame({str(index): part for index, part in enumerate(parts)})
    texts = frame.select(pl.concat_str(pl.all(), separator=" ").alias("text"))
    null = pl.lit(None, dtype=pl.String)
    return texts.with_columns(
        number.alias("id"), pl.lit("en").alias("lang"), null.alias("url"), pl.lit("own").alias("license"),
        null.alias("meta"),
    )  # fmt: skip


def raw_documents(store: Store, documents: int) -> Artifact:
    def build(draft: Draft) -> None:
        for index, (source, share) in enumerate(SOURCES.items()):
            sorter = Sorter(draft.directory / ".records" / source)
            count = int(documents * share)
            for seed, first in enumerate(range(0, count, AT_ONCE), 1000 * index):
                sorter.add(documents_of(records(min(AT_ONCE, count - first), seed), source))
            bits = fragment_bits(sorter.text_bytes)
            for prefix, frame in sorter.fragments(bits):
                name = fragment_name(source, prefix, bits)
                draft.table(name, {"made": documents}, lambda frame=frame: frame)  # type: ignore[misc]
        draft.facts = {"sources": {name: {"documents": 0} for name in SOURCES}}

    return store.make("raw_documents", code_version="1", settings={"made": documents}, inputs={}, build=build)


def by_fragment(
    store: Store, asset: str, of: Artifact, table: Callable[[pl.DataFrame], pl.DataFrame], inputs: dict[str, Artifact]
) -> Artifact:
    """An artifact with a table for each fragment of `of`: what `table` makes of it."""

    def build(draft: Draft) -> None:
        for fragment in of.fragments:
            frame = pl.read_parquet(of.table(fragment))
            draft.table(fragment, {"of": of.entry(fragment)["sha256"]}, lambda frame=frame: table(frame))  # type: ignore[misc]

    return store.make(asset, code_version=CURATED, settings={}, inputs={**inputs}, build=build)


def decisions(frame: pl.DataFrame) -> pl.DataFrame:
    """Every document stays, with a score and no edits."""
    return frame.select(
        "doc_id", pl.lit(True).alias("keep"), pl.lit(None, dtype=pl.String).alias("reason"),
        (pl.col("text").str.len_chars() / 10_000).alias("score"),
        pl.lit([], dtype=pl.List(DECISION_SCHEMA["edits"].inner)).alias("edits"),  # type: ignore[union-attr]
    )  # fmt: skip


def shards(store: Store, curated: Artifact) -> Artifact:
    """Token shards of made-up tokens, TOKENS a document on average."""

    def build(draft: Draft) -> None:
        for fragment in curated.fragments:
            table = with_tokens(pl.read_parquet(curated.table(fragment)))
            facts = write_tokens(table, draft.path(f"{fragment}.parquet"))
            draft.record(fragment, {"of": curated.entry(fragment)["sha256"]}, rows=table.height, facts=facts)
        draft.facts |= {"tokens_by_source": {}, "dtype": "uint16", "tokenizer": {"document_start": 3, "pad": 0}}

    return store.make(
        "token_shards", code_version="1", settings={}, inputs={"curated_documents": curated}, build=build
    )  # fmt: skip


def with_tokens(documents: pl.DataFrame) -> pl.DataFrame:
    draw = np.random.default_rng(documents.height)
    lengths = draw.integers(TOKENS // 2, TOKENS * 3 // 2, size=documents.height)
    tokens = list_series("tokens", draw.integers(6, 30_000, size=int(lengths.sum())), lengths, np.dtype(np.uint16))
    split = pl.when(held_out_fraction(pl.col("doc_id")) < 0.01).then(pl.lit("validation")).otherwise(pl.lit("train"))
    return documents.select(
        "doc_id", "source", "lang", split.alias("split"), tokens,
        pl.Series("length", lengths, dtype=pl.UInt32), pl.col("text").str.len_bytes().alias("bytes"),
    ).sort("split", "lang", maintain_order=True)  # fmt: skip


def model(store: Store, of: Artifact, seed: int) -> Artifact:
    """A model that has read the shards once, as far as its manifest goes."""
    from model.config import ModelConfig
    from pipeline.training.model_facts import ModelFacts
    from pipeline.training.training_settings import PretrainingSettings

    tokens = sum(group[3] for fragment in of.fragments for group in of.entry(fragment)["facts"]["groups"])
    config = ModelConfig(context=CONTEXT).model_dump()
    settings = {"model": config, "pretraining": PretrainingSettings().model_dump(mode="json"), "seed": seed}

    def build(draft: Draft) -> None:
        batch = CONTEXT * BATCH
        facts = ModelFacts(0, tokens // batch, tokens, batch, learning_rate=0, epochs=1)
        draft.facts = facts.for_manifest()

    inputs: dict[str, Artifact | str] = {"token_shards": of}
    return store.make("pretrained_model", code_version="1", settings=settings, inputs=inputs, build=build)


def write_store(directory: Path, documents: int) -> Store:
    """The whole store."""
    store = Store(directory / "data", RECIPE_NAME)
    raw = raw_documents(store, documents)
    made = {"raw_documents": raw}
    for stage in STAGES:
        made[stage] = by_fragment(store, stage, raw, decisions, {"raw_documents": raw})
    curated = by_fragment(store, "curated_documents", raw, lambda frame: frame, made)
    of = shards(store, curated)
    for seed in range(MODELS):
        model(store, of, seed)
    return store


def command(directory: Path, *arguments: str) -> tuple[float, float, str]:
    """Seconds and CPU seconds of one `slm lineage document`, and what it says."""
    environment = {"SLM_DATA": str(directory / "data"), "SLM_RECIPE": str(directory / "recipe.yaml")}
    cpu, started = cpu_of_children(), time.monotonic()
    said = output_of([sys.executable, "-m", "pipeline.cli", "lineage", "document", *arguments], environment)
    return time.monotonic() - started, cpu_of_children() - cpu, said


def looked_up(store: Store, doc_id: str) -> float:
    """Seconds of the look-up alone, in a process that has loaded everything."""
    from pipeline.inspect import lineage

    started = time.monotonic()
    for place in lineage.places(store, doc_id):
        lineage.decisions_about(store, place, STAGES)
    list(lineage.shards_with(store, doc_id))
    lineage.seen_by(store, doc_id)
    return time.monotonic() - started


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    return parser


def main() -> None:
    given = arguments().parse_args()
    directory = given.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "recipe.yaml").write_text(RECIPE)
    store = write_store(directory, given.documents)
    first = store.require("raw_documents")
    found = pl.read_parquet(first.table(first.fragments[-1]), columns=["doc_id", "text"]).row(77, named=True)
    (directory / "text.txt").write_text(found["text"])
    print(f"{sum(first.entry(name)['rows'] for name in first.fragments):,} documents, {len(first.fragments)} fragments")
    looked_up(store, found["doc_id"])
    alone = min(looked_up(store, found["doc_id"]) for _ in range(3))
    print(f"{'the look-up alone':<28} {alone:6.2f} s")
    number = found["text"].partition(".")[0]
    ways = {
        "DOC_ID": (found["doc_id"],),
        "beginning of a DOC_ID": (found["doc_id"][:12],),
        "--text": ("--text", str(directory / "text.txt")),
        "--grep": ("--grep", number.replace(" ", "[ ]") + "[.]"),
    }
    for name, words in ways.items():
        seconds, cpu, said = min(command(directory, *words) for _ in range(3))
        assert found["doc_id"] in said and said.count("pretrained_model/") == MODELS
        print(f"{name:<28} {seconds:6.2f} s {cpu:6.2f} CPU-s, process start included")


if __name__ == "__main__":
    main()
