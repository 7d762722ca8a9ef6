"""How long a training step takes on this machine's CPU, measured: a few micro-batches of the real shape.

The real network runs forward, backward and through the optimiser in the format that the training will use. Where one
micro-batch would take many seconds, fewer sequences are timed, since the time per sequence is nearly constant, and then
two shallow networks in place of the deep one, since all blocks are alike. The result is kept in the machine's file,
unless other programs took part of the machine meanwhile.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass

from model.config import ModelConfig
from pipeline.training.loop_settings import VALIDATIONS
from pipeline.training.measured import Figures, Machine
from pipeline.training.planning import budget as budgets
from pipeline.training.planning.budget import Budget
from pipeline.training.pretraining_settings import PretrainingSettings

QUIET = 0.75  # a time is kept if this share of the processors was free for it, or more
FLOPS_AT_ONCE = 5e11  # in the longest micro-batch that is timed: 2 to 10 seconds
DEPTHS = (1, 3)  # of the two networks that stand for a deep one
ROUNDS, SECONDS = 8, 6.0  # at most so many micro-batches, or so long, after one that does not count
# Validation runs forward only: a third of the FLOPs of forward and backward (Kaplan et al. 2020, section 2.1).
FORWARD = 1 / 3


@dataclass(frozen=True)
class StepTime:
    """Seconds of one micro-batch, forward and backward, and of one update of the weights."""

    micro: float
    update: float
    free: float = 1.0  # the share of the processors that other programs left, while this was measured

    def step(self, accumulation: int) -> float:
        return accumulation * self.micro + self.update

    def run(self, run: Budget, validation_tokens: int, context: int) -> float:
        """Seconds of a training with its validations."""
        training = run.steps * self.step(run.accumulation)
        per_token = self.micro / (run.sequences * context)
        return training + VALIDATIONS * validation_tokens * per_token * FORWARD


def step_time(
    here: Machine, config: ModelConfig, settings: PretrainingSettings, precision: str, muon: str, sequences: int
) -> StepTime:
    """The time of a step with micro-batches of `sequences` sequences, measured once a machine.

    precision, muon: number formats of the training and of Muon's rounds.
    """
    shape = {
        "model": config.model_dump(mode="json"), "sequences": sequences, "precision": precision, "muon": muon,
        "optimiser": settings.optimiser, "checkpointing": settings.activation_checkpointing, "chunk": settings.chunk,
    }  # fmt: skip
    if settings.predict_ahead:
        shape["predict_ahead"] = settings.predict_ahead
    found = here.recall(
        "step",
        shape,
        lambda: measure(config, settings, precision, muon, sequences),
        keep=lambda found: found["free"] >= QUIET,
    )
    return StepTime(**found)


def measure(config: ModelConfig, settings: PretrainingSettings, precision: str, muon: str, sequences: int) -> Figures:
    flops = budgets.flops_per_token(config, settings) * config.context
    at_once = min(sequences, max(1, int(FLOPS_AT_ONCE / flops)))

    def at(layers: int) -> StepTime:
        return timed(config.model_copy(update={"layers": layers}), settings, precision, muon, at_once)

    if flops * at_once <= 2 * FLOPS_AT_ONCE or config.layers <= DEPTHS[1]:
        whole = at(config.layers)
    else:
        few, more = (at(layers) for layers in DEPTHS)
        steps = (config.layers - DEPTHS[0]) / (DEPTHS[1] - DEPTHS[0])
        whole = StepTime(
            few.micro + steps * max(0.0, more.micro - few.micro),
            few.update + steps * max(0.0, more.update - few.update),
            min(few.free, more.free),
        )
    return {"micro": whole.micro * sequences / at_once, "update": whole.update, "free": whole.free}


def timed(config: ModelConfig, settings: PretrainingSettings, precision: str, muon: str, sequences: int) -> StepTime:
    """Seconds of this very network, as a training would run it; the faster half of the rounds counts.

    What else the machine does makes some rounds slower and none faster.
    """
    import torch

    from model import predict_ahead
    from model.allocator import kept_memory
    from pipeline.training import machine
    from pipeline.training.optimiser import Optimiser

    with torch.random.fork_rng(devices=[]), kept_memory():
        torch.manual_seed(0)
        network = predict_ahead.network(config, settings.predict_ahead)
        network.gradient_checkpointing = settings.activation_checkpointing
        optimiser = Optimiser(network, settings, 1e-4, muon)
        tokens = torch.randint(config.vocab_size, (sequences, config.context))
        micro, update = [], []
        began, busy = time.monotonic(), busy_elsewhere()
        for _ in range(1 + ROUNDS):
            started = time.perf_counter()
            with machine.autocast("cpu", precision):
                further = {"further": True} if settings.predict_ahead else {}
                loss, beside = network(tokens, tokens, chunk=settings.chunk, **further)
                loss = loss + beside if further else loss
            (loss / tokens.numel()).backward()
            computed = time.perf_counter()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step(1.0)
            optimiser.zero_grad()
            micro.append(computed - started)
            update.append(time.perf_counter() - computed)
            if len(micro) > 2 and time.monotonic() - began > SECONDS:
                break
    seconds = (time.monotonic() - began) * (os.cpu_count() or 1)
    free = 1 - (busy_elsewhere() - busy) / seconds
    return StepTime(faster_half(micro[1:]), faster_half(update[1:]), min(1.0, max(0.01, free)))


def busy_elsewhere() -> float:
    """CPU-seconds that all other programs of the machine have taken since it was started."""
    import psutil

    everything = psutil.cpu_times()
    return float(sum(everything) - everything.idle - getattr(everything, "iowait", 0.0)) - time.process_time()


def faster_half(seconds: list[float]) -> float:
    """The mean of the faster half."""
    return statistics.fmean(sorted(seconds)[: (len(seconds) + 1) // 2])
