"""What a run reports on its way: a progress bar and lines for a person, metrics for MLflow, reports for Dagster.

Only the first rank reports anything. Nothing here touches what is learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.context import Log, Progress
from pipeline.training import machine
from pipeline.training.distributed import Ranks
from pipeline.training.throughput import Clock

if TYPE_CHECKING:
    import torch

    from pipeline.training.objectives.objective import Objective

LOGGED_STEPS = 2000  # at most about so many points of a curve go to MLflow
Row = dict[str, Any]  # of the run's log


@dataclass(frozen=True)
class RunOptions:
    """Where a run takes place and who watches it: nothing here changes what is learned, but for rounding."""

    directory: Path  # of the checkpoints (rank 0's)
    device: str = "cpu"
    ranks: Ranks = field(default_factory=Ranks)
    sharded: bool = False
    run: Any = None  # of MLflow
    log: Log = print
    progress: Progress | None = None
    should_stop: Callable[[], bool] | None = None


class Reporter:
    """Where the reports of one run go. `speed`: what `Clock.recent` takes (step tokens, FLOPs a token, peak FLOP/s)."""

    def __init__(self, objective: Objective, clock: Clock, speed: tuple[int, float, float], options: RunOptions):
        self.objective, self.clock, self.speed = objective, clock, speed
        self.device, self.first = options.device, options.ranks.first
        self.run, self.log, self.progress = options.run, options.log, options.progress
        self.bar: Any = None

    def begin(self, step: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(
            total=self.objective.steps, initial=step, desc=self.objective.name, unit="step", dynamic_ncols=True,
            disable=None if self.first else True,  # None: no bar where the output is not a terminal
            mininterval=0.5, smoothing=0.05,
        )  # fmt: skip

    def step(self, step: int, rows: list[Row]) -> None:
        """After a step: the bar, the metrics, the report."""
        if not self.first:
            return
        self.bar.update(step - self.bar.n)
        row = rows[-1] if rows else {}
        if row.get("loss") is None:  # left out, or back at the start
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
            self.run.metrics(finite, step=row["tokens"])
        if self.progress and self.clock.time_to_tell():
            left = (self.objective.steps - step) * self.objective.step_tokens / max(now["tokens_per_second"], 1e-9)
            self.progress({"step": step, "steps": self.objective.steps, "tokens": row["tokens"], **shown, **now,
                           "memory_bytes": machine.memory_used(self.device), "seconds_left": left})  # fmt: skip

    def measured(self, step: int, rows: list[Row], figures: dict[str, float]) -> None:
        """After a measurement on validation data."""
        if not self.first:
            return
        loss = next((row["loss"] for row in reversed(rows) if row.get("loss") is not None), math.nan)
        bits = f", {figures['bits_per_byte']:.4f} bits per byte" if "bits_per_byte" in figures else ""
        self.log(
            f"step {step} of {self.objective.steps}: loss {loss:.4f}, validation {figures['validation_loss']:.4f}{bits}"
        )
        tokens = rows[-1]["tokens"]
        if self.run:
            named = {f"validation/{name.removeprefix('validation_')}": value for name, value in figures.items()}
            self.run.metrics(named, step=tokens)
        if self.progress:
            self.progress({"step": step, "steps": self.objective.steps, "tokens": tokens, **figures})

    def sample(self, step: int, model: torch.nn.Module) -> None:
        """Text that the network writes now."""
        if self.objective.sample and self.first:
            text = self.objective.sample(model)
            if self.run:
                self.run.text(text, f"samples/step-{step:08d}.txt")

    def went_back(self, times: int, what: str) -> None:
        if self.run and self.first:
            self.run.tags({f"rollback.{times}": what})

    def end(self) -> None:
        self.bar.close()
