"""How long `slm lineage` and `slm trace` take in a store of a million documents.

    python -m benchmarks.lineage DIRECTORY --documents 1000000 --sentences 2

The store is written with the project's own writers, without the curation and training in between: raw documents of two
sources, a decision table for each stage, a tokenizer, token shards, three versions of a model that has read them once
(as far as its manifest goes), and the index of `slm trace`. Two times are measured, each in wall time and in CPU time:
the answer alone, in a process that has loaded everything, and the whole command with the start of its process. A store
that was written before is used again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.making import context, write_tokens
from benchmarks.measuring import cpu_of_children, output_of
from pipeline.curation.curated import VERSION as CURATED
from pipeline.curation.stages import Curation, decision_assets
from pipeline.documents.document import DECISION_SCHEMA, source_of
from pipeline.ingest.fragments import Sorter, documents_of, fragment_bits, fragment_name
from pipeline.inspect import lineage
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import training
from pipeline.tokens.encoding import list_series
from pipeline.tokens.sampling import held_out_fraction
from pipeline.tokens.token_settings import TokenizerSettings
from pipeline.tokens.tokenizer import Tokenizer, load
from pipeline.tokens.training import copy_files
from pipeline.trace import index as trace_index
from pipeline.trace.trace_settings import TraceSettings
from pipeline.trace.tracer import Tracer

SOURCES = {"web": 0.8, "books": 0.2}
SENTENCES, AT_ONCE = 24, 50_000  # of a document (about 2 kB); documents made at once
VOCABULARY = 4096
MODELS = 3
REPEATED = 3  # of the times of each question the best counts
RECIPE_NAME = "lineage"
RECIPE = f"name: {RECIPE_NAME}\nsources: [{{name: web, kind: files, path: none/*.txt}}]\n"
CONTEXT, BATCH = 1024, 64
STAGES = decision_assets(Curation())


def records(count: int, seed: int, sentences: int) -> pl.DataFrame:
    """Documents of sentences drawn from ten thousand, with a number of their own."""
    draw = np.random.default_rng(7)  # the same words and sentences for all
    syllables = np.array([first + second for first in "bdfgklmnprstvz" for second in "aeiou"])
    words = np.array(["".join(draw.choice(syllables, 2 + number % 3)) for number in range(3000)])
    pool = pl.Series([" ".join(draw.choice(words, 10)).capitalize() + "." for _ in range(10_000)])
    number = pl.Series([f"Document {seed}-{row}." for row in range(count)])
    draw = np.random.default_rng([7, seed])
    parts = [number, *(pool.gather(draw.integers(len(pool), size=count)) for _ in range(sentences))]
    frame = pl.DataFrame({str(index): part for index, part in enumerate(parts)})
    texts = frame.select(pl.concat_str(pl.all(), separator=" ").alias("text"))
    null = pl.lit(None, dtype=pl.String)
    return texts.with_columns(
        number.alias("id"), pl.lit("en").alias("lang"), null.alias("url"), pl.lit("own").alias("license"),
        null.alias("meta"),
    )  # fmt: skip


def raw_documents(store: Store, documents: int, sentences: int) -> Artifact:
    made = {"made": documents, "sentences": sentences}

    def build(draft: Draft) -> None:
        for index, (source, share) in enumerate(SOURCES.items()):
            sorter = Sorter(draft.directory / ".records" / source)
            count = int(documents * share)
            for seed, first in enumerate(range(0, count, AT_ONCE), 1000 * index):
                sorter.add(documents_of(records(min(AT_ONCE, count - first), seed, sentences), source))
            bits = fragment_bits(sorter.text_bytes)
            for prefix, frame in sorter.fragments(bits):
                name = fragment_name(source, prefix, bits)
                draft.table(name, made, lambda frame=frame: frame)  # type: ignore[misc]
        draft.facts = {
            "sources": {
                name: {"documents": int(documents * share), "licenses": {"own": int(documents * share)}}
                for name, share in SOURCES.items()
            }
        }

    return store.make("raw_documents", code_version="1", settings=made, inputs={}, build=build)


def by_fragment(
    store: Store, asset: str, of: Artifact, table: Callable[[pl.DataFrame], pl.DataFrame], inputs: dict[str, Artifact]
) -> Artifact:
    """An artifact with a table for each fragment of `of`: what `table` makes of it."""

    def build(draft: Draft) -> None:
        for fragment in of.fragments:
            frame = pl.read_parquet(of.table(fragment))
            draft.table(fragment, {"of": of.entry(fragment)["sha256"]}, lambda frame=frame: table(frame))  # type: ignore[misc]
        if asset == "curated_documents":
            of_sources = {name: facts["documents"] for name, facts in of.facts["sources"].items()}
            draft.counts["by_source"] = {name: {"kept": count} for name, count in of_sources.items()}

    return store.make(asset, code_version=CURATED, settings={}, inputs={**inputs}, build=build)


def decisions(frame: pl.DataFrame) -> pl.DataFrame:
    """Every document stays, with a score and no edits."""
    return frame.select(
        "doc_id", pl.lit(True).alias("keep"), pl.lit(None, dtype=pl.String).alias("reason"),
        (pl.col("text").str.len_chars() / 10_000).alias("score"),
        pl.lit([], dtype=pl.List(DECISION_SCHEMA["edits"].inner)).alias("edits"),  # type: ignore[union-attr]
    )  # fmt: skip


def shards(store: Store, curated: Artifact, tokenizer: Artifact) -> Artifact:
    """Token shards, in one process and without the checks that the asset makes of them."""
    opened = load(tokenizer.local_directory())

    def build(draft: Draft) -> None:
        by_source = dict.fromkeys(SOURCES, 0)
        for fragment in curated.fragments:
            table = with_tokens(pl.read_parquet(curated.table(fragment)), opened)
            facts = write_tokens(table, draft.path(f"{fragment}.parquet"))
            draft.record(fragment, {"of": curated.entry(fragment)["sha256"]}, rows=table.height, facts=facts)
            by_source[source_of(fragment)] += sum(group[3] for group in facts["groups"])
        about = {"document_start": opened.document_start, "pad": 0}
        draft.facts |= {"tokens_by_source": by_source, "dtype": "uint16", "tokenizer": about}

    given: dict[str, Artifact | str] = {"curated_documents": curated, "tokenizer": tokenizer}
    return store.make("token_shards", code_version="1", settings={}, inputs=given, build=build)


def with_tokens(documents: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    ids, lengths = tokenizer.encode_joined(documents["text"])
    tokens = list_series("tokens", ids, lengths, np.dtype(np.uint16))
    split = pl.when(held_out_fraction(pl.col("doc_id")) < 0.01).then(pl.lit("validation")).otherwise(pl.lit("train"))
    return documents.select(
        "doc_id", "source", "lang", split.alias("split"), tokens,
        pl.Series("length", lengths, dtype=pl.UInt32), pl.col("text").str.len_bytes().alias("bytes"),
    ).sort("split", "lang", maintain_order=True)  # fmt: skip


def model(store: Store, of: Artifact, tokenizer: Artifact, seed: int) -> Artifact:
    """A model that has read the shards once, as far as its manifest goes, with its tokenizer."""
    from model.config import ModelConfig
    from pipeline.training.model_facts import ModelFacts
    from pipeline.training.pretraining_settings import PretrainingSettings

    tokens = sum(group[3] for fragment in of.fragments for group in of.entry(fragment)["facts"]["groups"])
    config = ModelConfig(context=CONTEXT).model_dump()
    settings = {"model": config, "pretraining": PretrainingSettings().model_dump(mode="json"), "seed": seed}

    def build(draft: Draft) -> None:
        batch = CONTEXT * BATCH
        facts = ModelFacts(0, tokens // batch, tokens, batch, learning_rate=0, epochs=1)
        draft.facts = facts.for_manifest()
        copy_files(tokenizer, draft.directory)

    inputs: dict[str, Artifact | str] = {"token_shards": of, "tokenizer": tokenizer}
    return store.make("pretrained_model", code_version="1", settings=settings, inputs=inputs, build=build)


def write_store(directory: Path, documents: int, sentences: int) -> Store:
    """The whole store."""
    store = Store(directory / "data", RECIPE_NAME)
    raw = raw_documents(store, documents, sentences)
    made = {"raw_documents": raw}
    for stage in STAGES:
        made[stage] = by_fragment(store, stage, raw, decisions, {"raw_documents": raw})
    curated = by_fragment(store, "curated_documents", raw, lambda frame: frame, made)
    run = context(store)
    settings = TokenizerSettings(vocab_size=VOCABULARY, sample_bytes=2_000_000)
    tokenizer = training.make(run, {"curated_documents": curated}, settings)
    of = shards(store, curated, tokenizer)
    for seed in range(MODELS):
        model(store, of, tokenizer, seed)
    trace_index.make(run, {"tokenizer": tokenizer, "token_shards": of}, TraceSettings())
    return store


def answers(store: Store, found: dict[str, str], pattern: str) -> dict[str, Callable[[], Any]]:
    """What is asked in a process that has loaded everything, by its name."""
    given = lineage.find_model(store, "pretrained_model")

    def document(doc_id: str) -> None:
        for place in lineage.places(store, doc_id):
            lineage.decisions_about(store, place, STAGES)
        list(lineage.shards_with(store, doc_id))
        assert len(lineage.seen_by(store, doc_id)) == MODELS

    def grep() -> None:
        (doc_id,) = lineage.grep(store, pattern)["doc_id"].to_list()
        document(doc_id)

    def traced() -> Any:
        told = Tracer.open(store, given)(found["text"])
        assert found["doc_id"] in {one["doc_id"] for passage in told["passages"] for one in passage["documents"]}

    opened = Tracer.open(store, given)
    return {
        "lineage document DOC_ID": lambda: document(found["doc_id"]),
        "lineage document --grep": grep,
        "lineage model": lambda: lineage.sources_of(lineage.ancestry(store, given)),
        "trace, index opened each time": traced,
        "trace, index opened before": lambda: opened(found["text"]),
    }


def times(action: Callable[[], Any]) -> tuple[float, float]:
    """Seconds and CPU seconds of an action."""
    started, cpu = time.monotonic(), time.process_time() + cpu_of_children()
    action()
    return time.monotonic() - started, time.process_time() + cpu_of_children() - cpu


def best(action: Callable[[], Any]) -> str:
    first, *again = [times(action) for _ in range(REPEATED)]
    wall, cpu = (min(one[part] for one in (first, *again)) for part in (0, 1))
    return f"{wall:7.3f} s {cpu:7.3f} CPU-s; the first time {first[0]:7.3f} s {first[1]:7.3f} CPU-s"


def command(directory: Path, expected: str, *words: str) -> None:
    """Run one `slm` command in a process of its own."""
    environment = {"SLM_DATA": str(directory / "data"), "SLM_RECIPE": str(directory / "recipe.yaml")}
    said = output_of([sys.executable, "-m", "pipeline.cli", *words], environment)
    assert expected in said


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--sentences", type=int, default=SENTENCES, help="of a document, about 85 bytes each")
    return parser


def main() -> None:
    given = arguments().parse_args()
    directory = given.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "recipe.yaml").write_text(RECIPE)
    store = write_store(directory, given.documents, given.sentences)
    raw, made = store.require("raw_documents"), store.require("trace_index")
    found = pl.read_parquet(raw.table(raw.fragments[-1]), columns=["doc_id", "text"]).row(77, named=True)
    (directory / "text.txt").write_text(found["text"])
    documents = sum(raw.entry(name)["rows"] for name in raw.fragments)
    print(f"{documents:,} documents, {len(raw.fragments)} fragments, {made.counts['tokens']:,} tokens in the index")
    pattern = found["text"].partition(".")[0].replace(" ", "[ ]") + "[.]"
    print("The answer alone, everything loaded:")
    for name, action in answers(store, found, pattern).items():
        print(f"    {name:<32} {best(action)}", flush=True)
    text = str(directory / "text.txt")
    ways = {
        "slm --help": ("lineage", "--help"),
        "lineage document DOC_ID": (found["doc_id"], "lineage", "document", found["doc_id"]),
        "lineage document, its beginning": (found["doc_id"], "lineage", "document", found["doc_id"][:12]),
        "lineage document --text": (found["doc_id"], "lineage", "document", "--text", text),
        "lineage document --grep": (found["doc_id"], "lineage", "document", "--grep", pattern),
        "lineage model": ("raw_documents", "lineage", "model"),
        "trace --file": (found["doc_id"], "trace", "pretrained_model", "--file", text),
    }
    print("The whole command, with the start of its process:")
    for name, (expected, *words) in ways.items():
        print(f"    {name:<32} {best(lambda: command(directory, expected, *words))}", flush=True)  # noqa: B023


if __name__ == "__main__":
    main()
