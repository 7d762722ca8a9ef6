"""`pair_scores`: how well a head on a pretrained network says how two texts relate, on pairs that are held back.

Accuracy for classes, Pearson's correlation for scores, for each seed, which chooses the pairs that are held back and
the order of the others. The same seeds hold back the same pairs of any network, so networks can be compared.

    predictions.parquet    seed, row (of the whole pairs in the file), label, predicted
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.pair_tasks import pair_data
from pipeline.pair_tasks.pair_data import Pairs
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.training import device_lock

if TYPE_CHECKING:
    import torch

    from pipeline.pair_tasks.pair_network import PairNetwork, Row
    from pipeline.training.objectives.objective import Objective

ASSET, VERSION = "pair_scores", "2"
RATE_SHARE = 0.1  # of the learning rate that pretraining would use, as of other tunings
SCRATCH = "checkpoints"


@dataclass(frozen=True)
class How:
    """How pairs are learned."""

    seeds: int = 3
    held_back: float = 0.2  # share of the pairs
    probe: bool = False  # the network stays as it is, and a linear head is solved
    both_ways: bool = False  # a causal network reads from both sides
    epochs: float = 4.0  # Devlin et al. 2018, section 4.1: 3; Mosbach et al. 2021: more with few pairs
    step_pairs: int = 32  # Devlin et al. 2018, appendix A.3: 16 or 32
    learning_rate: float = 0.0  # 0: RATE_SHARE


@dataclass(frozen=True)
class Task:
    """The pairs as rows for one network, and what is to be said of them."""

    rows: list[Row]
    pairs: Pairs

    @property
    def outputs(self) -> int:
        return len(self.pairs.classes) or 1


def make(context: RunContext, model: Artifact, pairs: Pairs, how: How) -> Artifact:
    """The scores of a model on pairs. Raises UserError if its tokenizer or shape does not suit, Stopped on request."""

    def build(draft: Draft) -> None:
        with device_lock.alone(context, ASSET):
            score(context, draft, model, pairs, how)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={"pairs": pairs.digest, "classes": list(pairs.classes), **asdict(how)},
        inputs={"model": model},
        build=build,
        log=context.log,
    )


def score(context: RunContext, draft: Draft, model: Artifact, pairs: Pairs, how: How) -> None:
    """Write the scores of a model on pairs, and what was predicted, into the draft."""
    task = encoded(model, pairs)
    by_seed: dict[str, float] = {}
    predictions = []
    for seed in range(how.seeds):
        learned, held = pair_data.split(pairs.first, how.held_back, seed)
        figures = answers(context, draft, model, task, how, seed)
        said = figures.argmax(1) if pairs.classes else figures[:, 0]
        by_seed[str(seed)] = measured(pairs, held, said)
        context.log(f"{ASSET}: seed {seed}, {name_of(pairs)} {by_seed[str(seed)]:.4f} of {len(held):,} pairs")
        predictions.append(
            pl.DataFrame({
                "row": held, "label": pairs.labels[held].astype(np.float64), "predicted": said.astype(np.float64)
            }).insert_column(0, pl.Series("seed", [seed] * len(held), dtype=pl.Int64))
        )  # fmt: skip
    write_table(pl.concat(predictions), draft.path("predictions.parquet"))
    draft.counts = {"pairs": len(task.rows), "learned": len(learned), "held_back": len(held)}
    draft.facts = {"measure": name_of(pairs), "by_seed": by_seed, "chance": chance(pairs), **summary(by_seed)}


def encoded(model: Artifact, pairs: Pairs) -> Task:
    """The pairs as a model's tokenizer makes rows of them."""
    from model.export import read_config
    from pipeline.pair_tasks.pair_network import row_of
    from pipeline.tokens.tokenizer import load

    if "config.json" not in model.manifest["files"]:
        raise UserError(f"{model.asset} is no model: name one, such as pretrained_model.")
    directory = model.local_directory()
    tokenizer, context = load(directory), read_config(directory).context
    if context < 8:
        raise UserError(f"{model.asset} has a context of {context} tokens, too few for two texts: use another model.")
    texts = zip(tokenizer.encode(pairs.first), tokenizer.encode(pairs.second), strict=True)
    return Task([row_of(first, second, tokenizer.document_start, context) for first, second in texts], pairs)


def answers(context: RunContext, draft: Draft, model: Artifact, task: Task, how: How, seed: int) -> np.ndarray:
    """What a head says of the pairs that a seed holds back: logits [pairs, classes], or scores [pairs, 1]."""
    import torch

    from model import export
    from pipeline.pair_tasks.pair_network import PairNetwork, computed, probed
    from pipeline.training import machine

    device = machine.choose_device(context.device)
    learned, held = pair_data.split(task.pairs.first, how.held_back, seed)
    torch.manual_seed(seed)
    network = PairNetwork(export.load(model.local_directory(), torch.float32), task.outputs, how.both_ways).to(device)
    asked = [task.rows[number] for number in held]
    if how.probe:
        seen = [computed(network, [task.rows[number] for number in part], device, True) for part in (learned, held)]
        labels = torch.from_numpy(task.pairs.labels[learned])
        return probed(seen[0], labels, seen[1], len(task.pairs.classes)).numpy()
    fine_tune(context, draft, network, task, how, seed, learned)
    return computed(network, asked, device).numpy()


def fine_tune(
    context: RunContext, draft: Draft, network: PairNetwork, task: Task, how: How, seed: int, learned: np.ndarray
) -> None:
    """Train the network with its head, in place, by the loop that all trainings share."""
    from pipeline.store.disk import remove_tree
    from pipeline.training import loop, machine
    from pipeline.training.loop_settings import LoopSettings
    from pipeline.training.measured import Machine
    from pipeline.training.planning import budget as budgets
    from pipeline.training.reporting import RunOptions

    device = machine.choose_device(context.device)
    sized = budgets.size(network.config)
    objective = objective_of(task, how, seed, learned, sized.flops_per_token)
    settings = LoopSettings(weight_decay=0.01, warmup=0.1, checkpoint_minutes=10.0)  # Devlin et al. 2018, appendix A.3
    scratch = draft.directory / f"{SCRATCH}-{seed}"
    options = RunOptions(
        directory=scratch,
        device=device,
        precision=machine.choose_precision("auto", device, network.config, Machine.beside(context.store)),
        log=context.log,
        progress=context.progress,
        should_stop=context.should_stop,
    )
    rate = how.learning_rate or RATE_SHARE * budgets.best_rate(sized)
    loop.train(objective, network, settings, rate, seed, options)
    remove_tree(scratch)


def objective_of(task: Task, how: How, seed: int, learned: np.ndarray, flops_per_token: float) -> Objective:
    """Shuffled pairs and the loss of what is said: cross-entropy, or the squared error of standardised scores."""
    import torch
    import torch.nn.functional as F

    from pipeline.pair_tasks.pair_network import batch_of
    from pipeline.training.distributed import Ranks
    from pipeline.training.objectives import tuning
    from pipeline.training.objectives.objective import Batch, Objective

    batching = tuning.batching(len(learned), how.epochs, how.step_pairs, how.step_pairs, seed, 1)
    labels = task.pairs.labels
    if task.pairs.scores:
        labels = (labels - labels[learned].mean()) / max(float(labels[learned].std()), 1e-12)

    def batch(step: int, micro: int) -> Batch:
        numbers = learned[batching.row_numbers(step, micro, Ranks())]
        return {**batch_of([task.rows[number] for number in numbers]), "labels": torch.from_numpy(labels[numbers])}

    def loss(network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        said = network(batch["tokens"], batch["parts"])
        if task.pairs.scores:
            return (said[:, 0] - batch["labels"].float()).square().sum(), {}
        return F.cross_entropy(said, batch["labels"], reduction="sum"), {}

    return Objective(
        name="pairs",
        steps=batching.steps,
        accumulation=batching.accumulation,
        step_tokens=round(batching.step_rows * statistics.fmean(len(task.rows[number][0]) for number in learned)),
        batch=batch,
        units=lambda batch: float(len(batch["labels"])),
        loss=loss,
        flops_per_token=flops_per_token,
    )


# -- figures -----------------------------------------------------------------------------------------------------------


def name_of(pairs: Pairs) -> str:
    return "pearson" if pairs.scores else "accuracy"


def measured(pairs: Pairs, held: np.ndarray, said: np.ndarray) -> float:
    """Accuracy, or Pearson's correlation (0 if all scores are the same), of what is said of the pairs held back."""
    labels = pairs.labels[held]
    if pairs.classes:
        return float((said == labels).mean())
    return float(np.corrcoef(said, labels)[0, 1]) if said.std() > 0 and labels.std() > 0 else 0.0


def chance(pairs: Pairs) -> float:
    """The figure of whoever says the same of all pairs: the share of the commonest class, or 0."""
    return 0.0 if pairs.scores else float(np.bincount(pairs.labels).max() / len(pairs.labels))


def summary(by_seed: Mapping[str, float]) -> dict[str, Any]:
    """mean and, with several seeds, low and high: 95 %, by Student's t."""
    values = list(by_seed.values())
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": mean}
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}
