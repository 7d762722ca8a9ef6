"""The training loop, shared by pretraining, fine-tuning and preference tuning.

An `Objective` defines a batch, its loss and the validation figures. The loop does the rest: gradient accumulation,
clipping, the learning-rate schedule, precision, several ranks, validation, checkpoints, signals, and rolling back after
a divergence. Everything that a step depends on is either a function of (seed, step, rank) or stored in the checkpoint,
so a run that was killed and resumed ends with the same bits as an uninterrupted one. What a checkpoint holds, and how
it is saved and restored, is in `run_state.py`.

This module imports torch at the top; import it only to train.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from model.allocator import kept_memory
from pipeline.errors import UserError
from pipeline.training import distributed, machine, schedule, transfer
from pipeline.training.objectives.objective import (
    LossModule,
    Objective,
    Prefetcher,
    TrainingResult,
    micro_batch_seed,
)
from pipeline.training.reporting import Reporter, RunOptions
from pipeline.training.run_state import RunState
from pipeline.training.stopping import Stopped, stop_requests
from pipeline.training.throughput import Clock, Peak
from pipeline.training.training_settings import LoopSettings

SPIKE_WINDOW = 128  # steps over which the usual loss is computed (OLMo-core, SkipStepOptimizer)


class TrainingFailed(UserError):
    """The run ran out of memory or diverged too often. Its checkpoints stay, so that it can be resumed."""

    draft_stays = True


def train(
    objective: Objective,
    model: torch.nn.Module,
    settings: LoopSettings,
    learning_rate: float,
    seed: int,
    options: RunOptions,
) -> TrainingResult:
    """Train `model` in place.

    Raises Stopped after SIGINT, SIGTERM or `should_stop()`, once a checkpoint is written, and UserError if training
    keeps diverging or runs out of memory.
    """
    loop = Loop(objective, model, settings, learning_rate, seed, options)
    with stop_requests(options.should_stop) as loop.stop_requested, kept_memory():
        try:
            return loop.run_to_end()
        except (RuntimeError, MemoryError) as error:
            if machine.is_out_of_memory(error):
                raise TrainingFailed(f"Out of memory in {objective.name}: {objective.out_of_memory()}.") from error
            raise
        finally:
            loop.close()


class Loop(RunState):
    """A run that resumes from its state, step by step."""

    def __init__(
        self,
        objective: Objective,
        model: torch.nn.Module,
        settings: LoopSettings,
        learning_rate: float,
        seed: int,
        options: RunOptions,
    ):
        super().__init__(objective, model, settings, learning_rate, options)
        ranks, device = self.ranks, self.device
        self.seed = seed
        self.forward: torch.nn.Module = LossModule(model, objective.loss)
        if ranks.world > 1 and not self.sharded:
            self.forward = torch.nn.parallel.DistributedDataParallel(
                self.forward, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        if machine.worth_compiling(settings.compile, device, objective.flops / objective.shapes):
            times = f", {objective.shapes} times, when batches have another length" if objective.shapes > 1 else ""
            self.log(f"compiling the network; this takes about a minute{times}")
            self.forward = machine.compiled(self.forward)
        self.clock = Clock()
        self.reporter = Reporter(objective, self.clock, Peak(device, self.precision, ranks.world), options)
        self.stop_requested: Callable[[], bool] = lambda: False
        self.data = Prefetcher(objective, device)

    # -- the run -------------------------------------------------------------------------------------------------------

    def run_to_end(self) -> TrainingResult:
        for line in self.ranks.agreed(self._drop_damaged):
            self.log(line)
        self._resume()
        if self.step == 0:
            self._save()  # the state to roll back to if training diverges before the first checkpoint
        steps = self.objective.steps
        self.reporter.begin(self.step)
        self.clock.begin()
        while True:
            if self._should_stop():
                self._stop()
            if self._validation_due():
                self._validate()
            if self.step in self.objective.kept_steps:
                self._keep_weights()
            if self.step == steps or self._patience_is_over():
                if self._finite() or not self._roll_back("the weights after it are not finite", back=1):
                    break
                continue
            if self._checkpoint_due():
                self._save()
            self._advance()
            self.reporter.step(self.step, self.rows)
        self.reporter.end()
        timings = self.clock.summary(*self.reporter.speed)
        if self.step != self.saved_at:
            self._save()
        self._restore_selected()
        self._use_average()
        if self.objective.validation_batches_final > self.objective.validation_batches:
            figures = self._validation_figures(self.objective.validation_batches_final)
            if figures is None:
                self._stop()
            else:
                self.figures = figures
        return TrainingResult(self.rows, self.figures, self.skipped, timings)

    def _advance(self) -> None:
        """One step: the gradient of a batch over all micro-batches and ranks, and one update of the weights."""
        step, objective, settings = self.step, self.objective, self.settings
        if step in self.skipped:
            self._log_step(loss=None, grad_norm=None, learning_rate=0.0, skipped=True)
            self.step += 1
            return
        with self.clock.waiting():
            batches, own_units = self.data.take(step)
        if objective.enrich is not None:
            batches, own_units = self._enriched(batches)
        (units,) = self.ranks.total(own_units)
        self.model.train()
        self.optimiser.zero_grad()
        figures: dict[str, list[torch.Tensor]] = {"loss": []}
        for micro, batch in enumerate(batches):
            if self._should_stop():
                self._stop()  # the partial gradient is dropped; the resumed run repeats the step
            torch.manual_seed(micro_batch_seed(self.seed, step, micro, self.ranks.rank))
            with self._synchronised(micro == len(batches) - 1):
                with machine.autocast(self.device, self.precision):
                    loss, further = self.forward(transfer.to_device(batch, self.device))
                # Ranks average their gradients, so each scales its share of the global mean by their number.
                loss = loss * (self.ranks.world / max(units, 1.0))
                (self.scaler.scale(loss) if self.scaler else loss).backward()
            figures["loss"].append(loss.detach().double() / self.ranks.world)
            for name, value in further.items():
                figures.setdefault(name, []).append(value)
        figures["grad_norm"] = [self._clip()]
        arrive = transfer.fetch(figures)
        share = schedule.factor(step, objective.steps, settings)
        self._update(share)  # while the figures arrive: after a divergence the checkpoint undoes it
        sums = arrive()
        norm = sums.pop("grad_norm")
        totals = dict(zip(sums, self.ranks.total(*sums.values())))
        loss_mean = totals.pop("loss")
        divergence = self._divergence(loss_mean, norm)
        if divergence and self._roll_back(*divergence):
            return
        self._log_step(
            loss=loss_mean,
            grad_norm=norm if math.isfinite(norm) else None,
            learning_rate=self.optimiser.learning_rate * share,
            skipped=False,
            **{name: total / max(units, 1.0) for name, total in totals.items()},
        )
        self.step += 1

    def _enriched(self, batches: list[transfer.Batch]) -> tuple[list[transfer.Batch], float]:
        """The batches of a step with what the network as it is now adds to them, and their units."""
        assert self.objective.enrich is not None
        self.model.eval()
        with torch.no_grad(), machine.autocast(self.device, self.precision):
            batches = self.objective.enrich(self.model, self.step, batches)
        return batches, sum(self.objective.units(batch) for batch in batches)

    def _clip(self) -> torch.Tensor:
        """Limit the length of the gradient; returns what it was."""
        if self.scaler:
            for part in self.optimiser.parts:
                self.scaler.unscale_(part)
        largest = self.settings.clip or math.inf
        return distributed.gathered(torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest))

    def _update(self, share: float) -> None:
        """Update the weights, at `share` of the highest learning rate, and their running average."""
        self.optimiser.step(share, self.scaler)
        if self.scaler:
            self.scaler.update()
        if self.average:
            updates = self.step + 1 - sum(skipped < self.step for skipped in self.skipped)  # with this one
            moved = schedule.average_share(self.step + 1, updates, self.objective.steps, self.settings)
            if moved:
                averages = list(self.average.values())
                torch._foreach_lerp_(averages, [p.detach() for p in self.model.parameters()], moved)

    def _synchronised(self, last: bool) -> Any:
        """Ranks exchange gradients once per step, in the last micro-batch."""
        if self.ranks.world == 1:
            return nullcontext()
        if self.sharded:
            self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
            return nullcontext()
        return nullcontext() if last else self.forward.no_sync()  # type: ignore[operator]

    def _log_step(self, **figures: Any) -> None:
        # `step` counts from 1: the row of step n describes the n-th update of the weights.
        tokens = (self.step + 1) * self.objective.step_tokens
        self.rows.append({"step": self.step + 1, "tokens": tokens, **figures})
        self.clock.step()

    # -- validation ----------------------------------------------------------------------------------------------------

    def _validation_due(self) -> bool:
        if self.objective.measure is None or not self.objective.validation_batches or self.step == 0:
            return False
        every = self.settings.steps_to_validation(self.objective.steps)
        if not self._reached(every) and self.step != self.objective.steps:
            return False
        return self.rows[-1].get("validation_loss") is None

    def _validate(self) -> None:
        """Log the validation figures, and write a checkpoint if they are the best so far."""
        with self._averaged_weights():
            figures = self._validation_figures(self.objective.validation_batches)
            asked = self._asked() if figures else {}
            if figures and self._sample_due():
                self.reporter.sample(self.step, self.model)
        if figures is None:  # the checkpoint's log lacks this validation, so the resumed run repeats it
            self._stop()
            return
        loss = figures["validation_loss"]
        if not math.isfinite(loss) and self._roll_back(f"the validation loss after it is {loss}", back=1):
            return
        earlier = [row["validation_loss"] for row in self.rows if row.get("validation_loss") is not None]
        logged = {name: figures[name] for name in ("validation_loss", "bits_per_byte") if name in figures}
        self.rows[-1].update(logged | asked)
        self.figures = figures
        if loss < min(earlier, default=math.inf):
            self._save()
        self.reporter.validated(self.step, self.rows, figures | asked)

    def _asked(self) -> dict[str, float]:
        """Further figures that the objective asks the network for; sharded weights cannot be asked."""
        if self.objective.ask is None or self.sharded:
            return {}
        with self.clock.paused():
            return self.objective.ask(self.model)

    def _validation_figures(self, count: int) -> dict[str, float] | None:
        """Figures over the first `count` validation batches, shared between the ranks; None if a stop was requested."""
        objective = self.objective
        assert objective.measure is not None and objective.summary is not None
        figures: dict[str, list[torch.Tensor | float]] = {}
        self.model.eval()
        with self.clock.paused(), torch.no_grad():
            for start in range(0, count, self.ranks.world):
                if self._should_stop():
                    return None
                index = start + self.ranks.rank
                # Every rank computes in every round, since gathering sharded weights takes all of them. A result beyond
                # the last batch is not counted.
                with machine.autocast(self.device, self.precision):
                    batch_sums = objective.measure(self.model, min(index, count - 1))
                for name, value in batch_sums.items():
                    figures.setdefault(name, []).append(value if index < count else 0.0)
            sums = transfer.fetch(figures)()
        names = sorted(sums)
        return objective.summary(dict(zip(names, self.ranks.total(*(sums[name] for name in names)))))

    def _patience_is_over(self) -> bool:
        """Whether the last `patience` validations gave no lower loss. It follows from the log, so a resume agrees."""
        losses = [row["validation_loss"] for row in self.rows if row.get("validation_loss") is not None]
        patience = self.settings.patience
        if not patience or len(losses) <= patience or self.rows[-1].get("validation_loss") is None:
            return False
        over = min(losses[-patience:]) >= min(losses[:-patience])
        if over and self.step < self.objective.steps:
            self.log(
                f"stopped early at step {self.step} of {self.objective.steps}: the last {patience} validations gave no"
                f" lower loss than {min(losses):.4f}"
            )
        return over

    def _sample_due(self) -> bool:
        if self.sharded:
            return False
        every = self.settings.samples_every
        validations = sum(row.get("validation_loss") is not None for row in self.rows)  # before this one
        due = self.step % every == 0 if every else validations % 2 == 1
        return due or self.step == self.objective.steps

    # -- divergence ----------------------------------------------------------------------------------------------------

    def _divergence(self, loss: float, norm: float) -> tuple[str, bool] | None:
        """(why this step must not update the weights, whether it is only a spike), or None."""
        if not math.isfinite(loss):
            return f"the loss is {loss}", False
        if not math.isfinite(norm) and self.scaler is None:  # a loss scaler finds its scale by overflowing
            return f"the gradient's norm is {norm}", False
        sigmas = self.settings.spike_sigmas
        usual = [row["loss"] for row in self.rows[-SPIKE_WINDOW:] if row.get("loss") is not None]
        if sigmas and len(usual) == SPIKE_WINDOW:
            mean, deviation = statistics.fmean(usual), statistics.stdev(usual)
            if loss > mean + sigmas * deviation:
                return f"the loss is {loss:.3f}, where {mean:.3f} ± {deviation:.3f} is usual", True
        return None

    def _roll_back(self, why: str, spike: bool = False, back: int = 0) -> bool:
        """Return to the last checkpoint and skip this batch (or the one `back` steps earlier) from now on.

        False if the limit of rollbacks is reached and the divergence is only a spike, which training can survive.
        """
        bad = self.step - back
        if self.rollbacks >= self.settings.max_rollbacks:
            if spike:
                return False
            raise TrainingFailed(
                f"Step {bad + 1} of {self.objective.name}: {why}, and the run has already been rolled back"
                f" {self.rollbacks} times: lower learning_rate (now {self.optimiser.learning_rate:.2g}) or raise"
                " warmup."
            )
        rollbacks, skipped = self.rollbacks + 1, {*self.skipped, bad}
        first = bad
        while first - 1 in skipped:
            first -= 1
        if first < bad:  # skipping the last batch did not fix it, so the one before caused it
            first -= 1
            skipped.add(first)
        if self.checkpoints:
            self.checkpoints.drop_after(first)
        self._resume()
        self.rollbacks, self.skipped = rollbacks, sorted(skipped)
        self.log(
            f"step {bad + 1}: {why}; rolled back to step {self.step}, its batch will be skipped (rollback {rollbacks}"
            f" of at most {self.settings.max_rollbacks})"
        )
        self.reporter.rolled_back(rollbacks, f"step {bad + 1}: {why}; back to step {self.step}")
        self._save()  # so that a kill does not lose the list of skipped batches
        return True

    # -- stopping ------------------------------------------------------------------------------------------------------

    def _should_stop(self) -> bool:
        """Whether any rank was asked to stop."""
        return self.ranks.total(float(self.stop_requested()))[0] > 0

    def _stop(self) -> None:
        self.optimiser.zero_grad()
        if self.step != self.saved_at:
            self._save()
        if self.checkpoints:
            self.checkpoints.wait()
        raise Stopped(
            f"{self.objective.name} stopped at step {self.step} of {self.objective.steps}; its checkpoint is kept, and"
            " the same command resumes from it."
        )

    def close(self) -> None:
        self.data.close()
        if self.checkpoints:
            self.checkpoints.close()
