"""Planned memory of every training of two recipes: with the kernel that attends on a card, and with the plain formula.

    python -m benchmarks.attention_memory

Nothing is run: the steps are traced on tensors without contents. The plain formula, which keeps the scores of all pairs
of tokens, is what torch takes for a mask together with shared keys and values.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.recipe import load
from pipeline.training.cards import CARDS
from pipeline.training.planning import memory
from pipeline.training.planning.tracing import Step

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
BATCHES = {"code-100m": 8, "llama-38m": 32}  # sequences at once
CARD = CARDS["4080"]
WITHOUT_KERNELS = (99, 0)  # a card that torch would have no kernel for, so that it takes the plain formula
KINDS: dict[str, dict[str, Any]] = {
    "fine-tuning": {"masked": True},
    "fine-tuning, LoRA": {"masked": True, "lora_rank": 16},
    "preferences": {"preference": True},
    "preferences, all logits at once": {"preference": True, "chunk": 0},
    "preferences, LoRA": {"preference": True, "lora_rank": 16},
}


def rows(name: str, sequences: int) -> None:
    """Print a row for each kind of training of a recipe."""
    recipe = load(RECIPES / f"{name}.yaml")
    shape = recipe.model.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
    for kind, changes in KINDS.items():
        found = [
            memory.of_step(shape, Step(sequences, "bf16", gpu=card, **changes)).parts()["total"]
            for card in (CARD.capability, WITHOUT_KERNELS)
        ]
        print(f"| {name} | {sequences} x {shape.context:,} | {kind} | {found[0]:,} | {found[1]:,} |", flush=True)


def arguments() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def main() -> None:
    arguments().parse_args()
    print("| recipe | sequences | training | MiB | MiB with the plain formula |\n| --- | --- | --- | --- | --- |")
    for name, sequences in BATCHES.items():
        rows(name, sequences)


if __name__ == "__main__":
    main()
