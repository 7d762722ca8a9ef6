"""Which recipe learns most from the same compute: the project's defaults against nanoGPT's settings, 3 M parameters.

    python -m benchmarks.recipes_at_equal_compute ../shared/data/text [--flops 6e13] [--seeds 3] [--rates 3]

Both are trained by the project's own loop, on the same text, tokenizer, order of sequences and FLOPs; each with its
learning rate swept on the first seed, and the best rate then run with all seeds. The unit is bits per byte of
documents kept out by their hash. nanoGPT's recipe is what its README and train.py state: GPT-2's network (LayerNorm,
GELU, learned positions, no biases, tied embeddings), AdamW (0.9, 0.95), weight decay 0.1 on matrices, clipping at 1,
linear warm-up, cosine to a tenth. Its batch and warm-up are scaled to the small budget as ours are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import xxhash

from model.config import ModelConfig
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.training.training_settings import PretrainingSettings

CONTEXT, VOCABULARY = 256, 4096


@dataclass(frozen=True)
class Recipe:
    name: str
    model: ModelConfig
    settings: PretrainingSettings
    rates: tuple[float, ...]

    def at(self, precision: str) -> Recipe:
        return replace(self, settings=self.settings.model_copy(update={"precision": precision}))


OURS = ModelConfig(layers=6, width=192, heads=6, kv_heads=2, context=CONTEXT)
GPT = ModelConfig(
    layers=5, width=192, heads=6, context=CONTEXT, norm="layer", positions="learned", activation="gelu", bias=False
)
DEFAULT = PretrainingSettings(precision="fp32", compile="off", batch_tokens=8192, sequences=16)
RATES = (4e-3, 8e-3, 1.6e-2)


def changed(**settings: object) -> PretrainingSettings:
    return DEFAULT.model_copy(update=settings)


TO_A_TENTH = {"schedule": "cosine", "final_learning_rate": 0.1, "warmup": 0.05}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("default", OURS, DEFAULT, RATES),
        Recipe("nanoGPT", GPT, changed(optimiser="adamw", **TO_A_TENTH), (5e-4, 1e-3, 2e-3)),
        # What each difference gives:
        Recipe("default, adamw", OURS, changed(optimiser="adamw"), RATES),
        Recipe("default, cosine to a tenth", OURS, changed(**TO_A_TENTH), RATES),
        Recipe("default, half the batch", OURS, changed(batch_tokens=4096), RATES),
        Recipe("nanoGPT with muon", GPT, changed(**TO_A_TENTH), RATES),
    )
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path, help="folder of Parquet files with the columns text, source, lang")
    parser.add_argument("--flops", type=float, default=6e13)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=int, default=3, help="learning rates to try, from the middle of each list")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--precision", default="fp32", help="of both; bf16 is faster on a CPU with AMX")
    parser.add_argument("--store", type=Path, default=None, help="where artifacts go; kept, so that a run can go on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(options.store or Path(temporary), "recipes")
        tokenizer, shards = prepared(store, options.text)
        results = {}
        for name in options.recipes:
            recipe = RECIPES[name].at(options.precision)
            rates = recipe.rates if options.rates > 1 else (recipe.rates[len(recipe.rates) // 2],)
            first = {rate: run(store, tokenizer, shards, recipe, rate, options.flops, 1) for rate in rates}
            best = min(first, key=lambda rate: first[rate])
            bits = [
                first[best],
                *(run(store, tokenizer, shards, recipe, best, options.flops, 1 + s) for s in range(1, options.seeds)),
            ]
            results[name] = {
                "swept": {str(rate): round(value, 4) for rate, value in first.items()},
                "rate": best,
                "bits": bits,
            }
            print(json.dumps({name: results[name]}), flush=True)
        base = statistics.fmean(results["nanoGPT"]["bits"]) if "nanoGPT" in results else None
        print(
            "| recipe | learning rate | bits per byte, mean | lowest - highest | against nanoGPT |\n"
            "| --- | --- | --- | --- | --- |"
        )
        for name, found in results.items():
            mean = statistics.fmean(found["bits"])
            ratio = f"{mean / base - 1:+.1%}" if base else ""
            print(
                f"| {name} | {found['rate']} | {mean:.4f} | {min(found['bits']):.4f} - {max(found['bits']):.4f} |"
                f" {ratio} |"
            )
    return 0


def run(
    store: Store, tokenizer: Artifact, shards: Artifact, recipe: Recipe, rate: float, flops: float, seed: int
) -> float:
    """Bits per byte on validation text after training for `flops`."""
    from pipeline.training.objectives import pretraining
    from pipeline.training.planning import budget

    sized = budget.size(recipe.model.model_copy(update={"vocab_size": VOCABULARY}))
    settings = recipe.settings.model_copy(update={"tokens": int(flops / sized.flops_per_token), "learning_rate": rate})
    artifact = pretraining.make(store, shards, tokenizer, recipe.model, settings, seed, "cpu", log=lambda line: None)
    print(
        f"{recipe.name}: rate {rate}, seed {seed}, {sized.parameters / 1e6:.2f} M parameters,"
        f" {artifact.facts['tokens'] / 1e6:.2f} M tokens:"
        f" {artifact.facts['bits_per_byte']:.4f} bits per byte",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    return float(artifact.facts["bits_per_byte"])


def prepared(store: Store, text: Path) -> tuple[Artifact, Artifact]:
    """A tokenizer and token shards of the raw text, without curation."""
    from pipeline.documents.execution import ExecutionSettings
    from pipeline.tokens import shards as token_shards
    from pipeline.tokens import training as tokenizers
    from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings

    def build(draft: Draft) -> None:
        for path in sorted(text.glob("*.parquet")):
            frame = pl.read_parquet(path, columns=["text", "lang"]).with_columns(source=pl.lit(path.stem.split("-")[0]))
            ids = np.array([xxhash.xxh3_128_hexdigest(value.encode()) for value in frame["text"]])
            frame = frame.with_columns(doc_id=pl.Series(ids), source_id=pl.Series(ids)).sort("doc_id")
            draft.table(f"{path.stem.split('-')[0]}-{path.stem[-1]}", {"rows": frame.height}, lambda frame=frame: frame)

    nothing = lambda line: None  # noqa: E731
    curated = store.make("curated_documents", code_version="1", settings={}, inputs={}, build=build, log=nothing)
    settings = TokenizerSettings(vocab_size=VOCABULARY)
    execution = ExecutionSettings(executor="in_process")
    tokenizer = tokenizers.make(store, curated, settings, log=nothing)
    return tokenizer, token_shards.make(store, curated, tokenizer, ShardSettings(), execution, log=nothing)


if __name__ == "__main__":
    sys.exit(main())
