"""How long `slm lineage document` takes in a store of a million documents.

    python benchmarks/lineage.py DIRECTORY --documents 1000000

The store is written with the project's own writers, without the work in between: raw documents of two sources in
fragments, a table of decisions for each stage, token shards of made-up tokens, and three versions of a model that has
read them once. Times are those of the whole command (process start included) and of the look-up alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.curation.curated import VERSION as CURATED
from pipeline.documents.document import DECISION_SCHEMA
from pipeline.graph import DECISIONS
from pipeline.ingest.fragments import Sorter, documents_of, fragment_bits, fragment_name
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens.encoding import list_series
from pipeline.tokens.sampling import held_out_fraction
from pipeline.tokens.shards import row_groups, write_shard

SOURCES = {"web": 0.8, "books": 0.2}
SENTENCES, AT_ONCE, TOKENS = 24, 50_000, 100  # a document: its sentences (about 2 kB); made at once; tokens of it
RECIPE = "name: lineage\nsources: [{name: web, kind: files, path: none/*.txt}]\n"
CONTEXT, BATCH = 1024, 64


def records(count: int, seed: int) -> pl.DataFrame:
    """Documents of sentences drawn from ten thousand, with a number of their own."""
    rng = np.random.default_rng([7, seed])
    words = np.array([f"word{number}" for number in range(3000)])
    pool = pl.Series([" ".join(rng.choice(words, 10)).capitalize() + "." for _ in range(10_000)])
    number = pl.Series([f"Document {seed}-{row}." for row in range(count)])
    parts = [number, *(pool.gather(rng.integers(len(pool), size=count)) for _ in range(SENTENCES))]
    frame = pl.DataFrame({str(index): part for index, part in enumerate(parts)})
    texts = frame.select(pl.concat_str(pl.all(), separator=" ").alias("text"))
    null = pl.lit(None, dtype=pl.String)
    return texts.with_columns(
        number.alias("id"), pl.lit("en").alias("lang"), null.alias("url"), pl.lit("own").alias("license"),
        null.alias("meta"),
    )  # fmt: skip


def raw(store: Store, documents: int) -> Artifact:
    def build(draft: Draft) -> None:
        for index, (source, share) in enumerate(SOURCES.items()):
            sorter = Sorter(draft.directory / ".records" / source)
            left = int(documents * share)
            seed = 1000 * index
            while left > 0:
                sorter.add(documents_of(records(min(AT_ONCE, left), seed), source))
                left -= AT_ONCE
                seed += 1
            bits = fragment_bits(sorter.text_bytes)
            for prefix, frame in sorter.fragments(bits):
                name = fragment_name(source, prefix, bits)
                draft.table(name, {"content": name}, lambda frame=frame: frame)  # type: ignore[misc]
        draft.facts = {"sources": {name: {"documents": 0} for name in SOURCES}}

    return store.make("raw_documents", code_version="1", settings={"made": documents}, inputs={}, build=build)


def by_fragment(store: Store, asset: str, of: Artifact, make: Any, inputs: dict[str, Artifact | str]) -> Artifact:
    """An artifact with a table for each of `of`: `make(frame, path)` writes it and returns its facts."""

    def build(draft: Draft) -> None:
        for fragment in of.fragments:
            frame = pl.read_parquet(of.table(fragment))
            facts = make(frame, draft.path(f"{fragment}.parquet"), fragment)
            draft.record(fragment, {"of": fragment}, rows=frame.height, facts=facts)
        draft.facts |= {"tokens_by_source": {}, "dtype": "uint16", "tokenizer": {"document_start": 3, "pad": 0}}

    return store.make(asset, code_version=CURATED, settings={}, inputs=inputs, build=build)


def decisions(frame: pl.DataFrame, path: Path, fragment: str) -> dict[str, Any]:
    decided = frame.select(
        "doc_id", pl.lit(True).alias("keep"), pl.lit(None, dtype=pl.String).alias("reason"),
        (pl.col("text").str.len_chars() / 10_000).alias("score"),
        pl.lit([], dtype=pl.List(DECISION_SCHEMA["edits"].inner)).alias("edits"),  # type: ignore[union-attr]
    )  # fmt: skip
    write_table(decided, path)
    return {}


def same(frame: pl.DataFrame, path: Path, fragment: str) -> dict[str, Any]:
    write_table(frame, path)
    return {}


def shards(frame: pl.DataFrame, path: Path, fragment: str) -> dict[str, Any]:
    rng = np.random.default_rng(frame.height)
    lengths = rng.integers(TOKENS // 2, TOKENS * 3 // 2, size=frame.height)
    tokens = list_series("tokens", rng.integers(6, 30_000, size=int(lengths.sum())), lengths, np.dtype(np.uint16))
    split = pl.when(held_out_fraction(pl.col("doc_id")) < 0.01).then(pl.lit("validation")).otherwise(pl.lit("train"))
    table = frame.select(
        "doc_id", "source", "lang", split.alias("split"), tokens,
        pl.Series("length", lengths, dtype=pl.UInt32), pl.col("text").str.len_bytes().alias("bytes"),
    ).sort("split", "lang", maintain_order=True)  # fmt: skip
    groups = list(row_groups(table, 2**20))
    write_shard(table, groups, path)
    parts = [table[start:end] for start, end in groups]
    told = [[of["split"][0], of["lang"][0], of.height, int(of["length"].sum()), int(of["bytes"].sum())] for of in parts]
    return {"source": frame["source"][0], "groups": told}


def model(store: Store, of: Artifact, seed: int) -> Artifact:
    """A model that has read the shards once, as far as its manifest goes."""
    from model.config import ModelConfig
    from pipeline.training.training_settings import PretrainingSettings

    tokens = sum(group[3] for fragment in of.fragments for group in of.entry(fragment)["facts"]["groups"])
    config = ModelConfig(context=CONTEXT).model_dump()
    settings = {"model": config, "pretraining": PretrainingSettings().model_dump(mode="json"), "seed": seed}

    def build(draft: Draft) -> None:
        draft.facts = {"batch_tokens": CONTEXT * BATCH, "steps": tokens // (CONTEXT * BATCH)}

    inputs: dict[str, Artifact | str] = {"token_shards": of}
    return store.make("pretrained_model", code_version="1", settings=settings, inputs=inputs, build=build)


def written(directory: Path, documents: int) -> Store:
    store = Store(directory / "data", "lineage")
    made: dict[str, Artifact | str] = {"raw_documents": raw(store, documents)}
    first = made["raw_documents"]
    assert isinstance(first, Artifact)
    for stage in DECISIONS:
        made[stage] = by_fragment(store, stage, first, decisions, {"raw_documents": first})
    curated = by_fragment(store, "curated_documents", first, same, dict(made))
    of = by_fragment(store, "token_shards", curated, shards, {"curated_documents": curated})
    for seed in range(3):
        model(store, of, seed)
    return store


def command(directory: Path, *arguments: str) -> tuple[float, float, str]:
    """Seconds and CPU-seconds of one `slm lineage document`, and what it says."""
    environment = {**os.environ, "SLM_DATA": str(directory / "data"), "SLM_RECIPE": str(directory / "recipe.yaml")}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    line = [sys.executable, "-m", "pipeline.cli", "lineage", "document", *arguments]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, done.stdout


def looked_up(store: Store, doc_id: str) -> float:
    """Seconds of the look-up alone, in a process that has loaded everything."""
    from pipeline.inspect import lineage

    started = time.monotonic()
    for place in lineage.places(store, doc_id):
        lineage.decisions_about(store, place)
    list(lineage.shards_with(store, doc_id))
    lineage.seen_by(store, doc_id)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    (options.directory / "recipe.yaml").write_text(RECIPE)
    store = written(options.directory, options.documents)
    first = store.require("raw_documents")
    found = pl.read_parquet(first.table(first.fragments[-1]), columns=["doc_id", "text"]).row(77, named=True)
    (options.directory / "text.txt").write_text(found["text"])
    print(f"{sum(first.entry(name)['rows'] for name in first.fragments):,} documents, {len(first.fragments)} fragments")
    looked_up(store, found["doc_id"])
    alone = min(looked_up(store, found["doc_id"]) for _ in range(3))
    print(f"{'the look-up alone':<28} {alone:6.2f} s")
    number = found["text"].partition(".")[0]
    for name, arguments in {
        "DOC_ID": (found["doc_id"],),
        "beginning of a DOC_ID": (found["doc_id"][:12],),
        "--text": ("--text", str(options.directory / "text.txt")),
        "--grep": ("--grep", number.replace(" ", "[ ]") + "[.]"),
    }.items():
        runs = [command(options.directory, *arguments) for _ in range(3)]
        seconds, cpu, said = min(runs)
        assert found["doc_id"] in said and said.count("pretrained_model/") == len(store.versions("pretrained_model"))
        print(f"{name:<28} {seconds:6.2f} s {cpu:6.2f} CPU-s, process start included")


if __name__ == "__main__":
    main()
