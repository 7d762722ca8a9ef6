"""What a training run reports: a progress bar and log lines, metrics for MLflow, progress for Dagster.

Only the first rank reports. Nothing here affects what is learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.context import Log, Progress
from pipeline.tracking import AnyRun
from pipeline.training import machine
from pipeline.training.distributed import Ranks
from pipeline.training.throughput import Clock, Peak

if TYPE_CHECKING:
    import torch

    from pipeline.training.checkpoint import Ladder
    from pipeline.training.objectives.objective import Objective

LOGGED_STEPS = 2000  # approximate limit on the points of one curve in MLflow
# What MLflow shows before everything else: it sorts its charts by name, and cannot be told an order.
CURVES = {
    "train/loss": "curves/loss", "train/tokens_per_second": "curves/tokens_per_second",
    "validation/loss": "curves/validation_loss", "validation/bits_per_byte": "curves/validation_bits_per_byte",
    "validation/accuracy": "curves/validation_accuracy",
}  # fmt: skip
Row = dict[str, Any]  # one row of the run's log


@dataclass(frozen=True)
class RunOptions:
    """Where a run takes place and where it reports. Nothing here changes what is learned, apart from rounding."""

    directory: Path  # for checkpoints; only rank 0 uses it
    device: str = "cpu"
    precision: str = "fp32"  # as `machine.choose_precision` returns it
    muon_precision: str = "fp32"  # as `machine.muon_precision` returns it
    ranks: Ranks = field(default_factory=Ranks)
    sharded: bool = False
    run: AnyRun | None = None  # of MLflow
    log: Log = print
    progress: Progress | None = None
    should_stop: Callable[[], bool] | None = None
    ladder: Ladder | None = None  # the same on all ranks; only rank 0 writes it


class Reporter:
    """Sends the reports of a run."""

    def __init__(self, objective: Objective, clock: Clock, peak: Peak, options: RunOptions):
        self.objective, self.clock, self.peak = objective, clock, peak
        self.device, self.first = options.device, options.ranks.first
        self.run, self.log, self.progress = options.run, options.log, options.progress
        self.bar: Any = None

    @property
    def speed(self) -> tuple[int, float, float]:
        """The arguments of `Clock.recent`: tokens of a step, FLOPs per token, peak FLOP/s."""
        return self.objective.step_tokens, self.objective.flops_per_token, self.peak.flops

    def begin(self, step: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(
            total=self.objective.steps, initial=step, desc=self.objective.name, unit="step", dynamic_ncols=True,
            disable=None if self.first else True,  # None: no bar where the output is not a terminal
            mininterval=0.5, smoothing=0.05,
        )  # fmt: skip

    def step(self, step: int, rows: list[Row]) -> None:
        """After a step: update the bar, log the metrics, report the progress."""
        if not self.first:
            return
        with self.clock.paused():
            self.peak.measure_again()
        self.bar.update(step - self.bar.n)
        row = rows[-1] if rows else {}
        if row.get("loss") is None:  # skipped, or rolled back to the start
            return
        now = self.clock.recent(*self.speed)
        self.bar.set_postfix_str(
            f"loss {row['loss']:.3f} · {now['tokens_per_second']:,.0f} tok/s · {now.get('mfu', 0):.0%} of peak",
            refresh=False,
        )
        shown = {k: v for k, v in row.items() if isinstance(v, float) and not k.startswith("validation_")}
        if self.run and step % max(1, self.objective.steps // LOGGED_STEPS) == 0:
            figures = {**shown, **now, "memory_bytes": machine.memory_used(self.device)}
            finite = {f"train/{name}": value for name, value in figures.items() if math.isfinite(value)}
            self.run.metrics(with_curves(finite), step=row["tokens"])
        if self.progress and self.clock.report_due():
            left = (self.objective.steps - step) * self.objective.step_tokens / max(now["tokens_per_second"], 1e-9)
            self.progress({"step": step, "steps": self.objective.steps, "tokens": row["tokens"], **shown, **now,
                           "memory_bytes": machine.memory_used(self.device), "seconds_left": left})  # fmt: skip

    def validated(self, step: int, rows: list[Row], figures: dict[str, float]) -> None:
        """After validation: log the figures and report them."""
        if not self.first:
            return
        loss = next((row["loss"] for row in reversed(rows) if row.get("loss") is not None), math.nan)
        bits = f", {figures['bits_per_byte']:.4f} bits per byte" if "bits_per_byte" in figures else ""
        known = [f"{name.removeprefix('facts_')} {figures[name]:.0%}" for name in figures if name.startswith("facts_")]
        facts = f", facts of the village known: {', '.join(known)}" if known else ""
        self.log(
            f"step {step} of {self.objective.steps}: loss {loss:.4f}, validation {figures['validation_loss']:.4f}"
            f"{bits}{facts}"
        )
        tokens = rows[-1]["tokens"]
        if self.run:
            metrics = {f"validation/{name.removeprefix('validation_')}": value for name, value in figures.items()}
            self.run.metrics(with_curves(metrics), step=tokens)
        if self.progress:
            self.progress({"step": step, "steps": self.objective.steps, "tokens": tokens, **figures})

    def sample(self, step: int, model: torch.nn.Module) -> None:
        """Log text generated by the current weights."""
        if self.objective.sample and self.first:
            text = self.objective.sample(model)
            if self.run:
                self.run.text(text, f"samples/step-{step:08d}.txt")

    def rolled_back(self, number: int, description: str) -> None:
        if self.run and self.first:
            self.run.tags({f"rollback.{number}": description})

    def end(self) -> None:
        self.bar.close()


def with_curves(metrics: dict[str, float]) -> dict[str, float]:
    """The figures, and once more those that are shown first."""
    return metrics | {CURVES[name]: value for name, value in metrics.items() if name in CURVES}
