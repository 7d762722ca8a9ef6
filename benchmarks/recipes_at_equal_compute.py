"""Which training recipe learns most from the same compute: the defaults against nanoGPT's settings, 3 M parameters.

    python -m benchmarks.recipes_at_equal_compute DATA/text [--flops 6e13] [--seeds 3] [--rates 3] [--recipes NAME...]

All are trained by the project's own loop, with the same text, tokenizer, order of sequences and FLOPs. The learning
rate of each is swept with the first seed, and the best rate is then run with all seeds. The unit is bits per byte of
documents held back by their hash. nanoGPT's recipe is what its README and train.py state: GPT-2's network (LayerNorm,
GELU, learned positions, no biases, tied embeddings), AdamW (0.9, 0.95), weight decay of 0.1 on matrices, clipping at 1,
linear warm-up, cosine schedule to a tenth. Its batch and warm-up are scaled to the small budget, as the defaults' are.
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

from benchmarks.making import context, quiet
from model.config import ModelConfig
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizers
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.training.objectives import pretraining
from pipeline.training.planning import budget
from pipeline.training.planning.plan import Pretraining
from pipeline.training.pretraining_settings import PretrainingSettings

CONTEXT, VOCABULARY = 256, 4096


@dataclass(frozen=True)
class TrainingRecipe:
    """A network, how it is trained, and the learning rates to try."""

    name: str
    model: ModelConfig
    settings: PretrainingSettings
    rates: tuple[float, ...]

    def at(self, precision: str) -> TrainingRecipe:
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
        TrainingRecipe("default", OURS, DEFAULT, RATES),
        TrainingRecipe("nanoGPT", GPT, changed(optimiser="adamw", **TO_A_TENTH), (5e-4, 1e-3, 2e-3)),
        # What each difference gives:
        TrainingRecipe("default, adamw", OURS, changed(optimiser="adamw"), (1e-3, 2e-3, 4e-3)),
        TrainingRecipe("default, cosine to a tenth", OURS, changed(**TO_A_TENTH), RATES),
        TrainingRecipe("default, half the batch", OURS, changed(batch_tokens=4096), RATES),
        TrainingRecipe("nanoGPT with muon", GPT, changed(**TO_A_TENTH), RATES),
    )
}


def tokenizer_and_shards(store: Store, text: Path) -> dict[str, Artifact]:
    """A tokenizer and token shards of the raw text, without curation."""

    def build(draft: Draft) -> None:
        for path in sorted(text.glob("*.parquet")):
            source = path.stem.split("-")[0]
            frame = pl.read_parquet(path, columns=["text", "lang"]).with_columns(source=pl.lit(source))
            ids = np.array([xxhash.xxh3_128_hexdigest(value.encode()) for value in frame["text"]])
            frame = frame.with_columns(doc_id=pl.Series(ids), source_id=pl.Series(ids)).sort("doc_id")
            draft.table(f"{source}-{path.stem[-1]}", {"rows": frame.height}, lambda frame=frame: frame)  # type: ignore[misc]

    curated = store.make("curated_documents", code_version="1", settings={}, inputs={}, build=build, log=quiet)
    inputs = {"curated_documents": curated}
    inputs["tokenizer"] = tokenizers.make(context(store), inputs, TokenizerSettings(vocab_size=VOCABULARY))
    return {
        "tokenizer": inputs["tokenizer"],
        "token_shards": token_shards.make(context(store), inputs, ShardSettings()),
    }


@dataclass(frozen=True)
class Trainings:
    """Trainings on the same tokens with the same compute."""

    store: Store
    inputs: dict[str, Artifact]  # tokenizer, token_shards
    flops: float

    def bits(self, recipe: TrainingRecipe, rate: float, seed: int) -> float:
        """Bits per byte on validation text after one training."""
        sized = budget.size(recipe.model.model_copy(update={"vocab_size": VOCABULARY}))
        changes = {"tokens": int(self.flops / sized.flops_per_token), "learning_rate": rate}
        settings = Pretraining(recipe.model, recipe.settings.model_copy(update=changes))
        artifact = pretraining.make(context(self.store, seed=seed), self.inputs, settings)
        found = float(artifact.facts["bits_per_byte"])
        print(
            f"{recipe.name}: rate {rate}, seed {seed}, {sized.parameters / 1e6:.2f} M parameters,"
            f" {artifact.facts['tokens'] / 1e6:.2f} M tokens: {found:.4f} bits per byte",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        return found

    def swept(self, recipe: TrainingRecipe, seeds: int, sweep: bool) -> Swept:
        """The best learning rate on the first seed (or the middle one), and what it gives with all seeds."""
        rates = recipe.rates if sweep else (recipe.rates[len(recipe.rates) // 2],)
        first = {rate: self.bits(recipe, rate, seed=1) for rate in rates}
        best = min(first, key=lambda rate: first[rate])
        return Swept(first, best, [first[best], *(self.bits(recipe, best, seed) for seed in range(2, seeds + 1))])


@dataclass(frozen=True)
class Swept:
    """Bits per byte of one recipe."""

    first: dict[float, float]  # by learning rate, with the first seed
    rate: float  # the best of them
    bits: list[float]  # with all seeds

    def row(self, name: str, base: float | None) -> str:
        mean = statistics.fmean(self.bits)
        ratio = f"{mean / base - 1:+.1%}" if base else ""
        return f"| {name} | {self.rate} | {mean:.4f} | {min(self.bits):.4f} - {max(self.bits):.4f} | {ratio} |"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder of Parquet files with the columns text, lang")
    parser.add_argument("--flops", type=float, default=6e13)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=int, default=3, help="learning rates to try; 1: the middle one, else all three")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--precision", default="fp32", help="of both; bf16 is faster on a CPU with AMX")
    parser.add_argument("--store", type=Path, default=None, help="where artifacts go; kept, so that a run can go on")
    return parser


def main() -> None:
    given = arguments().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(given.store or Path(temporary), "recipes")
        trainings = Trainings(store, tokenizer_and_shards(store, given.text), given.flops)
        results: dict[str, Swept] = {}
        for name in given.recipes:
            found = trainings.swept(RECIPES[name].at(given.precision), given.seeds, sweep=given.rates > 1)
            results[name] = found
            swept = {str(rate): round(value, 4) for rate, value in found.first.items()}
            print(json.dumps({name: {"swept": swept, "rate": found.rate, "bits": found.bits}}), flush=True)
    base = statistics.fmean(results["nanoGPT"].bits) if "nanoGPT" in results else None
    print("| recipe | learning rate | bits per byte, mean | lowest - highest | against nanoGPT |")
    print("| --- | --- | --- | --- | --- |")
    for name, found in results.items():
        print(found.row(name, base))


if __name__ == "__main__":
    main()
