"""What fine-tuning and preference tuning share: the base network, rows shuffled by epoch, and sample answers.

The rows of an epoch are shuffled by (seed, epoch), so that a batch is a pure function of the step here, too. Rows of
different lengths are also sorted within windows (`data/by_length.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.training.data.by_length import LengthBatches, shuffled_rows
from pipeline.training.model_artifact import ADAPTER
from pipeline.training.model_facts import ROW_TOKENS
from pipeline.training.optimiser import is_head, lookup_tables
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.training_settings import TunedSettings

TRAIN = "train"  # the table to train on

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.distributed import Ranks
    from pipeline.training.model_artifact import TrainingProcess
    from pipeline.training.slots import Places


@dataclass(frozen=True)
class Batching:
    """How rows are distributed over steps, micro-batches and ranks."""

    rows: int
    steps: int
    step_rows: int  # per step, over all ranks
    micro_rows: int  # per micro-batch, on one rank
    accumulation: int
    seed: int
    by_length: LengthBatches | None = None  # if set, it chooses the rows of a step

    def row_numbers(self, step: int, micro: int, ranks: Ranks) -> np.ndarray:
        """The rows of a micro-batch of this rank, int64 [micro_rows]."""
        within = (micro * ranks.world + ranks.rank) * self.micro_rows
        if self.by_length is not None:
            return self.by_length.rows(step)[within : within + self.micro_rows]
        first = step * self.step_rows + within
        positions = range(first, first + self.micro_rows)  # in the run, over all epochs
        return np.array([shuffled_rows(self.rows, self.seed, at // self.rows)[at % self.rows] for at in positions])

    def rows_of_step(self, step: int) -> np.ndarray:
        """The rows of a step, over all its micro-batches and ranks, int64 [step_rows]."""
        if self.by_length is not None:
            return self.by_length.rows(step)
        positions = range(step * self.step_rows, (step + 1) * self.step_rows)
        return np.array([shuffled_rows(self.rows, self.seed, at // self.rows)[at % self.rows] for at in positions])


def batching(rows: int, epochs: float, step_rows: int, sequences: int, seed: int, world: int) -> Batching:
    """Steps of about `step_rows` rows over `world` ranks, in micro-batches of at most `sequences` rows per rank."""
    step_rows = min(max(1, step_rows // world), max(1, rows // world)) * world
    micro_rows = min(sequences, step_rows // world)
    while (step_rows // world) % micro_rows:
        micro_rows -= 1
    steps = max(1, math.ceil(epochs * rows / step_rows))
    return Batching(rows, steps, step_rows, micro_rows, step_rows // world // micro_rows, seed)


def first_difference(
    places: Places, batching: Batching, rows_of: Callable[[], np.ndarray], first_validation: int
) -> int:
    """The first step (from 0) that differs if these slots are empty and not full; all steps of the run if none does.

    rows_of: the number in `batching` of each row of the table `train`, -1 for one that is not used. What is measured
    after step n is in the state of step n.
    """
    learned = [row for table, row in places if table == TRAIN]
    first = min(batching.steps, first_validation - 1) if len(learned) < len(places) else batching.steps
    numbers = rows_of()[learned] if learned else np.zeros(0, np.int64)
    for step in range(first if (numbers >= 0).any() else 0):
        if np.isin(batching.rows_of_step(step), numbers).any():
            return step
    return first


def load_base(base: Artifact, settings: TunedSettings, seed: int) -> tuple[Transformer, ModelConfig, Tokenizer]:
    """(network, config, tokenizer) of the base model, with low-rank additions if the settings ask for them.

    Raises UserError for a bidirectional network and for a tokenizer without the tokens of conversations.
    """
    import torch

    from model import export
    from pipeline.tokens.tokenizer import load

    # A downloaded model may be in bf16, in which AdamW's small updates would be lost.
    network = export.load(base.local_directory(), torch.float32)
    if not network.config.causal:
        raise UserError(
            f"{base.asset} is bidirectional (model.causal: false) and cannot generate answers: set sft.enabled and"
            " preference.enabled to false."
        )
    tokenizer = load(base.local_directory())
    if "<|im_start|>" not in tokenizer.ids:
        raise UserError(
            "The tokenizer has no <|im_start|> and <|im_end|>, which conversations need: use one that has them, or"
            " train one."
        )
    if settings.low_rank:
        from model import lora

        kernel_is_installed(settings)
        torch.manual_seed(seed)
        lora.add(
            network, settings.lora_rank, settings.lora_alpha, settings.lora_targets,
            dropout=getattr(settings, "lora_dropout", 0.0), rslora=settings.lora_rslora, dora=settings.lora_dora,
            quantised=settings.weights == "qlora", kernel=settings.qlora_kernel,
        )  # fmt: skip
    elif settings.embeddings == "markers":
        train_these_rows(network, sorted(tokenizer.ids.values()))
    return network, network.config, tokenizer


def kernel_is_installed(settings: TunedSettings) -> None:
    """Raises UserError if the matrices are to be multiplied by a package that is not installed."""
    from importlib.util import find_spec

    kernel = settings.qlora_kernel
    if settings.weights == "qlora" and kernel != "torch" and find_spec(kernel) is None:
        raise UserError(
            f"`{settings.block}.qlora_kernel: {kernel}` needs the extra `{kernel}`: pip install -e '.[{kernel}]', or"
            " leave the key out."
        )


def train_these_rows(network: Transformer, rows: Sequence[int]) -> None:
    """Let the embeddings and the output layer learn in these rows only.

    AdamW moves every row that has a gradient by about the learning rate, however small the gradient is. So rows of
    words that only ever occur as a wrong continuation drift away: in the demonstration, the names of all people of
    whom no conversation speaks (docs/results/training-quality.md).
    """
    import torch

    tables = {weight for name, weight in network.named_parameters() if is_head(name)} | lookup_tables(network)
    for table in tables:
        kept = torch.zeros(len(table), 1)
        kept[list(rows)] = 1
        table.register_hook(lambda grad, kept=kept: grad * kept.to(grad))


def row_length(base: Artifact, config: ModelConfig, asked: int) -> int:
    """The longest sequence to train on: what is asked for, else what a downloaded model's facts say, else its context.

    asked: `context` of the settings; 0: nothing.
    """
    return min(asked or base.facts.get(ROW_TOKENS, config.context), config.context)


def inherited(base: Artifact) -> dict[str, Any]:
    """The facts of the base that hold for what is made from it."""
    return {ROW_TOKENS: base.facts[ROW_TOKENS]} if ROW_TOKENS in base.facts else {}


def merged(network: Any, settings: TunedSettings) -> Transformer:
    """The network to save: with any low-rank additions merged into its weights."""
    if settings.low_rank:
        from model import lora

        lora.merge(network)
    return network


def write_additions(settings: TunedSettings, base: Artifact) -> Callable[[Any, Path], None]:
    """A function that keeps the low-rank additions of a trained network in the folder of its artifact, if it has any.

    They are additions to the weights of `base`; where that was imported from the hub as it is, the files name it there.
    """

    def write(network: Any, directory: Path) -> None:
        if settings.low_rank:
            from model import lora

            lora.save(network, directory / ADAPTER, base.facts.get("hub_name"))

    return write


def fit(
    config: ModelConfig,
    context: int,
    settings: TunedSettings,
    precision: str,
    process: TrainingProcess,
) -> plan.Fit:
    """How many rows of `context` tokens fit into a micro-batch, on every rank."""
    rows = config.model_copy(update={"context": context})
    return plan.fit(rows, settings, precision, process.device, process.ranks.world, process.memory_limit())


def advice(
    config: ModelConfig,
    context: int,
    settings: TunedSettings,
    precision: str,
    process: TrainingProcess,
    rows: int,
) -> str:
    """What to change after memory ran out with `rows` rows of `context` tokens in a micro-batch."""
    return plan.advice(config.model_copy(update={"context": context}), settings, precision, process.device, rows)


def learning_rate(config: ModelConfig, settings: TunedSettings, share: float) -> float:
    """The rate of the settings, else `share` of the rate of pretraining; ten times that for low-rank additions."""
    if settings.learning_rate:
        return settings.learning_rate
    sized = budgets.size(config)
    return budgets.best_rate(sized) * share * (10 if settings.low_rank else 1)


def answer_sampler(tokenizer: Tokenizer, settings: TunedSettings) -> Callable[[torch.nn.Module], str]:
    """A function that returns the network's answers to the fixed prompts."""
    from model.generate import generate

    def ask(network: Any) -> str:
        lines = []
        for prompt in settings.sample_prompts:
            ids, _ = tokenizer.encode_chat([{"role": "user", "content": prompt}], answer_next=True)
            answer = generate(
                network,
                ids.tolist(),
                max_new=settings.sample_tokens,
                stop_ids=(tokenizer.ids["<|im_end|>"],),
            )
            lines.append(f"user: {prompt}\nassistant: {tokenizer.decode(list(answer))}")
        return "\n\n".join(lines) + "\n"

    return ask
