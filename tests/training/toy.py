"""A small run to test the loop with: a real network on made text, quick enough to run many times."""

from __future__ import annotations

from pathlib import Path

import torch

from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.training.loop import train
from pipeline.training.objectives.objective import Objective, TrainingResult
from pipeline.training.reporting import RunOptions
from pipeline.training.training_settings import LoopSettings

CONTEXT, SEQUENCES = 16, 8
SHAPE = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=CONTEXT, vocab_size=64, dropout=0.1)


def network(seed: int = 0, **changes: object) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(SHAPE.model_copy(update=changes))


def row(step: int, sequence: int) -> torch.Tensor:
    """Text that can be learned: each token is the one before it plus a constant of the row."""
    generator = torch.Generator().manual_seed(1000 * step + sequence)
    start, stride = torch.randint(0, 64, (1,), generator=generator), torch.randint(1, 4, (1,), generator=generator)
    return (start + stride * torch.arange(CONTEXT + 1)) % 64


def objective(steps: int = 12, accumulation: int = 2, rank: int = 0, world: int = 1, **changes: object) -> Objective:
    """Eight sequences a step over all ranks, cut into `accumulation` micro-batches."""
    each = SEQUENCES // (accumulation * world)

    def batch(step: int, micro: int) -> dict[str, torch.Tensor]:
        first = (micro * world + rank) * each
        rows = torch.stack([row(step, first + i) for i in range(each)])
        return {"tokens": rows[:, :-1], "targets": rows[:, 1:]}

    def loss(model: Transformer, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total, _ = model(batch["tokens"], batch["targets"])
        return total, {}

    def measure(model: Transformer, index: int) -> dict[str, float]:
        held = torch.stack([row(10_000 + index, i) for i in range(4)])
        total, count = model(held[:, :-1], held[:, 1:])
        return {"nats": float(total), "targets": float(count)}

    given = {
        "name": "toy", "steps": steps, "accumulation": accumulation, "step_tokens": SEQUENCES * CONTEXT, "batch": batch,
        "units": lambda batch: float((batch["targets"] != -100).sum()), "loss": loss, "validation_batches": 3,
        "measure": measure, "summary": lambda sums: {"validation_loss": sums["nats"] / sums["targets"]},
        "flops_per_token": 1e5,
    }  # fmt: skip
    return Objective(**{**given, **changes})  # type: ignore[arg-type]


def run(
    directory: Path, settings: LoopSettings | None = None, model: Transformer | None = None, **changes: object
) -> tuple[Transformer, TrainingResult]:
    """Train the toy; returns the model and what the run left."""
    model = model or network()
    passed = {
        name: changes.pop(name)
        for name in ("ranks", "should_stop", "log", "progress", "run", "sharded")
        if name in changes
    }
    trained = train(
        objective(**changes), model,  # type: ignore[arg-type]
        (settings or LoopSettings()).model_copy(update={"precision": "fp32"}),
        3e-3, 7, RunOptions(directory, **{"log": lambda line: None, **passed}),  # type: ignore[arg-type]
    )  # fmt: skip
    return model, trained


def same(a: Transformer, b: Transformer) -> bool:
    """Bitwise."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
