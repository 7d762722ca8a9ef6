"""How sequences are made of documents: cut or best fit, with and without document masks, at equal tokens and steps.

    python -m benchmarks.packing LONG SHORT [--tokens 600000] [--seeds 3]

LONG and SHORT are Parquet files with the columns text and lang: documents much longer than a sequence, and documents
shorter than one. For each, every way trains the same network with the same seed on the same number of tokens; what is
compared is bits per byte on the held-back documents, where each document is scored alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import xxhash

from model.config import ModelConfig
from pipeline.context import RunContext
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizers
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.training.data.feed import FeedSettings
from pipeline.training.objectives import pretraining
from pipeline.training.planning.plan import Pretraining
from pipeline.training.pretraining_settings import PretrainingSettings

SHAPE = ModelConfig(layers=5, width=192, heads=6, kv_heads=2, context=256)
VOCABULARY = 4096


def quiet(line: str) -> None:
    """Nothing is said of each artifact."""


def shards_of(store: Store, text: Path) -> dict[str, Artifact]:
    def build(draft: Draft) -> None:
        frame = pl.read_parquet(text, columns=["text", "lang"]).with_columns(source=pl.lit("text"))
        ids = np.array([xxhash.xxh3_128_hexdigest(value.encode()) for value in frame["text"]])
        frame = frame.with_columns(doc_id=pl.Series(ids), source_id=pl.Series(ids)).sort("doc_id")
        draft.table("text-0", {"rows": frame.height}, lambda: frame)

    context = RunContext(store, log=quiet)
    curated = store.make("curated_documents", code_version="1", settings={}, inputs={}, build=build, log=quiet)
    inputs = {"curated_documents": curated}
    inputs["tokenizer"] = tokenizers.make(context, inputs, TokenizerSettings(kind="bpe", vocab_size=VOCABULARY))
    shards = token_shards.make(context, inputs, ShardSettings(validation=0.05))
    return {"token_shards": shards, "tokenizer": inputs["tokenizer"]}


def bits_per_byte(
    store: Store, inputs: dict[str, Artifact], feed: FeedSettings, options: argparse.Namespace, seed: int
) -> float:
    settings = PretrainingSettings(
        tokens=options.tokens, batch_tokens=4096, feed=feed, precision=options.precision, validation_tokens=8192,
        evaluate_every=10_000, sample_prompts=(), learning_rate=options.rate,
    )  # fmt: skip
    context = RunContext(store, log=quiet, device="cpu", seed=seed)
    model = pretraining.make(context, inputs, Pretraining(SHAPE, settings))
    return float(model.facts["bits_per_byte"])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("long", type=Path)
    parser.add_argument("short", type=Path)
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate; 0: the default's")
    parser.add_argument(
        "--store", type=Path, default=None, help="where artifacts go; kept, so that a run can be resumed"
    )
    return parser


def main() -> None:
    options = arguments().parse_args()
    print("| documents | packing | masks | bits per byte, mean | lowest - highest | against cut without masks |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("long", "short"):
            store = Store(options.store or temporary, name)
            inputs = shards_of(store, getattr(options, name))
            base = 0.0
            for packing, masks in product(("cut", "best_fit"), (False, True)):
                feed = FeedSettings(packing=packing, mask_documents=masks)
                found = [bits_per_byte(store, inputs, feed, options, 1 + seed) for seed in range(options.seeds)]
                mean = statistics.fmean(found)
                base = base or mean
                print(
                    f"| {name} | {packing} | {'yes' if masks else 'no'} | {mean:.4f} "
                    f"| {min(found):.4f} - {max(found):.4f} | {mean / base - 1:+.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
