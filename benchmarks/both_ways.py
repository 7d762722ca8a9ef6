"""What networks understand of two texts that were trained to continue text, to fill gaps, or both.

    python -m benchmarks.both_ways RECIPE --nli klue_nli.json --sts klue_sts.json [--tokens 1_000_000] [--seeds 3]

All are of one shape and read as many tokens of the recipe's shards, which it must have made. On each, KLUE's pairs are
learned by a head: as a linear probe, and fine-tuned with the network. Accuracy for inference (NLI), Pearson's
correlation for similarity (STS), on pairs that are held back: others with each seed, and the same for all networks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from model.config import ModelConfig
from pipeline.context import RunContext
from pipeline.graph import Project
from pipeline.ingest.cache import cache_of
from pipeline.pair_tasks import pair_data, pair_scores
from pipeline.pair_tasks.pair_data import Columns
from pipeline.pair_tasks.pair_scores import How
from pipeline.store.artifact import Artifact
from pipeline.training.objectives import pretraining
from pipeline.training.planning.plan import Pretraining
from pipeline.training.pretraining_settings import PretrainingSettings

NLI, STS = Columns("premise", "hypothesis", "gold_label"), Columns("sentence1", "sentence2", "labels.label")
STEP = 4096  # tokens
# Changes of the shape, of the training, and whether the pairs are read both ways by a causal network.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "causal": ({}, {}, False),
    "both ways, words masked": ({"causal": False}, {"mask_words": True}, False),
    "half masked, read both ways": ({}, {"masked_share": 0.5, "mask_words": True}, True),
    "half masked, read one way": ({}, {"masked_share": 0.5, "mask_words": True}, False),
    "untrained": ({}, {"learning_rate": 1e-9, "tokens": 1}, False),
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--nli", type=Path, required=True, help="klue_nli_dev.json, or pairs in its form")
    parser.add_argument("--sts", type=Path, required=True, help="klue_sts_dev.json, or pairs in its form")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="to pretrain on")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3, help="of the pairs")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    return parser


def trained(context: RunContext, inputs: dict[str, Artifact], asked: argparse.Namespace, variant: str) -> Artifact:
    """The network of a variant, pretrained."""
    shape, changes, _ = VARIANTS[variant]
    heads = max(1, asked.width // 64)
    model = ModelConfig(**{"layers": asked.layers, "width": asked.width, "heads": heads, "context": 128, **shape})
    run = {"tokens": asked.tokens, "batch_tokens": STEP, "learning_rate": 0.01, "precision": "fp32", "compile": "off"}
    rare = {"evaluate_every": 10**6, "sample_tokens": 1, "checkpoint_minutes": 60}
    return pretraining.make(
        context, inputs, Pretraining(model, PretrainingSettings.model_validate(run | rare | changes))
    )


def main() -> None:
    asked = arguments().parse_args()
    project = Project.open(asked.recipe, log=lambda line: None)
    context = project.context
    inputs = {name: project[name] for name in ("token_shards", "tokenizer")}
    given = {
        "STS": pair_data.read(asked.sts, STS, True, cache_of(project.store), project.log),
        "NLI": pair_data.read(asked.nli, NLI, False, cache_of(project.store), project.log),
    }
    for variant in asked.variants:
        started = time.process_time()
        model = trained(context, inputs, asked, variant)
        figures = {name: model.facts.get(name) for name in ("parameters", "tokens", "validation_loss", "bits_per_byte")}
        print(f"{variant}: {figures}, {time.process_time() - started:.0f} CPU-s", flush=True)
        for name, pairs in given.items():
            epochs = 8.0 if pairs.scores else 2.0
            for how in (How(asked.seeds, probe=True), How(asked.seeds, epochs=epochs, learning_rate=2e-3)):
                how = How(**{**vars(how), "both_ways": VARIANTS[variant][2]})
                facts = pair_scores.make(context, model, pairs, how).facts
                found = " ".join(f"{figure:.4f}" for figure in facts["by_seed"].values())
                interval = f"{facts.get('low', 0):.4f} to {facts.get('high', 0):.4f}"
                print(
                    f"  {name} {'probe' if how.probe else 'tuned'}: {facts['measure']} {facts['mean']:.4f} ({interval};"
                    f" {found}), chance {facts['chance']:.4f}, {time.process_time() - started:.0f} CPU-s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
