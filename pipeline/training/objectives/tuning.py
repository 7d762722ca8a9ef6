"""What fine-tuning and preference tuning share: a network to start from, rows drawn by epoch, answers to look at.

A row is addressed by its place in the whole run; which row that is depends on the seed and the epoch alone. So a batch
is a pure function of the step here, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.training import machine
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.training_settings import PreferenceSettings, SftSettings

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.distributed import Ranks


@dataclass(frozen=True)
class Course:
    """How rows are dealt out over steps, micro-batches and ranks."""

    rows: int
    steps: int
    in_step: int
    each: int
    accumulation: int
    seed: int

    def places(self, step: int, micro: int, ranks: Ranks) -> np.ndarray:
        """Which rows make up a micro-batch, int64 [each]."""
        first = step * self.in_step + (micro * ranks.world + ranks.rank) * self.each
        places = np.arange(first, first + self.each)
        return np.array([order(self.rows, self.seed, int(place) // self.rows)[place % self.rows] for place in places])


@lru_cache(maxsize=4)
def order(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def course(rows: int, epochs: float, in_step: int, sequences: int, seed: int, world: int) -> Course:
    """`in_step` rows a step over `world` ranks, at most `sequences` of them at once on each."""
    in_step = min(max(1, in_step // world), max(1, rows // world)) * world
    each = min(sequences, in_step // world)
    while (in_step // world) % each:
        each -= 1
    return Course(rows, max(1, math.ceil(epochs * rows / in_step)), in_step, each, in_step // world // each, seed)


def start(
    base: Artifact, settings: SftSettings | PreferenceSettings, seed: int
) -> tuple[Transformer, ModelConfig, Tokenizer]:
    """The base's network, ready to be trained as the settings say, its shape, and its tokenizer."""
    import torch

    from model import export
    from pipeline.tokens.tokenizer import load

    network = export.load(base.local_directory())
    if not network.config.causal:
        raise UserError(
            f"{base.asset} sees both ways (model.causal: false) and cannot answer: leave sft and preference out"
            " (enabled: false)."
        )
    tokenizer = load(base.local_directory())
    if "<|im_start|>" not in tokenizer.ids:
        raise UserError(
            "The tokenizer has no <|im_start|> and <|im_end|>, which conversations need: bring one along that has them,"
            " or train one."
        )
    if settings.method == "lora":
        from model import lora

        torch.manual_seed(seed)
        lora.add(network, settings.lora_rank, settings.lora_alpha)
    return network, network.config, tokenizer


def merged(network: Any, settings: SftSettings | PreferenceSettings) -> Transformer:
    """The network as it is kept: with low-rank additions merged into its weights."""
    if settings.method == "lora":
        from model import lora

        lora.merge(network)
    return network


def fit(
    config: ModelConfig,
    context: int,
    settings: SftSettings | PreferenceSettings,
    precision: str,
    device: str,
    world: int,
) -> plan.Fit:
    """How many rows of `context` tokens go through the network at once."""
    return plan.fit(config.model_copy(update={"context": context}), settings, precision, device, world)


def precision_of(config: ModelConfig, settings: SftSettings | PreferenceSettings, device: str) -> str:
    """The number format that `auto` is on this device."""
    return machine.choose_precision(settings.precision, device, budgets.size(config).parameters)


def learning_rate(config: ModelConfig, settings: SftSettings | PreferenceSettings, share: float) -> float:
    """`share` of what the network's pretraining would use; ten times that for low-rank additions."""
    if settings.learning_rate:
        return settings.learning_rate
    sized = budgets.size(config)
    return budgets.best_rate(sized) * share * (10 if settings.method == "lora" else 1)


def asker(tokenizer: Tokenizer, settings: SftSettings | PreferenceSettings) -> Callable[[torch.nn.Module], str]:
    """What the network answers to the fixed prompts."""
    from model.generate import generate

    def ask(network: Any) -> str:
        lines = []
        for prompt in settings.sample_prompts:
            ids, _ = tokenizer.encode_chat([{"role": "user", "content": prompt}], answer_next=True)
            answer = generate(
                network,
                ids.tolist(),
                max_new=settings.sample_tokens,
                temperature=0.0,
                stop_ids=(tokenizer.ids["<|im_end|>"],),
            )
            lines.append(f"user: {prompt}\nassistant: {tokenizer.decode(list(answer))}")
        return "\n\n".join(lines) + "\n"

    return ask
